"""Answers that are plain text or code: what is asked, what is kept, and what is read back."""

from __future__ import annotations

import json
import logging
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NewType

import pytest
from chainette import Chain, Code, SamplingParams, Step, apply, get_engine, register_engine
from chainette.engine.structured.code import Fence
from chainette.errors import (
    ChainError,
    OutputTruncatedError,
    StructuredOutputError,
    ValidatorError,
)
from chainette.registry import engines as registry
from chainette.testing.fake_engine import fake_engine
from chainette.testing.script import Reply
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from chainette.types import Completion, GuidedDecodingParams, LLMOutput
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationInfo

Title = NewType("Title", str)
ODD = [
    "null",
    "123",
    '"quoted"',
    '{"text": 1}',
    "\ufeffwith a mark in front",
    "a\0b",
    "a\u2028b",
    "a\r\nb",
    "é🙂",
    "half \ud83d of a pair",
    "[]",
    "```not closed",
    "x" * 100_000,
]


class Row(BaseModel):
    n: int


class Model(BaseModel):
    text: str


class Colour(str, Enum):
    RED = "red"


def step(id: str = "draft", **fields: Any) -> Step[Row, Any]:
    fields = {"input_model": Row, "user_prompt": "Write {{ n }}", **fields}
    return Step(id=id, engine_name="writer", **fields)


def chain(**fields: Any) -> Chain[Any, Any]:
    return Chain(name="texts", steps=step(**fields))


def answer(text: Any, **fields: Any) -> Any:
    with fake_engine("writer", [text]) as engine:
        value = chain(**fields).run_one({"n": 1})
    assert len(engine.requests) == 1
    return value


def cut(text: str, reasoning: str | None = None) -> LLMOutput[Any]:
    return LLMOutput([Completion(text, finish_reason="length", reasoning_content=reasoning)])


@pytest.mark.parametrize("fields", [{}, {"output_model": None}, {"output_model": str}])
def test_an_answer_is_text_unless_a_type_is_given(fields: dict[str, Any]) -> None:
    assert answer("  A text.\n", **fields) == "A text."


@pytest.mark.parametrize(
    ("model", "text", "value"),
    [
        (Annotated[str, Field(min_length=2)], " ab ", "ab"),
        (Annotated[str, StringConstraints(to_upper=True)], "ab", "AB"),
        (Annotated[str, AfterValidator(str.title)], "ab cd", "Ab Cd"),
        (Annotated[str, AfterValidator(len)], " abc ", 3),
        (Title, " Moby-Dick ", "Moby-Dick"),
        (Annotated[Title, Field(max_length=9)], "Moby-Dick", "Moby-Dick"),
        (int, "12", 12),
        (bool, "true", True),
        (Literal["a", "b"], '"a"', "a"),
        (Colour, '"red"', Colour.RED),
        (list[str], '["a"]', ["a"]),
        (str | None, "null", None),
    ],
)
def test_texts_are_texts_and_other_types_are_json(model: Any, text: str, value: Any) -> None:
    assert answer(text, output_model=model) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>Two?</think>\n\nOne.", "One."),
        ("Two?\n</think>\n\nOne.", "One."),
        ("[THINK]Two?[/THINK]One.", "One."),
        ("◁think▷Two?◁/think▷One.", "One."),
        ("<think>a</think>\n<think>b</think>One.", "One."),
        ("<|channel|>analysis<|message|>Two?<|channel|>final<|message|>One.", "One."),
        ("<think>Two?</think>Close it with </think>.", "Close it with </think>."),
        ("Close it with `</think>`.", "Close it with `</think>`."),
        ("Write <think> and then </think>.", "Write <think> and then </think>."),
    ],
)
def test_thoughts_are_not_in_the_text(text: str, value: str) -> None:
    assert answer(text) == value


def test_thoughts_of_a_text_are_its_reasoning(tmp_path: Path) -> None:
    with fake_engine("writer", ["<think>Two?</think>One."]):
        chain().run([{"n": 1}], output_dir=tmp_path)
    (line,) = lines(tmp_path)
    assert (line["output"], line["text"], line["reasoning"]) == ("One.", "One.", "Two?")


