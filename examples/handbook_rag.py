"""Questions about a handbook: search words, a retriever function, an answer with its source.

    chainette run examples/handbook_rag.py -i examples/handbook_questions.jsonl \
        --engines examples/engines.llamacpp.yml
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chainette import Chain, SamplingParams, Step, apply
from pydantic import BaseModel, Field

SAMPLING = SamplingParams(temperature=0, max_tokens=250)
PARTS = re.split(r"^## ", Path(__file__).with_name("handbook.md").read_text(), flags=re.M)[1:]


class Question(BaseModel):
    question: str


class Search(BaseModel):
    words: list[str] = Field(max_length=4, description="Words to look for in the handbook")


class Passage(BaseModel):
    heading: str
    text: str


class Answer(BaseModel):
    answer: str = Field(max_length=200)
    sure: bool


def retrieve(search: Search, names: Mapping[str, Any]) -> Passage:
    """Find the part of the handbook that shares the most words with the question and search."""
    query = f"{' '.join(search.words)} {names['chain_input'].question}".lower()
    words = set(re.findall(r"\w{4,}", query))
    best = max(PARTS, key=lambda part: len(words & set(re.findall(r"\w{4,}", part.lower()))))
    heading, _, text = best.partition("\n")
    return Passage(heading=heading, text=text.strip())


search = Step(
    id="search",
    engine_name="default",
    input_model=Question,
    output_model=Search,
    sampling=SAMPLING,
    user_prompt="Which words would you look up to answer: {{ question }}",
)
answer = Step(
    id="answer",
    engine_name="default",
    input_model=Passage,
    output_model=Answer,
    sampling=SAMPLING,
    system_prompt="Answer from this part of the handbook alone.\n\n{{ heading }}\n{{ text }}",
    user_prompt="{{ chain_input.question }}",
)
chain = Chain(name="handbook_rag", steps=search >> apply(retrieve) >> answer)
