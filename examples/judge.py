"""Drafts, a judge, and a second try for those that it finds wanting.

    chainette run examples/judge.py -i examples/support_tickets.jsonl \
        --engines examples/engines.llamacpp.yml
"""

from collections.abc import Mapping
from typing import Any

from chainette import Chain, SamplingParams, Step, apply
from pydantic import BaseModel, Field

SAMPLING = SamplingParams(temperature=0, max_tokens=250)


class Ticket(BaseModel):
    product: str
    ticket: str


class Draft(BaseModel):
    reply: str = Field(max_length=200)


class Verdict(BaseModel):
    score: int = Field(ge=1, le=5)
    advice: str = Field(max_length=120)


class Better(BaseModel):
    reply: str = Field(max_length=200)


def wanting(verdict: Verdict, names: Mapping[str, Any]) -> Verdict | None:
    """Drop what is good enough: its draft stands in the results."""
    return verdict if verdict.score < 4 else None


def prompted(id: str, takes: Any, gives: Any, prompt: str) -> Step:
    """A step on the default engine."""
    return Step(
        id=id,
        engine_name="default",
        input_model=takes,
        output_model=gives,
        sampling=SAMPLING,
        user_prompt=prompt,
    )


chain = Chain(
    name="judge",
    steps=[
        prompted("draft", Ticket, Draft, "Answer this customer kindly: {{ ticket }}"),
        prompted(
            "verdict",
            Draft,
            Verdict,
            "Ticket: {{ chain_input.ticket }}\nReply: {{ reply }}\nRate it from 1 to 5, and say"
            " what would make it better.",
        ),
        apply(wanting, yield_output=False),
        prompted(
            "better",
            Verdict,
            Better,
            "Reply: {{ draft.reply }}\nAdvice: {{ advice }}\nWrite a better reply.",
        ),
    ],
)