@pytest.mark.parametrize(
    ("first", "fields", "shown", "problem"),
    [
        ("", {}, None, "the answer is empty"),
        (" \n", {}, None, "the answer is empty"),
        ("<think>Two?</think>", {}, None, "the answer is empty"),
        ("<think>Two?", {}, None, "the answer is empty"),
        (
            "short",
            {"output_model": Annotated[str, Field(min_length=6)]},
            "short",
            "the answer is not valid: String should have at least 6 characters",
        ),
        (
            "```\na\n```\n```\nb\n```",
            {"output_model": Code("python")},
            "```\na\n```\n```\nb\n```",
            "the answer has two code blocks, and none is python; it must have one",
        ),
    ],
)
def test_an_invalid_text_is_asked_for_again_without_a_word_of_json(
    first: str, fields: dict[str, Any], shown: str | None, problem: str
) -> None:
    with fake_engine("writer", [LLMOutput([Completion(first)]), "good enough"]) as engine:
        assert chain(**fields).run_one({"n": 1}) == "good enough"
    again = engine.requests[1]
    assert "JSON" not in str(again)
    assert again[-1]["content"].endswith(problem)
    assert [it["role"] for it in again] == ["user", *(["assistant", "user"] if shown else [])]
    if shown:
        assert again[1]["content"] == shown


def test_a_text_that_stays_invalid_is_an_error_with_it() -> None:
    with fake_engine("writer", ["", ""]) as engine:
        result = chain().run_one({"n": 1}, full=True)
    assert isinstance(result.error, StructuredOutputError)
    assert "the answer is empty" in str(result.error)
    assert len(engine.requests) == 2


def test_a_validator_of_a_text_sees_the_names_and_a_bug_in_it_is_one() -> None:
    def holds_number(text: str, info: ValidationInfo) -> str:
        assert info.context is not None
        if str(info.context["chain_input"].n) not in text:
            raise ValueError("the number is missing")
        return text

    def fails(text: str) -> str:
        raise TypeError("a bug")

    with fake_engine("writer", ["Seven.", "7."]) as engine:
        model = Annotated[str, AfterValidator(holds_number)]
        assert chain(output_model=model).run_one({"n": 7}) == "7."
    assert engine.requests[1][-1]["content"].endswith("the number is missing")
    with fake_engine("writer", ["Seven."]):
        result = chain(output_model=Annotated[str, AfterValidator(fails)]).run_one(
            {"n": 7}, full=True
        )
    assert isinstance(result.error, ValidatorError)


FENCED = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("language", "text", "code"),
    [
        ("python", FENCED, "x = 1"),
        ("python", f"Here it is:\n\n{FENCED}\n\nIt sets x.", "x = 1"),
        ("python", "x = 1\n", "x = 1"),
        ("python", "```py\nx = 1\n```", "x = 1"),
        ("python", "```Python3\nx = 1\n```", "x = 1"),
        ("python3", FENCED, "x = 1"),
        ("python", "```\nx = 1\n```", "x = 1"),
        ("python", "~~~python\nx = '```'\n~~~", "x = '```'"),
        ("python", "````python\n'''\n```\n'''\n````", "'''\n```\n'''"),
        ("python", "```python title=main.py {1-2}\nx = 1\n```", "x = 1"),
        ("python", "```{.python .numberLines}\nx = 1\n```\n```sh\nls\n```", "x = 1"),
        ("python", "```python,linenos\nx = 1\n```\n```sh\nls\n```", "x = 1"),
        ("python", "```python:main.py\nx = 1\n```\n```sh\nls\n```", "x = 1"),
        ("python", "```sh\npip install y\n```\nThen:\n" + FENCED, "x = 1"),
        ("python", FENCED + "\n```text\n1\n```\n```text\n2\n```", "x = 1"),
        ("python", "```python\r\nif x:\r\n    y\r\n```\r\n", "if x:\n    y"),
        ("python", "1. Run it:\n\n   ```python\n   if x:\n       y\n   ```", "if x:\n    y"),
        ("python", "- a list\n\n    ```python\n    x = 1\n    ```", "x = 1"),
        ("python", "- ```python\n  x = 1\n  ```", "x = 1"),
        ("python", "<think>\n```python\nx = 0\n```\n</think>\n" + FENCED, "x = 1"),
        ("python", "```python\nx = 1", "x = 1"),
        ("python", "```\nx = 1", "x = 1"),
        ("python", "x = 1\n```", "x = 1"),
        ("python", "```python\n\n    x = 1\n\n```", "    x = 1"),
        ("python", "def f():\n    '''\n\n    ```\n    x\n    ```\n    '''", None),
        ("sql", "```sql SELECT 1```", "SELECT 1"),
        ("sql", "```SELECT 1```", "SELECT 1"),
        ("sql", "```postgresql\nSELECT 1\n```\n```python\nx\n```", "SELECT 1"),
        ("c++", "```cpp\nint x;\n```\n```c\nint y;\n```", "int x;"),
        ("c", "```cpp\nint x;\n```\n```c\nint y;\n```", "int y;"),
        ("javascript", "```js\nx\n```\n```html\n<p>\n```", "x"),
        ("brainlang", "```brainlang\n+\n```\n```sh\nls\n```", "+"),
        (None, "```anything\nx\n```", "x"),
        (None, "x", "x"),
    ],
)
def test_code_is_taken_out_of_its_fence(language: str | None, text: str, code: str | None) -> None:
    assert answer(text, output_model=Code(language)) == (text if code is None else code)


