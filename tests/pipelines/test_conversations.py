"""Steps with several messages, histories, examples and the start of the answer."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from chainette import Chain, Code, Step, load_chain, register_engine
from chainette.errors import ChainError, ChainetteError, ConfigError, OutputDirError
from chainette.run.dry_run import Rendered, dry_run
from chainette.testing.fake_engine import fake_engine
from chainette.testing.script import Reply, Script
from chainette.testing.servers import FakeOllama, FakeOpenAI, FakeVLLM
from chainette.types import Message
from pydantic import BaseModel, Field, ValidationInfo, field_validator
from typer.testing import CliRunner

pytestmark = pytest.mark.anyio


class Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class Row(BaseModel):
    text: str
    turns: list[Turn] = []


class Mood(BaseModel):
    mood: str


class Speaker(Enum):
    USER = "user"


SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Mood of: {{ text }}"}
ROW = {"text": "rain"}
GOOD = {"mood": "sad"}


def step(**fields: Any) -> Step[Any, Any]:
    common = {"id": "s", "input_model": Row, "output_model": Mood, "engine_name": "e"}
    return Step(**common | fields)


def chain(*steps: Any, **fields: Any) -> Chain[Any, Any]:
    return Chain(name="c", steps=list(steps) or [step(**fields)])


def sent(row: Any = ROW, **fields: Any) -> list[tuple[str, str]]:
    """The role and content of what is sent for a row."""
    with fake_engine("e", lambda _: GOOD) as engine:
        chain(**fields).run_one(row)
    return [(message["role"], message["content"]) for message in engine.requests[0]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Messages


def test_the_turns_are_sent_as_they_are_written() -> None:
    turns = [SYSTEM, USER, {"role": "assistant", "content": "Of {{ text }}?"}, USER, USER]
    assert sent(messages=turns) == [
        ("system", "Be brief."),
        ("user", "Mood of: rain"),
        ("assistant", "Of rain?"),
        ("user", "Mood of: rain"),
        ("user", "Mood of: rain"),
    ]


@pytest.mark.parametrize(
    ("fields", "system"),
    [
        ({"messages": [SYSTEM, USER]}, "Be brief.\n\nAs JSON."),
        ({"messages": [USER]}, "As JSON."),
        ({"messages": [USER], "system_prompt": "Say {{ text }}."}, "Say rain.\n\nAs JSON."),
        ({"messages": [{"role": "system", "content": "{{ '' }}"}, USER]}, "As JSON."),
        ({"user_prompt": "{{ text }}", "examples": [(ROW, GOOD)]}, "As JSON."),
    ],
)
def test_the_instruction_is_at_the_end_of_the_system_message(
    fields: dict[str, Any], system: str
) -> None:
    messages = sent(output_format_instruction="As JSON.", **fields)
    assert [text for role, text in messages if role == "system"] == [system]
    assert messages[0][0] == "system"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "step 's': give user_prompt, or messages for a conversation"),
        ({"user_prompt": "{{ text }}", "messages": [USER]}, "user_prompt and messages are both"),
        ({"messages": []}, "messages: the list is empty"),
        ({"messages": "{{ text }}"}, "messages: give a list of messages"),
        ({"messages": USER}, "give a list of messages, such as"),
        ({"messages": ["{{ text }}"]}, "messages[0]: give {"),
        ({"messages": [("user", "{{ text }}")]}, "messages[0]: give {"),
        ({"messages": [USER, {"role": "human", "content": ""}]}, "(did you mean 'user'?)"),
        ({"messages": [USER, {"role": "asistant", "content": ""}]}, "(did you mean 'assistant'?)"),
        ({"messages": [{"role": "tool", "content": ""}]}, "roles are system, user, assistant"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "unknown role ['user']"),
        ({"messages": [{"role": "user"}]}, "messages[0]: 'content' is missing; a message has"),
        ({"messages": [{**USER, "name": "Ann"}]}, "messages[0]: unknown key 'name'"),
        ({"messages": [{**USER, "history": "turns"}]}, "unknown key 'content', unknown key 'role'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "give a text, not a li"),
        ({"messages": [{"role": "user", "content": "{% if %}"}]}, "step 's', messages[0], line 1"),
        ({"messages": [USER, SYSTEM]}, "the last message is that of the system"),
        (
            {"messages": [USER, {"role": "assistant", "content": "{"}]},
            "the last message is that of the assistant; a conversation ends with the turn of the "
            "user; for the start of the answer, use prefill=",
        ),
        (
            {"messages": [SYSTEM, USER], "system_prompt": "Be kind."},
            "the system message is in system_prompt and in messages; give it once",
        ),
        (
            {"messages": [SYSTEM, {"role": "user", "content": "{{ txet }}"}]},
            "step 's', messages[1]: unknown variable 'txet' (did you mean 'text'?)",
        ),
        (
            {"messages": [USER, {"history": "trns"}, USER]},
            "step 's', messages[1]: unknown variable 'trns' (did you mean 'turns'?)",
        ),
        ({"messages": [{"history": "text"}, USER]}, "'text' is str, not a list of messages"),
        ({"messages": [{"history": "chain_input"}, USER]}, "'chain_input' is Row, not a list"),
        ({"messages": [{"history": "chain_input.trns"}, USER]}, "has no field 'trns'"),
        ({"messages": [{"history": "turns %}{{ x"}, USER]}, "step 's', messages[0]"),
        ({"messages": [{"history": "{{ turns }}"}, USER]}, "has braces; give the bare expression"),
        ({"messages": [{"history": "turns) or (["}, USER]}, "step 's', messages[0]: 'turns) or"),
        ({"messages": [{"history": 3}, USER]}, "messages[0]: give a text, not an int"),
        ({"messages": [SYSTEM, {"role": "user", "content": "Hi"}]}, "its prompts use no value"),
        (
            {"messages": [SYSTEM, {"role": "user", "content": "Mood of {text}"}]},
            "values are in double braces: 'Mood of {{ text }}'",
        ),
        ({"user_prompt": [USER]}, "a conversation goes into messages="),
        ({"user_prompt": "{{ text }}", "prefill": 3}, "step 's', prefill: give a text, not an int"),
        ({"user_prompt": "{{ text }}", "prefill": "{{ x }}"}, "step 's', prefill: unknown var"),
    ],
)
def test_what_is_not_a_conversation_is_refused_when_the_chain_is_built(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ChainError) as caught:
        chain(**fields)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"history": "turns"}, {"role": "user", "content": "And now?"}]},
        {
            "messages": [
                {"role": "system", "content": "{{ text }}"},
                {"role": "user", "content": ""},
            ]
        },
        {"user_prompt": "Hi", "prefill": "{{ text }}"},
        {"messages": [{"role": "user", "content": "Hi"}], "constant_prompt": True},
    ],
)
def test_a_value_of_the_row_may_be_in_any_turn(fields: dict[str, Any]) -> None:
    chain(**fields)


# Histories


@pytest.mark.parametrize(
    "history", ["turns", "chain_input.turns", "turns[-2:]", "turns if text else []"]
)
def test_a_history_becomes_turns(history: str) -> None:
    turns = [{"role": "user", "content": "Hi {{ x }}"}, {"role": "assistant", "content": "Ho"}]
    messages = sent({"text": "rain", "turns": turns}, messages=[{"history": history}, USER])
    assert messages == [("user", "Hi {{ x }}"), ("assistant", "Ho"), ("user", "Mood of: rain")]


class Loose(BaseModel):
    text: str = "rain"
    turns: Any = None


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([], []),
        (None, []),
        ([Turn(role="user", content="Hi")], [("user", "Hi")]),
        ((Turn(role="user", content="Hi"),), [("user", "Hi")]),
        ([{"role": Speaker.USER, "content": "Hi", "name": "Ann"}], [("user", "Hi")]),
        ([{"role": "system", "content": "Hi"}], [("system", "Hi")]),
    ],
)
def test_entries_may_be_models_or_mappings(turns: Any, expected: list[Any]) -> None:
    fields = {"input_model": Loose, "messages": [{"history": "turns"}, USER]}
    assert sent(Loose(turns=turns), **fields) == [*expected, ("user", "Mood of: rain")]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([{"role": "bot", "content": "Hi"}], "turns[0]: unknown role 'bot' (did you mean 'assist"),
        ([Turn(role="user", content="a"), {"role": "user"}], "turns[1]: its content is None"),
        ([{"role": "user", "content": [{"text": "a"}]}], "turns[0]: its content is a list"),
        ([{"from": "user", "value": "a"}], "turns[0] is a dict without a role and a content"),
        (["Hi"], "turns[0] is a str without a role and a content"),
        ("Hi", "turns is a str, not a list of messages"),
        ({"role": "user", "content": "Hi"}, "turns is a dict, not a list of messages"),
    ],
)
def test_a_wrong_entry_fails_its_row_alone(turns: Any, message: str) -> None:
    step_ = step(input_model=Loose, messages=[{"history": "turns"}, USER])
    with fake_engine("e", lambda _: GOOD) as engine:
        run = chain(step_).run([Loose(turns=turns), Loose()])
    wrong, right = list(run.results)
    assert f"row 0: step 's', messages[0], {message}" in str(wrong.error) or (
        f"row 0: step 's', messages[0]: {message}" in str(wrong.error)
    )
    assert right.ok
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([Turn(role="assistant", content="Ho")], "the last message is that of the assistant"),
        ([], "the last message is that of the system; a conversation ends with the turn of the"),
    ],
)
def test_a_history_at_the_end_has_to_end_with_the_user(turns: list[Turn], message: str) -> None:
    with fake_engine("e", lambda _: GOOD), pytest.raises(ChainetteError, match=message):
        chain(messages=[SYSTEM, {"history": "turns"}]).run_one(Row(text="a", turns=turns))


def test_the_bound_is_for_all_messages_together() -> None:
    built = chain(messages=[SYSTEM, {"history": "turns"}, USER])
    turns = [Turn(role="user", content="x" * 60)] * 2
    with fake_engine("e", lambda _: GOOD):
        built.run_one(Row(text="a", turns=turns[:1]), max_prompt_chars=100)
        with pytest.raises(ChainetteError, match=r"139 characters, more than 100 \(max_prompt_ch"):
            built.run_one(Row(text="a", turns=turns), max_prompt_chars=100)


# Examples


class Labelled(BaseModel):
    label: str = Field(alias="Label")
    parts: dict[str, int] = {}


def test_examples_follow_the_system_message_as_turns() -> None:
    examples = [({"text": "sun"}, Mood(mood="glad")), (Row(text="fog"), {"mood": "low"})]
    shown = [
        ("user", "Mood of: sun"),
        ("assistant", '{"mood":"glad"}'),
        ("user", "Mood of: fog"),
        ("assistant", '{"mood":"low"}'),
    ]
    own = ("user", "Mood of: rain")
    plain = {"user_prompt": "Mood of: {{ text }}", "examples": examples}
    assert sent(**plain) == [*shown, own]
    assert sent(system_prompt="Be brief.", **plain) == [("system", "Be brief."), *shown, own]
    past = [{"history": "turns"}]
    turns = {"messages": [SYSTEM, *past, USER], "examples": examples}
    row = Row(text="rain", turns=[Turn(role="user", content="Hi")])
    assert sent(row, **turns) == [("system", "Be brief."), *shown, ("user", "Hi"), own]


@pytest.mark.parametrize(
    ("output_model", "output", "text"),
    [
        (str, "Glad.\n{x}", "Glad.\n{x}"),
        (Code("python"), "x = 1", "```python\nx = 1\n```"),
        (Code(), "x = 1\n", "```\nx = 1\n```"),
        (Labelled, Labelled(Label="a", parts={"b": 1}), '{"Label":"a","parts":{"b":1}}'),
        (Labelled, {"Label": "é"}, '{"Label":"é","parts":{}}'),
        (list[int], [1, 2], "[1,2]"),
        (Literal["yes", "no"], "yes", '"yes"'),
    ],
)
def test_the_answer_has_the_form_that_answers_have(
    output_model: Any, output: Any, text: str
) -> None:
    built = step(output_model=output_model, user_prompt="{{ text }}", examples=[(ROW, output)])
    chain(built)
    assert built.messages({}, Row(text="x"))[1] == {"role": "assistant", "content": text}


def after(prompt: str, example: Any) -> list[Message]:
    """The messages of a second step, which sees the first one's output."""
    first = step(id="first", user_prompt="{{ text }}")
    second = step(id="second", input_model=Mood, user_prompt=prompt, examples=[(example, GOOD)])
    chain(first, second)
    return second.messages({"chain_input": Row(text="x"), "first": Mood(mood="y")}, Mood(mood="y"))


