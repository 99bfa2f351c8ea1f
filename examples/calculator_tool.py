"""A model that chooses a tool, a function that is the tool, and a sentence about its result.

    chainette run examples/calculator_tool.py -i examples/sums.jsonl \
        --engines examples/engines.llamacpp.yml
"""

import operator
from typing import Literal

from chainette import Chain, SamplingParams, Step, apply
from pydantic import BaseModel, Field

SAMPLING = SamplingParams(temperature=0, max_tokens=150)
TOOLS = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}


class Task(BaseModel):
    task: str


class Call(BaseModel):
    tool: Literal["add", "subtract", "multiply"]
    left: int = Field(ge=0, le=1000)
    right: int = Field(ge=0, le=1000)


class Result(BaseModel):
    result: int


class Answer(BaseModel):
    sentence: str = Field(max_length=120)


def calculate(call: Call) -> Result:
    """Run the tool that the model chose."""
    return Result(result=TOOLS[call.tool](call.left, call.right))


choose = Step(
    id="call",
    engine_name="default",
    input_model=Task,
    output_model=Call,
    sampling=SAMPLING,
    user_prompt="Which tool, and with which numbers? {{ task }}",
)
say = Step(
    id="answer",
    engine_name="default",
    input_model=Result,
    output_model=Answer,
    sampling=SAMPLING,
    user_prompt="{{ chain_input.task }} The result is {{ result }}. Say it in a sentence.",
)
chain = Chain(name="calculator_tool", steps=choose >> apply(calculate) >> say)
