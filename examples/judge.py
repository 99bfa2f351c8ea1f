"""Drafts, a judge, and a second attempt for drafts with a low score.

    chainette run examples/judge.py -i examples/support_tickets.jsonl \
        --engines examples/engines.llamacpp.yml
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from chainette import Chain, SamplingParams, Step, apply
from pydantic import BaseModel, Field

In = TypeVar("In")
Out = TypeVar("Out")
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


def needs_improvement(verdict: Verdict, names: Mapping[str, Any]) -> Verdict | None:
    """Drop drafts that are good enough; they stay in the results."""
    return verdict if verdict.score < 4 else None


def prompted(id: str, input_model: type[In], output_model: type[Out], prompt: str) -> Step[In, Out]:
    """A step on the default engine."""
    return Step(
        id=id,
        engine_name="default",
        input_model=input_model,
        output_model=output_model,
        sampling=SAMPLING,
        user_prompt=prompt,
    )


chain = Chain(
    name="judge",
    steps=prompted("draft", Ticket, Draft, "Answer this customer kindly: {{ ticket }}")
    >> prompted(
        "verdict",
        Draft,
        Verdict,
        "Ticket: {{ chain_input.ticket }}\nReply: {{ reply }}\nRate it from 1 to 5, and say"
        " what would make it better.",
    )
    >> apply(needs_improvement, yield_output=False)
    >> prompted(
        "better",
        Verdict,
        Better,
        "Reply: {{ draft.reply }}\nAdvice: {{ advice }}\nWrite a better reply.",
    ),
)