@pytest.mark.parametrize(
    ("prompt", "example", "shown"),
    [
        ("{{ mood }}", {"mood": "m"}, "m"),
        ("{{ first.mood }}", Mood(mood="m"), "m"),
        ("{{ first.mood }}", {"mood": "m"}, "m"),
        ("{{ mood }} {{ chain_input.text }}", {"mood": "m", "chain_input": {"text": "t"}}, "m t"),
        ("{{ chain_input.text }}", {"chain_input": Row(text="t")}, "t"),
        (
            "{{ mood }} {{ chain_input.text }}",
            {"first": {"mood": "m"}, "chain_input": {"text": "t"}},
            "m t",
        ),
    ],
)
def test_an_example_has_the_names_that_the_prompt_uses(
    prompt: str, example: Any, shown: str
) -> None:
    assert after(prompt, example)[0]["content"] == shown


@pytest.mark.parametrize(
    ("prompt", "example", "message"),
    [
        ("{{ mood }} {{ chain_input.text }}", {"mood": "m"}, "the user uses 'chain_input'; give"),
        ("{{ mood }} {{ chain_input.text }}", Mood(mood="m"), "the user uses 'chain_input'; give"),
        (
            "{{ chain_input.text }}",
            {"chain_input": {}},
            "chain_input is not a valid Row: 'text' is",
        ),
        ("{{ mood }}", {"mood": "m", "chain_input": {}}, "unknown field 'chain_input'; Mood has"),
        ("{{ mood }}", {"moods": "m"}, "unknown field 'moods' (did you mean 'mood'?)"),
        ("{{ mood }}", {}, "its input is not a valid Mood: 'mood' is missing"),
        ("{{ mood }}", "m", "its input is not a valid Mood"),
        ("{{ mood[9] }}", {"mood": "m"}, "examples[0]: step 'second', user_prompt: "),
    ],
)
def test_an_example_whose_input_does_not_fit_is_refused(
    prompt: str, example: Any, message: str
) -> None:
    with pytest.raises(ChainError) as caught:
        after(prompt, example)
    assert message in str(caught.value)
    assert "step 'second', examples[0]" in str(caught.value)