@pytest.mark.parametrize(
    ("language", "text", "problem"),
    [
        ("python", f"{FENCED}\n{FENCED}", "the answer has two code blocks; it must have one"),
        (None, "```a\nx\n```\n```b\ny\n```", "the answer has two code blocks; it must have one"),
        (
            "python",
            f"```sh\nls\n```\n{FENCED}\n{FENCED}",
            "the answer has two python code blocks; it must have one",
        ),
        ("python", "```python\n```", "the answer is empty"),
        ("python", "x = 1\n```\nIt sets x.", "the answer has a code block that is not closed"),
        ("python", "Here: ```python\nx = 1\n```", "must begin on a line of its own"),
    ],
)
def test_code_that_is_not_certain_is_asked_for_again(
    language: str | None, text: str, problem: str
) -> None:
    with fake_engine("writer", [text, FENCED]) as engine:
        assert chain(output_model=Code(language)).run_one({"n": 1}) == "x = 1"
    assert problem in engine.requests[1][-1]["content"]


def is_python(code: str) -> str:
    try:
        compile(code, "answer", "exec")
    except SyntaxError as error:
        raise ValueError(f"not Python: {error}") from None
    return code


@pytest.mark.parametrize(
    "model",
    [
        Annotated[str, Code("python"), AfterValidator(is_python)],
        Annotated[Code("python"), AfterValidator(is_python)],
        Annotated[Annotated[str, AfterValidator(is_python)], Code("python")],
    ],
)
def test_code_can_have_validators(model: Any) -> None:
    with fake_engine("writer", ["```python\nx =\n```", FENCED]) as engine:
        assert chain(output_model=model).run_one({"n": 1}) == "x = 1"
    assert "the answer is not valid: not Python" in engine.requests[1][-1]["content"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"output_model": Model, "accept_truncated": True}, "is for text and code"),
        ({"output_model": list[str], "accept_truncated": True}, "is for text and code"),
        ({"output_model": int, "accept_truncated": True}, "raise max_tokens"),
        ({"accept_truncated": "yes"}, "give True or False"),
        ({"output_model": Code}, r'call it: Code\("python"\)'),
        ({"output_model": list[Code("python")]}, "an answer of its own"),  # type: ignore[misc]
    ],
)
def test_a_step_that_cannot_be_is_refused_when_it_is_built(
    fields: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ChainError, match=rf"step 'draft'.*{problem}"):
        step(**fields)


def test_code_inside_a_model_is_refused() -> None:
    class Inner(BaseModel):
        code: Annotated[str, Code("python")]

    class Outer(BaseModel):
        inner: Inner | None

    with pytest.raises(ChainError, match=r"Code\('python'\) is an answer of its own"):
        step(output_model=Outer)


@pytest.mark.parametrize("language", ["", "two words", 5])
def test_a_language_is_one_word(language: Any) -> None:
    with pytest.raises(ChainError, match="give one language"):
        Code(language)


def test_a_class_that_pydantic_does_not_know_is_refused_before_a_run() -> None:
    class Name(str):
        pass

    with fake_engine("writer") as engine, pytest.raises(ChainError, match="cannot be validated"):
        chain(output_model=Name).run([{"n": 1}])
    assert engine.requests == []


@pytest.mark.parametrize(
    ("model", "text", "value"),
    [
        (str, " The end of it is mis", "The end of it is mis"),
        (Code("python"), "Here:\n\n```python\nx = 1\ny =", "x = 1\ny ="),
        (Code("python"), "Here:\n\n```\nx = 1\ny =", "x = 1\ny ="),
        (Code("python"), "```python\nx = 1\n``", "x = 1"),
        (Code("python"), "```python\nx = 1\n```\nNow I will", "x = 1"),
    ],
)
def test_a_cut_text_is_kept_on_request_and_marked(
    model: Any, text: str, value: str, tmp_path: Path
) -> None:
    with fake_engine("writer", [cut(text), "whole"]):
        run = chain(output_model=model, accept_truncated=True).run(
            [{"n": 1}, {"n": 2}], output_dir=tmp_path
        )
    assert [it.value for it in run.results] == [value, "whole"]
    kept, whole = sorted(lines(tmp_path), key=lambda line: int(line["row_id"]))
    assert (kept["output"], kept["truncated"]) == (value, True)
    assert "truncated" not in whole
    with fake_engine("writer", []):
        again = chain(output_model=model, accept_truncated=True).run(
            [{"n": 1}, {"n": 2}], output_dir=tmp_path, resume=True
        )
    assert [it.value for it in again.results] == [value, "whole"]


