"""Validators of users' types: their bugs, and the names that they see."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from chainette import Branch, Chain, SamplingParams, Step, apply
from chainette.errors import ApplyError, StructuredOutputError, ValidatorError
from chainette.testing.fake_engine import FakeClient, fake_engine
from chainette.types import Completion, LLMOutput
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

HERE = Path(__file__).name


class Row(BaseModel):
    text: str


class City(BaseModel):
    name: str


def raises(error: Exception) -> Callable[[Any], Any]:
    def check(_: Any) -> Any:
        raise error

    return check


def typed(check: Any) -> type[BaseModel]:
    class Checked(BaseModel):
        name: Annotated[str, check]

    return Checked


class Before(BaseModel):
    name: str

    @model_validator(mode="before")
    @classmethod
    def _look(cls, value: Any) -> Any:
        return value["towns"]


class Wrap(BaseModel):
    name: str

    @model_validator(mode="wrap")
    @classmethod
    def _look(cls, value: Any, handler: Any) -> Any:
        return handler(value).towns


def ask(output: Any, **fields: Any) -> Step[Any, Any]:
    return Step(
        id="ask",
        input_model=Row,
        output_model=output,
        engine_name="e",
        user_prompt="{{ chain_input.text }}",
        **fields,
    )


@pytest.fixture
def engine() -> Iterator[FakeClient]:
    with fake_engine("e", lambda _: {"name": "Oslo"}) as engine:
        yield engine


BUGS = {
    "type": typed(AfterValidator(raises(TypeError("no")))),
    "key": typed(BeforeValidator(raises(KeyError("towns")))),
    "attribute": typed(PlainValidator(raises(AttributeError("name")))),
    "zero": typed(AfterValidator(lambda value: value * (1 // 0))),
    "runtime": typed(AfterValidator(raises(RuntimeError("gone")))),
    "before": Before,
    "wrap": Wrap,
}


@pytest.mark.parametrize("output", BUGS.values(), ids=BUGS)
def test_a_bug_of_a_validator_ends_its_row_at_once_with_its_line(
    output: Any, engine: FakeClient, tmp_path: Path
) -> None:
    run = Chain(name="c", steps=ask(output)).run([{"text": "a"}], output_dir=tmp_path / "out")
    assert len(engine.requests) == 1
    (result,) = run.results
    assert result.error is not None
    error = json.loads((tmp_path / "out/errors.jsonl").read_text())
    assert error["type"] == "ValidatorError"
    assert error["raw_text"] == '{"name": "Oslo"}'
    line = rf"a validator of {output.__name__} failed: .*{HERE}:\d+, in \S+\); the bug is in"
    assert re.search(line, error["message"])


MISTAKES = {
    "value": raises(ValueError("not a town")),
    "assertion": raises(AssertionError("not a town")),
    "pydantic": raises(PydanticCustomError("town", "not a town")),
    "nested": lambda _: City.model_validate({}),
}


@pytest.mark.parametrize("check", MISTAKES.values(), ids=MISTAKES)
def test_what_a_validator_says_of_the_value_is_asked_again(
    check: Callable[[Any], Any], engine: FakeClient
) -> None:
    chain = Chain(name="c", steps=ask(typed(AfterValidator(check))))
    with pytest.raises(StructuredOutputError):
        chain.run_one({"text": "a"})
    assert len(engine.requests) == 2


def test_a_validator_without_a_line_in_python_is_named_by_its_type(engine: FakeClient) -> None:
    chain = Chain(name="c", steps=ask(typed(AfterValidator(dict.fromkeys))))
    with fake_engine("e", lambda _: {"name": "a"}):
        assert chain.run_one({"text": "a"}).name == {"a": None}
    chain = Chain(name="c", steps=ask(typed(AfterValidator(abs))))
    with pytest.raises(ValidatorError, match=r"Checked failed: TypeError: bad operand[^(]*\(\):"):
        chain.run_one({"text": "a"})


def test_a_bug_for_one_layer_does_not_hide_the_answer_inside_it(engine: FakeClient) -> None:
    class Named(BaseModel):
        name: str

        @model_validator(mode="before")
        @classmethod
        def _strip(cls, value: Any) -> Any:
            return {"name": value["name"].strip()}

    chain = Chain(name="c", steps=ask(Named))
    with fake_engine("e", ['{"answer": {"name": " Oslo "}}', '{"town": 1, "of": 2}']) as engine:
        assert chain.run_one({"text": "a"}).name == "Oslo"
        with pytest.raises(ValidatorError, match="KeyError: 'name'"):
            chain.run_one({"text": "a"})
        assert len(engine.requests) == 2


def test_a_bug_that_a_value_of_the_backend_meets_is_found(engine: FakeClient) -> None:
    output = BUGS["type"]
    parsed = LLMOutput([Completion("", parsed={"name": "Oslo"})])
    with fake_engine("e", lambda _: parsed) as engine:
        with pytest.raises(ValidatorError, match="TypeError: no"):
            Chain(name="c", steps=ask(output)).run_one({"text": "a"})
        assert len(engine.requests) == 1


class Known(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _known(cls, text: str) -> str:
        return {"good": text}[text]


@pytest.mark.parametrize("batch", [None, 2, "all"])
def test_a_bug_in_the_validator_of_a_functions_output_ends_its_row(batch: Any) -> None:
    def one(row: Row) -> Known:
        return {"text": row.text}  # type: ignore[return-value]

    def many(rows: list[Row]) -> list[Known]:
        return [one(row) for row in rows]

    node = apply(one, id="f") if batch is None else apply(many, id="f", batch=batch)
    results = list(Chain(name="c", steps=node).run([{"text": "good"}, {"text": "bad"}]).results)
    assert results[0].unwrap().text == "good"
    assert isinstance(results[1].error, ValidatorError)
    assert re.search(rf"KeyError: 'bad' \(.*{HERE}:\d+, in _known\)", str(results[1].error))


def test_a_bug_in_the_validator_of_an_input_row_ends_that_row_not_the_run(
    engine: FakeClient, tmp_path: Path
) -> None:
    def same(row: Known) -> Known:
        return row

    chain = Chain(name="c", steps=apply(same, id="f"))
    run = chain.run([{"text": "good"}, {"text": "bad"}], output_dir=tmp_path / "out")
    assert (run.counts.ok, run.counts.failed) == (1, 1)
    error = json.loads((tmp_path / "out/errors.jsonl").read_text())
    assert error["type"] == "ValidatorError"
    assert error["message"].startswith("input row 1: a validator of Known failed: KeyError")
    with pytest.raises(ValidatorError, match="the row: a validator of Known failed"):
        chain.run_one({"text": "bad"})


class Quotes(BaseModel):
    quotes: list[str]

    @field_validator("quotes")
    @classmethod
    def _in_the_text(cls, quotes: list[str], info: ValidationInfo) -> list[str]:
        assert info.context is not None
        for quote in quotes:
            if quote not in info.context["chain_input"].text:
                raise ValueError(f"{quote!r} is not in the text")
        return quotes


def test_validators_of_answers_see_the_names_also_in_the_second_try() -> None:
    answers = [{"quotes": ["a cat"]}, {"quotes": ["a dog"]}]
    chain = Chain(name="c", steps=ask(Quotes))
    with fake_engine("e", answers) as engine:
        assert chain.run_one({"text": "It is a dog."}).quotes == ["a dog"]
    said = " ".join(message["content"] for message in engine.requests[1])
    assert "'a cat' is not in the text" in said
    parsed = LLMOutput([Completion("", parsed={"quotes": ["a dog"]})])
    with fake_engine("e", lambda _: parsed):
        assert chain.run_one({"text": "It is a dog."}).quotes == ["a dog"]


def test_an_answer_of_the_cache_is_validated_with_the_names_of_its_row(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    step = Step(
        id="ask",
        input_model=Row,
        output_model=Quotes,
        engine_name="e",
        user_prompt="Quote.",
        constant_prompt=True,
        sampling=SamplingParams(temperature=0),
    )
    chain = Chain(name="c", steps=step)
    with fake_engine("e", [{"quotes": ["a dog"]}, {"quotes": ["a hen"]}]) as engine:
        chain.run([{"text": "It is a dog."}, {"text": "It is a dog, too."}], cache=tmp_path)
        assert len(engine.requests) == 1
        assert chain.run_one({"text": "It is a hen."}, cache=tmp_path).quotes == ["a hen"]


def test_validators_see_earlier_outputs_and_joined_branches(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    class Judged(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _look(cls, name: str, info: ValidationInfo) -> str:
            assert info.context is not None
            seen.append(dict(info.context))
            return name

    def shout(row: Row) -> Row:
        return Row(text=row.text.upper())

    def length(row: Row) -> City:
        return City(name=str(len(row.text)))

    branch = Branch("side", apply(length, id="length")).join("size")
    steps = [branch, apply(shout, id="shout"), ask(Judged)]
    with fake_engine("e", lambda _: {"name": "x"}):
        Chain(name="c", steps=steps).run_one({"text": "dog"})
    assert seen == [
        {"chain_input": Row(text="dog"), "shout": Row(text="DOG"), "size": City(name="3")}
    ]


def test_validators_of_a_functions_output_see_the_names() -> None:
    def quote(row: Row) -> Quotes:
        return {"quotes": row.text.split()}  # type: ignore[return-value]

    def invent(row: Row) -> Quotes:
        return {"quotes": ["a hen"]}  # type: ignore[return-value]

    assert Chain(name="c", steps=apply(quote)).run_one({"text": "a dog"}).quotes == ["a", "dog"]
    with pytest.raises(ApplyError, match="'a hen' is not in the text"):
        Chain(name="c", steps=apply(invent)).run_one({"text": "a dog"})


def test_a_validator_cannot_change_what_others_see() -> None:
    class Greedy(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def _take(cls, name: str, info: ValidationInfo) -> str:
            assert info.context is not None
            info.context["chain_input"].text = "gone"
            return name

    def keep(_: Greedy, names: Any) -> Row:
        return Row(text=names["chain_input"].text)

    with fake_engine("e", lambda _: {"name": "x"}):
        chain = Chain(name="c", steps=[ask(Greedy), apply(keep)])
        assert chain.run_one({"text": "dog"}).text == "dog"


class Locked(Quotes):
    """An answer that no snapshot can hold."""

    _lock: Any = PrivateAttr(default=None)

    def model_post_init(self, _: Any) -> None:
        self._lock = threading.Lock()


@pytest.mark.parametrize("output", [Quotes, Locked])
def test_an_answer_is_read_back_whose_validator_needs_the_names(
    output: type[Quotes], tmp_path: Path
) -> None:
    answers: list[Any] = [{"quotes": ["a dog"]}]

    def check(value: Any) -> City:
        if not (tmp_path / "fixed").exists():
            raise RuntimeError("not yet")
        return City(name=value.quotes[0])

    chain = Chain(name="c", steps=[ask(output), apply(check, id="check", output_model=City)])
    rows = [{"text": "It is a dog."}]
    with fake_engine("e", answers) as engine:
        first = chain.run(rows, output_dir=tmp_path / "out")
        assert first.counts.failed == 1
        (tmp_path / "fixed").touch()
        again = chain.run(rows, output_dir=tmp_path / "out", retry_errors=True)
        assert [result.unwrap() for result in again.results] == [City(name="a dog")]
        assert len(engine.requests) == 1