class Hidden(BaseModel):
    mood: str = Field(exclude=True)


class Quote(BaseModel):
    words: str

    @field_validator("words")
    @classmethod
    def quoted(cls, words: str, info: ValidationInfo) -> str:
        assert words in info.context["chain_input"].text, "it is not in the text"
        return words


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"examples": [(ROW, {"moood": "x"})]}, "examples[0]: its output has an unknown field"),
        ({"examples": [(ROW, GOOD), (ROW, {"mood": 3})]}, "examples[1]: its output is not a valid"),
        ({"examples": [(ROW, GOOD), (ROW,)]}, "examples[1]: it is not a pair (input, output)"),
        ({"examples": [{"input": ROW, "answer": GOOD}]}, "examples[0]: it is not an input and its"),
        ({"examples": ROW}, "examples: give a list of pairs (input, output) or the path of a file"),
        ({"examples": 3}, "examples: give a list of pairs"),
        ({"examples": [(ROW, 5)], "output_model": str}, "examples[0]: its output is an int, not a"),
        (
            {"examples": [(ROW, {"mood": "x"})], "output_model": Hidden},
            "cannot be read back: 'mood'",
        ),
        (
            {"examples": [(ROW, {"words": "sun"})], "output_model": Quote},
            "examples[0]: its output is not a valid Quote: words: it is not in the text",
        ),
        ({"examples": [(ROW, " ")], "output_model": str}, "its output: the answer is empty"),
        (
            {"examples": [(ROW, "a\n```\nb")], "output_model": Code("sql")},
            "examples[0]: its output",
        ),
        ({"examples": "few.txt"}, "few.txt: a file of examples ends in .jsonl"),
        ({"examples": Path("absent.jsonl")}, "absent.jsonl: cannot be read: No such file"),
    ],
)
def test_an_example_that_does_not_fit_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ChainError) as caught:
        chain(**{"user_prompt": "{{ text }}"} | fields)
    assert message in str(caught.value)