@pytest.mark.parametrize(
    ("text", "fields", "hint"),
    [
        ("The end of it is mis", {}, "or keep the text with accept_truncated=True in the step"),
        (
            '{"text": "mis',
            {"output_model": Model},
            r"more: sampling=\S+ \S+ \d+]}$",
        ),
        ("", {"accept_truncated": True}, "before the answer began"),
        ("<think>So long", {"accept_truncated": True}, "before the answer began"),
        ("Here:\n```", {"accept_truncated": True, "output_model": Code()}, "before the answer"),
    ],
)
def test_a_cut_text_is_an_error_otherwise(text: str, fields: dict[str, Any], hint: str) -> None:
    with fake_engine("writer", [cut(text)]) as engine:
        result = chain(**fields, sampling=SamplingParams(max_tokens=5)).run_one({"n": 1}, full=True)
    assert isinstance(result.error, OutputTruncatedError)
    with pytest.raises(OutputTruncatedError, match=hint):
        raise result.error
    assert len(engine.requests) == 1


def lines(folder: Path, id: str = "draft") -> list[dict[str, Any]]:
    files = sorted((folder / "steps" / id).glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().split("\n")[:-1]]


@pytest.mark.parametrize("fmt", ["jsonl", "parquet"])
def test_odd_texts_come_back_as_they_were(fmt: str, tmp_path: Path) -> None:
    rows = [{"n": n} for n in range(len(ODD))]
    steps = step() >> step("copy", input_model=str, user_prompt="Copy: {{ draft }}")
    copying = Chain(name="copying", steps=steps)

    def echo(messages: Any) -> str:
        prompt = messages[-1]["content"]
        return ODD[int(prompt.split()[-1])] if prompt.startswith("Write") else prompt[6:]

    with fake_engine("writer", echo):
        run = copying.run(rows, output_dir=tmp_path, fmt=fmt)
    expected = [text.replace("\ud83d", "\ufffd") for text in ODD]
    assert [it.value for it in run.results] == expected
    assert [it.outputs["draft"] for it in run.results] == expected
    with fake_engine("writer", []):
        again = copying.run(rows, output_dir=tmp_path, resume=True, fmt=fmt)
    assert [it.value for it in again.results] == expected
    journal = {line["row_id"]: line for line in lines(tmp_path)}
    assert [journal[n]["output"] for n in range(len(ODD))] == expected
    assert [journal[n]["text"] for n in range(len(ODD))] == expected
    (table,) = (tmp_path / "flattened").glob("*.jsonl")
    columns = [json.loads(line)["draft"] for line in table.read_text().split("\n")[:-1]]
    assert sorted(columns) == sorted(expected)
    if fmt == "parquet":
        import pyarrow.parquet as pq

        column = pq.read_table(tmp_path / "flattened.parquet")["draft"].to_pylist()
        assert sorted(column) == sorted(expected)


def test_a_text_flows_into_prompts_functions_and_steps() -> None:
    def shout(text: str) -> str:
        return text.upper()

    steps = (
        step(output_model=Code("python"))
        >> apply(shout)
        >> step("last", input_model=str, user_prompt="{{ draft }} {{ shout }}")
    )
    with fake_engine("writer", [FENCED, "done"]) as engine:
        assert Chain(name="c", steps=steps).run_one({"n": 1}) == "done"
    assert engine.requests[1][-1]["content"] == "x = 1 X = 1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"output_model": Code("python")}, {"output_model": Code("sql")}),
        ({"output_model": str}, {"output_model": Code()}),
        ({}, {"accept_truncated": True}),
    ],
)
def test_a_run_is_not_resumed_with_another_kind_of_text(
    before: dict[str, Any], after: dict[str, Any], tmp_path: Path
) -> None:
    with fake_engine("writer", ["x"]):
        chain(**before).run([{"n": 1}], output_dir=tmp_path)
        with pytest.raises(Exception, match="draft"):
            chain(**after).run([{"n": 1}], output_dir=tmp_path, resume=True)


