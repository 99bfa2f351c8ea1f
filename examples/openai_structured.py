"""Sort support tickets into typed answers, then draft a reply to each.

    chainette run examples/openai_structured.py -i examples/support_tickets.jsonl -o runs/tickets

That uses OpenAI and needs OPENAI_API_KEY. With OPENAI_BASE_URL and OPENAI_MODEL it runs on any
compatible server, and with `--engines examples/engines.llamacpp.yml` on the embedded model.
"""

import os
from typing import Literal

from chainette import Chain, SamplingParams, Step, register_engine
from pydantic import BaseModel, Field


class Ticket(BaseModel):
    product: str
    ticket: str


class Triage(BaseModel):
    topic: Literal["billing", "delivery", "defect", "account", "security", "wish", "praise"]
    mood: Literal["angry", "worried", "neutral", "happy"]
    urgent: bool = Field(description="Whether it needs attention today")
    summary: str = Field(description="The problem in one short sentence", max_length=120)


class Reply(BaseModel):
    greeting: str = Field(max_length=40)
    body: str = Field(description="Two or three sentences", max_length=300)


register_engine("default", backend="openai", model=os.getenv("OPENAI_MODEL") or "gpt-4.1-mini")

triage = Step(
    id="triage",
    name="Sort the ticket",
    emoji="📬",
    engine_name="default",
    input_model=Ticket,
    output_model=Triage,
    sampling=SamplingParams(temperature=0, max_tokens=300),
    system_prompt=(
        "You sort support tickets by topic and mood.\n\n"
        "My bike lock arrived rusty, please replace it.\n"
        '{"topic": "defect", "mood": "neutral", "urgent": false,'
        ' "summary": "The bike lock arrived rusty."}'
    ),
    user_prompt="{{ ticket }}",
)

reply = Step(
    id="reply",
    name="Draft a reply",
    emoji="✍️",
    engine_name="default",
    input_model=Triage,
    output_model=Reply,
    sampling=SamplingParams(temperature=0, max_tokens=400),
    system_prompt="You answer customers of {{ chain_input.product }}, briefly and kindly.",
    user_prompt="{{ chain_input.ticket }}\n\n(Topic: {{ topic }}. Mood: {{ mood }}.)",
)

chain = Chain(name="support_tickets", emoji="🎫", steps=triage >> reply)

if __name__ == "__main__":
    from pathlib import Path

    run = chain.run(Path(__file__).with_name("support_tickets.jsonl"), limit=3)
    for result in run.results:
        print(result.value if result.ok else f"row {result.row_id} failed: {result.error}")