def test_an_example_sees_the_names_in_the_validators_of_its_output() -> None:
    chain(user_prompt="{{ text }}", output_model=Quote, examples=[(ROW, {"words": "rai"})])


def test_examples_need_a_turn_of_the_user() -> None:
    with pytest.raises(ChainError, match="messages has no turn of the user to show its input in"):
        chain(messages=[{"history": "turns"}], examples=[(ROW, GOOD)])


PAIRS = [{"input": {"text": "sun"}, "output": {"mood": "glad"}}, [{"text": "fog"}, {"mood": "low"}]]
FILES = {
    "few.jsonl": "\ufeff" + "\n\n".join(map(json.dumps, PAIRS)) + "\n",
    "few.json": json.dumps(PAIRS, indent=1),
    "few.yaml": "- input: {text: sun}\n  output: {mood: glad}\n- [{text: fog}, {mood: low}]\n",
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_of_examples_is_read(name: str, kind: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    messages = sent(user_prompt="{{ text }}", examples=kind(tmp_path / name))
    assert [text for _, text in messages] == [
        "sun",
        '{"mood":"glad"}',
        "fog",
        '{"mood":"low"}',
        "rain",
    ]


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("a.jsonl", '\n[{"text": "a"}, {"mood": 1}]', "examples[0] (%s:2)", "its output is not a"),
        (
            "a.jsonl",
            '[{"text": "a"}, {"mood": "b"}]\n{"x": 1}',
            "examples[1] (%s:2)",
            "it is not an",
        ),
        ("a.jsonl", '[1, 2]\n{"a', "examples: %s:2", "not valid JSON: "),
        ("a.json", '[\n\n[{"txt": 1}, {}]]', "examples[0] (%s:3)", "unknown field 'txt'"),
        ("a.json", "[1,\n2,]", "examples: %s:2", "not valid JSON: "),
        ("a.json", '{"input": 1}', "examples: %s", "it is not a list of examples"),
        ("a.yml", "- [{text: a}, {mood: b}]\n- [{text: a}]", "examples[1] (%s:2)", "it is not an"),
        ("a.yml", "input: 1", "examples: %s", "it is not a list of examples"),
        ("a.yml", "- [a: b", "examples: %s:1", "not valid YAML"),
        ("a.yml", "", "examples: %s", "has none"),
        ("a.jsonl", "\n", "examples: %s", "has none"),
    ],
)
def test_a_mistake_in_a_file_has_its_line(
    name: str, text: str, place: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ChainError) as caught:
        chain(user_prompt="{{ text }}", examples=path)
    assert place % path in str(caught.value)
    assert message in str(caught.value)


