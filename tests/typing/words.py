"""Types of nodes that are a word: they flow through what passes an item on."""

from __future__ import annotations

from chainette import Chain, Step, distinct, filter
from models import Answer, Question
from pydantic import BaseModel
from typing_extensions import assert_type


class Page(BaseModel):
    questions: list[Question]


def is_short(question: Question) -> bool:
    return len(question.text) < 80


async def is_good(answer: Answer) -> bool:
    return answer.text != ""


def key(question: Question) -> str:
    return question.text


ask = Step(id="ask", input_model=Question, output_model=Answer, engine_name="e", user_prompt="")
asks = Step(
    id="asks", input_model=Question, output_model=list[Answer], engine_name="e", user_prompt=""
)
words = Chain(name="c", steps=filter("text != ''") >> distinct("text") >> ask)
assert_type(ask >> filter("text"), "Pipe[Question, Answer]")
