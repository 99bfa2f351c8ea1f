"""Scripted answers for the recipes, by page and engine."""

from __future__ import annotations

from collections.abc import Mapping

from chainette.testing.script import Answer, Answers
from chainette.types import Message


def _verdict(messages: list[Message]) -> Answer:
    """A judge that prefers the new answer, and the first one."""
    question, a, *_ = messages[-1]["content"].splitlines()
    better = 0 if "1 + 1" in question else (-1 if a == "A: ?" else 2)
    return {"own_answer": "…", "a_over_b": better}


def _transcript(messages: list[Message]) -> Answer:
    """A model that loops on the second page, however often it is asked."""
    loops = "[72x60]Thanks" in messages[-1]["content"]
    return "Thanks " * 50 if loops else "# Bill\n\nTotal 12.50"


ANSWERS: dict[str, Mapping[str, Answers]] = {
    "ultrafeedback": {
        "first": {"sky": "Because of the sea.", "prime": "2"},
        "second": {"sky": "Air scatters blue light more than red.", "prime": "3"},
        "third": {"sky": "It is day.", "prime": "5"},
        "judge": {
            "sky": {"reason": "The second explains it.", "scores": [1, 5, 2]},
            "prime": {"reason": "All are right.", "scores": [5, 5, 5]},
        },
    },
    "apigen": {
        "writer": {
            "an order that one call of Python's pow": {
                "text": "Raise 2 to the power of 5.",
                "function": "pow",
                "arguments": [2, 5],
            },
            "an order that one call of Python's max": {
                "text": "Give me the sum of 1 and 9.",
                "function": "max",
                "arguments": [1, 9],
            },
            "divmod": {"text": "What is 7 by 0?", "function": "divmod", "arguments": [7, 0]},
            "max": {"text": "What is the largest?", "function": "max", "arguments": [1, 9]},
        },
        "judge": {"sum": False, "": True},
    },
    "magpie": {
        "writer": {
            "about angles": "How many degrees has a pentagon?",
            "about primes": "Is 91 a prime number, and how do I see that?",
            "about bread": "bread??",
            "pentagon": "Its angles sum to 540 degrees.",
            "91": "It is not: 91 is 7 times 13.",
        },
        "judge": {
            "bread": {"quality": "poor", "difficulty": "easy"},
            "": {"quality": "good", "difficulty": "easy"},
        },
    },
    "citations": {
        "writer": [
            {"statements": [{"statement": "Ada was a Londoner.", "quotes": ["born in london"]}]},
            {
                "statements": [
                    {"statement": "Ada was a Londoner.", "quotes": ["born in London"]},
                    {"statement": "She programmed.", "quotes": ["wrote programs for a machine"]},
                ]
            },
        ],
    },
    "text-to-sql": {
        "writer": {
            "SQLite for stock": "```sql\nCREATE TABLE item (name TEXT, id INT);\n"
            "CREATE TABLE stock (id INT, pieces INT);\n"
            "INSERT INTO item VALUES ('lamp', 1), ('chair', 2);\n"
            "INSERT INTO stock VALUES (1, 30), (2, 0);\n```",
            "SQLite for bookings": "```sql\nCREATE TABLE bookings (guest TEXT, nights INT);\n"
            "INSERT INTO bookings VALUES ('Ann', 2), ('Bob', 5);\n```",
            "needs a JOIN": "Which items are sold out?",
            "needs SUM": "How many nights are booked?",
        },
        "judge": {
            "sold out": "SELECT name FROM item JOIN stock USING (id) WHERE pieces = 0",
            "nights": "SELECT SUM(nights) FROM bookings",
        },
    },
    "semantic-join": {
        "small": {
            "Baking": {"fits": True, "is_certain": True},
            "Romans": {"fits": True, "is_certain": False},
            "Python": {"fits": True, "is_certain": True},
        },
        "judge": {"Romans": {"fits": False, "is_certain": True}},
    },
    "debates": {
        "writer": {
            "theft": [{"theme": "tax", "view": "It is theft."}, {"theme": "war", "view": "Never."}],
            "fine": [{"theme": "taxation", "view": "It is fine."}],
        },
        "judge": {
            "Name each theme": [
                {"name": "taxes", "synonyms": ["tax", "taxation"]},
                {"name": "war", "synonyms": ["war"]},
            ],
            "of taxes": "From theft in 1960 to fine in 2020.",
            "of war": "There is one view only.",
        },
    },
    "long-documents": {
        "small": {
            "itself: Lease": [{"who": "Bob", "what": "pays monthly"}],
            "itself: monthly": [{"who": "Ann", "what": "mends the roof"}],
        },
        "writer": [
            [{"who": "Bob", "what": "pays monthly"}, {"who": "Ann", "what": "mends the roof"}]
        ],
    },
    "arena-hard": {
        "writer": {"": "42"},
        "judge": _verdict,
    },
    "chain-of-density": {
        "writer": {
            "add what is missing": {
                "missing": ["London", "1815"],
                "text": "Ada Lovelace (London, 1815) programmed Babbage's engine first.",
            },
            "": {"missing": [], "text": "This article is about a woman who wrote a program."},
        },
    },
    "reasoning-with-tests": {
        "writer": {
            "step by step": "Sum them, then divide by their number.",
            "ZeroDivisionError": "```python\ndef mean(numbers):\n"
            "    return sum(numbers) / max(len(numbers), 1)\n```",
            "Write the Python": "```python\ndef mean(numbers):\n"
            "    return sum(numbers) / len(numbers)\n```",
        },
    },
    "dialogue": {
        "first": {
            "Hello": "My lamp flickers.",
            "bulb": "It is new.",
            "exchange": "Thank you, bye!",
        },
        "second": {
            "flickers": "Is the bulb tight?",
            "new": "Then we exchange the lamp.",
            "bye": "Goodbye!",
        },
    },
    "deita": {
        "writer": {
            "harder: Add 2 and 3.": "Add 2 and 3 without the digit 5.",
            "harder: Add 2 and 3 without": "Prove that 2 and 3 make 5 from Peano's axioms.",
            "harder: Name a bird.": "Name a bird that cannot fly.",
            "harder: Name a bird that": "Explain why some birds of islands lost their wings.",
            "Peano": "2 is S(S(0)), and so on.",
            "islands": "Wings cost food, and nothing hunts there.",
            "": "An answer.",
        },
        "judge": {"How hard": [1, 2, 5], "Peano": 6, "islands": 5, "": 3},
    },
    "olmocr": {
        "writer": _transcript,
    },
}