def test_examples_are_rendered_once() -> None:
    asked: list[str] = []

    class Counted(BaseModel):
        text: str

        def shouted(self) -> str:
            asked.append(self.text)
            return self.text.upper()

    fields = {"input_model": Counted, "user_prompt": "{{ chain_input.shouted() }}"}
    with fake_engine("e", lambda _: GOOD):
        chain(examples=[({"text": "e"}, GOOD)], **fields).run([{"text": "a"}, {"text": "b"}])
    assert sorted(asked) == ["a", "b", "e"]


# The start of the answer


def prefilled(**fields: Any) -> Chain[Any, Any]:
    return chain(**{"user_prompt": "{{ text }}", "prefill": '{"mood": '} | fields)


@pytest.mark.parametrize(
    ("written", "mood"),
    [
        ('"sad"}', "sad"),
        ('{"mood":"sad"}', "sad"),  # llama.cpp repeats the start
        ('{"mood": "sad"}', "sad"),
    ],
)
def test_the_answer_is_the_start_and_what_continues_it(written: str, mood: str) -> None:
    with FakeVLLM([written]) as server:
        register_engine("e", backend="vllm_api", endpoint=server.endpoint, model="m")
        assert prefilled().run_one(ROW) == Mood(mood=mood)
    body = server.requests[0].body
    assert body["messages"][-1] == {"role": "assistant", "content": '{"mood":'}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    # A decoder would begin with a new object.
    assert "response_format" not in body
    assert "Respond ONLY with JSON" in body["messages"][0]["content"]


