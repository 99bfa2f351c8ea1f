"""The mood of a support ticket, in one step.

    chainette run examples/sentiment.py -i examples/support_tickets.jsonl \
        --engines examples/engines.llamacpp.yml
"""

from typing import Literal

from chainette import Chain, SamplingParams, Step
from pydantic import BaseModel


class Ticket(BaseModel):
    product: str
    ticket: str


class Sentiment(BaseModel):
    mood: Literal["angry", "worried", "neutral", "happy"]


chain = Chain(
    name="sentiment",
    steps=Step(
        id="sentiment",
        engine_name="default",
        input_model=Ticket,
        output_model=Sentiment,
        sampling=SamplingParams(temperature=0, max_tokens=40),
        user_prompt="In which mood was this written?\n\n{{ ticket }}",
    ),
)