def test_texts_come_from_the_cache_and_are_read_again(tmp_path: Path) -> None:
    for model, value in [(str, FENCED), (Code("python"), "x = 1"), (str, FENCED)]:
        with fake_engine("writer", [FENCED] if value is FENCED else []) as engine:
            run = chain(output_model=model).run([{"n": 1}], cache=tmp_path)
        assert run.results[0].value == value
    assert engine.requests == []


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_configs", {})
    monkeypatch.setattr(registry, "_clients", {})


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("mode", ["auto", "json_object", "prompt"])
@pytest.mark.parametrize(
    ("backend", "server_class", "fields"),
    [
        ("openai", FakeOpenAI, {}),
        ("openai", FakeOpenAI, {"strict": True}),
        ("vllm_api", FakeVLLM, {}),
        ("ollama_api", FakeOllama, {}),
    ],
)
def test_no_server_is_asked_for_json(
    backend: str, server_class: Any, fields: dict[str, Any], mode: str
) -> None:
    with server_class([" A text. ", Reply(FENCED)]) as server:
        register_engine(
            "writer",
            backend=backend,
            model="m",
            endpoint=server.endpoint,
            structured_output=mode,
            **fields,
        )
        engine = get_engine("writer")
        texts = engine.generate(["Write 1"], output_model=str)
        codes = engine.generate(["Write 1"], output_model=Code("python"))
    assert (texts[0].outputs[0].text, texts[0].outputs[0].parsed) == (" A text. ", "A text.")
    assert codes[0].outputs[0].parsed == "x = 1"
    for request in server.requests:
        assert request.schema is None
        assert not {"response_format", "structured_outputs", "text"} & request.body.keys()
        assert not request.body.get("format")
        assert [message["role"] for message in request.messages] == ["user"]


@pytest.mark.usefixtures("fresh")
def test_guided_decoding_constrains_a_text() -> None:
    guided = SamplingParams(guided_decoding=GuidedDecodingParams(choice=["yes", "no"]))
    with FakeVLLM(["yes"]) as server:
        register_engine("writer", backend="vllm_api", model="m", endpoint=server.endpoint)
        assert chain(sampling=guided).run_one({"n": 1}) == "yes"
    assert server.requests[0].body["structured_outputs"] == {"choice": ["yes", "no"]}


def test_made_up_texts_fit_their_type() -> None:
    with fake_engine("writer"):
        assert chain(output_model=Annotated[str, Field(min_length=9)]).run_one({"n": 1})
        assert chain(output_model=Code("sql")).run_one({"n": 1}) == "text"


YAML = """
name: texts
models: {Row: {n: int}}
steps:
  - id: draft
    input_model: Row
    engine_name: writer
    user_prompt: "Write {{ n }}"
    accept_truncated: true
  - id: code
    input_model: str
    output_model: OUTPUT
    engine_name: writer
    user_prompt: "Code for {{ draft }}"
"""


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("str", str),
        ("null", str),
        ("Code(python)", Code("python")),
        ('Code("python")', Code("python")),
        ("Code('c++')", Code("c++")),
        ("Code()", Code()),
    ],
)
def test_yaml_has_the_same_words(word: str, model: Any, tmp_path: Path) -> None:
    from chainette import load_chain

    file = tmp_path / "chain.yaml"
    file.write_text(YAML.replace("OUTPUT", word))
    nodes = load_chain(str(file)).nodes
    assert (nodes["draft"].output_model, nodes["code"].output_model) == (str, model)
    assert isinstance(nodes["draft"], Step)
    assert nodes["draft"].accept_truncated


@pytest.mark.parametrize("word", ["Code", "Code(two words)", "string", "Code(python"])
def test_a_mistake_in_yaml_names_the_words_and_the_line(word: str, tmp_path: Path) -> None:
    from chainette import load_chain

    file = tmp_path / "chain.yaml"
    file.write_text(YAML.replace("OUTPUT", word))
    with pytest.raises(ChainError, match=r"chain\.yaml:10.*Code\(python\)"):
        load_chain(str(file))


def test_the_graph_names_code_and_what_is_kept() -> None:
    from chainette.pipeline.graph import graph

    (node,) = graph(chain(output_model=Code("python"), accept_truncated=True))["nodes"]
    assert node["output"] == "Code('python')" == repr(Fence("python"))
    assert node["accept_truncated"] is True


def test_a_text_is_logged_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer("A text.")
    assert caplog.text == ""