class Lists(BaseModel):
    rows: list[list[int]]


@pytest.mark.parametrize(
    ("prefill", "written", "value"),
    [
        ("[", "[1], [2]]", [[1], [2]]),
        ("[", "[[1], [2]]", [[1], [2]]),
        ("{{ text }}: [", "[1]]", [[1]]),
        ("{% if text == 'sun' %}[{% endif %}", "[[1]]", [[1]]),
    ],
)
def test_json_decides_whether_the_start_was_repeated(
    prefill: str, written: str, value: Any
) -> None:
    with fake_engine("e", [written]) as engine:
        assert prefilled(output_model=list[list[int]], prefill=prefill).run_one(ROW) == value
    assert len(engine.requests) == 1


def test_ollama_which_does_not_continue_the_last_message_is_refused() -> None:
    with FakeOllama() as server:
        register_engine("e", backend="ollama_api", endpoint=server.endpoint, model="m")
        with pytest.raises(ConfigError, match="cannot continue a prefill"):
            prefilled().run_one(ROW)
        assert server.requests == []


def test_requests_with_and_without_a_start_share_an_engine() -> None:
    steps = [
        step(id="a", user_prompt="{{ text }}", prefill='{"mood":'),
        step(id="b", input_model=Mood, user_prompt="{{ mood }}"),
        step(id="d", input_model=Mood, user_prompt="{{ mood }}", prefill="{"),
    ]
    with FakeVLLM(['"x"}', GOOD, '"mood": "y"}']) as server:
        register_engine("e", backend="vllm_api", endpoint=server.endpoint, model="m")
        assert chain(*steps).run_one(ROW) == Mood(mood="y")
    flags = [request.body.get("continue_final_message") for request in server.requests]
    assert flags == [True, None, True]
    assert [bool(request.schema) for request in server.requests] == [False, True, False]


def test_a_second_try_has_the_whole_answer_and_the_start_again() -> None:
    examples = [({"text": "sun"}, {"mood": "glad"})]
    with FakeVLLM(["1}", '"sad"}']) as server:
        register_engine("e", backend="vllm_api", endpoint=server.endpoint, model="m")
        assert prefilled(examples=examples).run_one(ROW) == Mood(mood="sad")
    turns = [(turn["role"], turn["content"]) for turn in server.requests[1].messages[1:]]
    assert turns[:3] == [("user", "sun"), ("assistant", '{"mood":"glad"}'), ("user", "rain")]
    assert turns[3] == ("assistant", '{"mood":1}')
    assert turns[4][0] == "user"
    assert turns[4][1].startswith("the answer is not valid")
    assert turns[5:] == [("assistant", '{"mood":')]


