"""Types of steps whose answers are text or code."""

from typing import Annotated, NewType

from chainette import Chain, Code, LLMOutput, Result, Run, Step, get_engine
from chainette.pipeline.nodes.flow import Pipe
from models import Reply, Review
from pydantic import AfterValidator, Field
from typing_extensions import assert_type

Title = NewType("Title", str)

draft = Step(
    id="draft",
    input_model=Review,
    output_model=str,
    engine_name="small",
    user_prompt="{{ text }}",
    accept_truncated=True,
)
assert_type(draft, Step[Review, str])
plain = Step(id="plain", input_model=Review, engine_name="small", user_prompt="{{ text }}")
assert_type(plain, Step[Review, str])
nothing = Step(
    id="nothing",
    input_model=Review,
    output_model=None,
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(nothing, Step[Review, str])
code = Step(
    id="code",
    input_model=str,
    output_model=Code("python"),
    engine_name="small",
    user_prompt="{{ draft }}",
)
assert_type(code, Step[str, str])
checked = Step(
    id="checked",
    input_model=str,
    output_model=Annotated[str, Code("python"), AfterValidator(str.upper), Field(max_length=99)],
    engine_name="small",
    user_prompt="{{ draft }}",
)
assert_type(checked, Step[str, str])
title = Step(
    id="title", input_model=str, output_model=Title, engine_name="small", user_prompt="{{ draft }}"
)
assert_type(title, Step[str, Title])
reply = Step(
    id="reply",
    input_model=Reply,
    output_model=Reply,
    engine_name="small",
    user_prompt="{{ text }}",
)
assert_type(draft >> code, Pipe[Review, str])
assert_type(draft >> code >> title, Pipe[Review, Title])
draft >> reply  # type: ignore[operator]  # pyright: ignore

run = Chain(name="texts", steps=draft >> code).run([{"text": "Great lamp!"}])
assert_type(run, Run[str])
assert_type(run.results[0], Result[str])
assert_type(run.results[0][draft], str)
assert_type(
    get_engine("small").generate(["Hi"], output_model=str),
    list[LLMOutput[str]],
)
assert_type(
    get_engine("small").generate(["Hi"], output_model=Code("sql")),
    list[LLMOutput[str]],
)