def test_a_second_try_without_an_answer_keeps_the_order_of_turns() -> None:
    with FakeVLLM([Reply(""), '"sad"}']) as server:
        register_engine("e", backend="vllm_api", endpoint=server.endpoint, model="m")
        assert prefilled().run_one(ROW) == Mood(mood="sad")
    roles = [turn["role"] for turn in server.requests[1].messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]


def test_a_refusal_is_not_the_end_of_an_answer() -> None:
    with FakeVLLM([Reply("I cannot.", finish_reason="refusal")]) as server:
        register_engine("e", backend="vllm_api", endpoint=server.endpoint, model="m")
        with pytest.raises(ChainetteError, match=r"no answer \(refusal\): I cannot\."):
            prefilled().run_one(ROW)


def test_a_start_is_refused_where_the_engine_cannot_continue_it(tmp_path: Path) -> None:
    message = r"step 's': its engine 'e' \(backend 'openai'\) cannot continue a prefill"
    with FakeOpenAI() as server:
        register_engine("e", backend="openai", endpoint=server.endpoint, model="m", api_key="k")
        with pytest.raises(ConfigError, match=message):
            prefilled().run_one(ROW)
        with pytest.raises(ConfigError, match=message):
            prefilled().run([ROW], output_dir=tmp_path / "run")
    assert server.requests == []
    assert not (tmp_path / "run").exists()


def test_a_cached_answer_has_its_start_once(tmp_path: Path) -> None:
    pytest.importorskip("diskcache")
    for answers in (['"sad"}'], []):
        with fake_engine("e", answers):
            assert prefilled().run_one(ROW, cache=tmp_path / "cache") == Mood(mood="sad")


# Runs


def test_a_resume_refuses_other_turns_and_examples(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text(json.dumps([ROW, GOOD]))
    plain = {"user_prompt": "{{ text }}"}
    variants: dict[str, dict[str, Any]] = {
        "": plain,
        "messages": {"messages": [SYSTEM, USER]},
        "more": {"messages": [SYSTEM, {"history": "turns"}, USER]},
        "examples": plain | {"examples": few},
        "prefill": plain | {"prefill": "{"},
    }
    with fake_engine("e", lambda _: '"mood": "x"}' if _[-1]["role"] == "assistant" else GOOD):
        for name, fields in variants.items():
            chain(**fields).run([ROW], output_dir=tmp_path / f"r{name}")
            chain(**fields).run([ROW], output_dir=tmp_path / f"r{name}", resume=True)
            for other in variants.values():
                if other != fields:
                    with pytest.raises(OutputDirError, match="step 's'"):
                        chain(**other).run([ROW], output_dir=tmp_path / f"r{name}", resume=True)
        few.write_text(json.dumps([ROW, {"mood": "glad"}]))
        with pytest.raises(OutputDirError, match=r"step 's' \(examples\)"):
            chain(**variants["examples"]).run([ROW], output_dir=tmp_path / "rexamples", resume=True)


async def test_a_dry_run_has_all_turns() -> None:
    with fake_engine("e") as engine:
        found = await dry_run(prefilled(examples=[({"text": "sun"}, GOOD)]), [ROW])
    rendered = [it for it in found if isinstance(it, Rendered)]
    roles = [turn["role"] for turn in rendered[0].messages]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert engine.requests == []


MODELS = """\
name: c
models:
  Row: {text: str, turns: "list[any] | null"}
  Mood: {mood: str}
steps:
"""
STEP = "  - {id: s, input_model: Row, output_model: Mood, engine_name: e, "


def yaml_chain(folder: Path, step: str) -> Chain[Any, Any]:
    path = folder / "c.yaml"
    path.write_text(MODELS + STEP + step + "}\n")
    return load_chain(path)


def test_yaml_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "few.yaml").write_text("- {input: {text: sun, turns: null}, output: {mood: glad}}")
    built = yaml_chain(
        tmp_path,
        "messages: [{role: system, content: Be brief.}, {history: turns}, "
        "{role: user, content: 'Mood of: {{ text }}'}], examples: few.yaml, prefill: '{'",
    )
    with fake_engine("e", ['"mood": "sad"}']) as engine:
        built.run_one({"text": "rain", "turns": [{"role": "user", "content": "Hi"}]})
    assert [turn["content"] for turn in engine.requests[0]] == [
        *("Be brief.", "Mood of: sun", '{"mood":"glad"}', "Hi", "Mood of: rain", "{"),
    ]
    inline = (
        "user_prompt: '{{ text }}', examples: [{input: {text: a, turns: []}, output: {mood: b}}]"
    )
    assert len(yaml_chain(tmp_path, inline).nodes["s"].messages({}, Row(text="x"))) == 3


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("messages: [{role: human, content: x}]", "c.yaml:6: steps.0.messages.0.role: expected "),
        ("messages: [{role: user, text: x}]", "unknown key 'text'"),
        ("messages: hi", "c.yaml:6: steps.0.messages: expected a list"),
        (
            "messages: [hi]",
            "steps.0.messages.0: expected a mapping of keys and values; the keys of",
        ),
        ("messages: [{role: user}]", "messages[0]: 'content' is missing"),
        ("name: x", "c.yaml:6: step 's': give user_prompt, or messages for a conversation"),
        (
            "user_prompt: '{{ text }}', examples: [{input: 1, output: 2}, {input: 1}]",
            "an example needs 'output'; the keys of an example are input, output",
        ),
        (
            "user_prompt: '{{ text }}', "
            "examples: [\n    {input: {text: a, turns: null}, output: 1}]",
            "step 's', examples[0] (%s:7): its output is not a valid Mood",
        ),
        ("user_prompt: '{{ text }}', examples: few.jsonl", "%s/few.jsonl: cannot be read"),
        ("user_prompt: '{{ text }}', examples: 3", "steps.0.examples: expected a list"),
    ],
)
def test_a_mistake_in_yaml_has_its_place(step: str, message: str, tmp_path: Path) -> None:
    place = tmp_path if "/few" in message else tmp_path / "c.yaml"
    with pytest.raises(ChainError) as caught:
        yaml_chain(tmp_path, step)
    assert (message % place if "%s" in message else message) in str(caught.value)


def test_inspect_and_the_graph_show_all_turns(tmp_path: Path) -> None:
    from chainette.cli.app import app

    yaml_chain(
        tmp_path,
        "system_prompt: Be brief., user_prompt: 'Mood of: {{ text }}', prefill: '{', "
        "examples: [{input: {text: sun, turns: null}, output: {mood: glad}}]",
    )
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "c.yaml")]).output
    for line in (
        "[system] Be brief.",
        "[example, user] Mood of: sun",
        '[example, assistant] {"mood":"glad"}',
        "[user] Mood of: {{ text }}",
        "[prefill] {",
    ):
        assert line in shown
    as_json = CliRunner().invoke(app, ["inspect", "--json", str(tmp_path / "c.yaml")]).output
    (node,) = json.loads(as_json)["nodes"]
    assert [turn["content"] for turn in node["examples"]] == ["Mood of: sun", '{"mood":"glad"}']
    assert node["prefill"] == "{"


# Scripted answers


def conversation(*turns: str) -> list[Any]:
    """Turns from texts such as `user: Hi`."""
    return [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]


@pytest.mark.parametrize(
    "turns",
    [
        ["user: the sun", "assistant: a", "user: the rain"],
        ["system: the sun", "user: the rain", "assistant: the sun"],
        [
            "user: the sun",
            "assistant: a",
            "user: rain",
            "assistant: x",
            "user: the answer is not v",
        ],
        ["user: the answer is rain"],
    ],
)
def test_a_scripted_answer_is_chosen_by_the_own_turn(turns: list[str]) -> None:
    assert Script({"sun": "1", "rain": "2"}).answer(conversation(*turns)) == "2"
    with pytest.raises(LookupError, match="rain"):
        Script({"sun": "1"}).answer(conversation(*turns))
