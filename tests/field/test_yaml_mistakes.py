"""Mistakes in chains from YAML: one message each, with the kinds and keys that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chainette.errors import ChainError
from chainette.loading.yaml_chain import load_yaml_chain

HEAD = "name: c\nmodels: {M: {text: str}}\n"
STEP = "{id: a, input_model: M, output_model: M, engine_name: e, user_prompt: '{{ text }}'}"
STEPS = f"steps:\n  - {STEP}\n"
NODE = (
    "a node is a step (id, input_model, output_model, engine_name, user_prompt, …), "
    "or has one of the keys apply (a function), split, filter, distinct, vote, branch, route, "
    "repeat, reduce, use"
)
KEYS = "the keys of a chain are name, emoji, engines, inputs, output_dir, run, models, steps"
FIELD = "the keys of a field are type, enum, items, description, default, ge"
RAW = re.compile(
    r"Input should|instance of|Spec\b|valid (dictionary|string|list)|validation|Error:|unable to|"
    r"Extra inputs|Keys should|<step>"
)


def mistake(folder: Path, text: str) -> str:
    (folder / "c.yaml").write_text(text)
    with pytest.raises(ChainError) as failure:
        load_yaml_chain(folder / "c.yaml")
    said = str(failure.value).replace(f"{folder}/", "")
    assert not RAW.search(said), said
    return said


def step(**fields: str) -> str:
    """A chain whose step has other fields, as they are written in YAML."""
    given = {
        "id": "a",
        "input_model": "M",
        "output_model": "M",
        "engine_name": "e",
        "user_prompt": "'{{ text }}'",
    } | fields
    body = ", ".join(f"{key}: {value}" for key, value in given.items())
    return f"{HEAD}steps:\n  - {{{body}}}\n"


def models(fields: str) -> str:
    return f"name: c\nmodels: {{M: {{text: {fields}}}}}\n{STEPS}"


@pytest.mark.parametrize("where", ["steps.0", "steps.0.steps.0"])
@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("{pipe: x}", "'pipe' is not a kind of node"),
        ("{aply: x}", "'aply' is not a kind of node (did you mean 'apply'?)"),
        ("{step: {id: a}}", "'step' is not a kind of node"),
        ("{a: 1, b: 2}", "none of 'a' and 'b' is a kind of node"),
        ("hello", "it is a text"),
        ("3", "it is a number"),
        ("true", "it is true or false"),
        ("null", "it is empty"),
        ("{}", "it is empty"),
        ("[1, 2]", "it is a list"),
    ],
)
def test_a_node_of_no_kind_is_one_mistake(
    node: str, message: str, where: str, tmp_path: Path
) -> None:
    is_inner = where != "steps.0"
    steps = f"  - {node}\n" if not is_inner else f"  - branch: b\n    steps:\n      - {node}\n"
    said = mistake(tmp_path, f"{HEAD}steps:\n{steps}")
    assert said == f"c.yaml:{6 if is_inner else 4}: {where}: {message}; {NODE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "steps: hello\n", f"c.yaml:3: steps: expected a list of nodes; {NODE}"),
        (HEAD + f"steps: {STEP}\n", f"c.yaml:3: steps: expected a list of nodes; {NODE}"),
        (HEAD + "steps:\n", f"c.yaml:3: steps: expected a list of nodes; {NODE}"),
        (HEAD, f"c.yaml:1: a chain needs 'steps'; {KEYS}"),
        ("hello\n", f"c.yaml:1: expected a mapping of keys and values; {KEYS}"),
        ("\n", f"c.yaml:1: expected a mapping of keys and values; {KEYS}"),
        ("- {name: e, backend: openai}\n", "a file of engines is for load_engines"),
        (
            HEAD + STEPS + "step: 1\n",
            f"c.yaml:5: unknown key 'step' (did you mean 'steps'?); {KEYS}",
        ),
        (HEAD + STEPS + "foo: 1\n", f"c.yaml:5: unknown key 'foo'; {KEYS}"),
        (HEAD + STEPS + "limit: 1\n", "unknown key 'limit' (it belongs under run)"),
        (HEAD + STEPS + "top_p: 1\n", "unknown key 'top_p' (it belongs under sampling of a step)"),
        (HEAD + STEPS + "3: 4\n", "c.yaml:5: 3: expected a text as the key; put it in quotes"),
        (HEAD + STEPS + "null: 4\n", "c.yaml:5: null: expected a text as the key"),
        (
            HEAD + STEPS + "run: 3\n",
            "c.yaml:5: run: expected a mapping of keys and values; the keys",
        ),
        (HEAD + STEPS + "run:\n", "the keys of the options of a run are output_dir, limit, sample"),
        (HEAD + STEPS + "run: {limt: 3}\n", "unknown key 'limt' (did you mean 'limit'?)"),
        (HEAD + STEPS + "run: {limit: x}\n", "c.yaml:5: run.limit: expected a whole number"),
        (HEAD + STEPS + "run: {fmt: csv}\n", "run.fmt: expected 'jsonl' or 'parquet'"),
        (HEAD + STEPS + "engines: 3\n", "c.yaml:5: expected a list of engines"),
        (HEAD + STEPS + "engines: {a: 1}\n", "c.yaml:5: expected a list of engines"),
        (HEAD + STEPS + "inputs: 3\n", "c.yaml:5: inputs: expected a text; put it in quotes"),
        (HEAD + STEPS + "inputs: [a]\n", "c.yaml:5: inputs: expected a text"),
        ("name: 3\n" + STEPS, "c.yaml:1: name: expected a text; put it in quotes"),
        (
            HEAD + "steps:\n  - {id: a}\n",
            "c.yaml:4: steps.0: a step needs 'input_model' and 'engine_name'; the keys of a step ",
        ),
        (
            step(engine="e").replace("engine_name: e, ", ""),
            "c.yaml:4: unknown key 'engine' (did you mean 'engine_name'?); the keys of a step are",
        ),
        (step(temperature="0"), "unknown key 'temperature' (it belongs under sampling of a step)"),
        (step(user_prompt="{a: 1}"), "c.yaml:4: steps.0.user_prompt: expected a text"),
        (step(input_model="3"), "steps.0.input_model: expected a text; put it in quotes"),
        (step(input_model="m"), "unknown model 'm' (did you mean 'M'?); declared under models: M"),
        (step(yield_output="maybe"), "steps.0.yield_output: expected true or false"),
        (
            step(sampling="3"),
            "steps.0.sampling: expected a mapping of keys and values; the keys of",
        ),
        (
            step(sampling="{temprature: 3}"),
            "unknown key 'temprature' (did you mean 'temperature'?)",
        ),
        (step(sampling="{temperature: hot}"), "steps.0.sampling.temperature: expected a number"),
        (step(sampling="{max_tokens: 0}"), "sampling.max_tokens: expected a number of at least 1"),
        (
            step(sampling="{guided_decoding: {chois: [a]}}"),
            "unknown key 'chois' (did you mean 'choice'?); the keys of guided decoding are json",
        ),
        (
            HEAD + "steps:\n  - {apply: 'x:y', branch: z}\n",
            "steps.0: 'apply' and 'branch' are two kinds of nodes; give each a node of its own",
        ),
        (
            HEAD + "steps:\n  - {use: 'x:y', id: z}\n",
            "unknown key 'id' (it belongs in a step); the keys of a node with use are use",
        ),
        (HEAD + "steps:\n  - {apply: }\n", "steps.0.apply: expected a text"),
        (
            HEAD + "steps:\n  - {apply: 'x:y', btch: 3}\n",
            "(did you mean 'batch'?); the keys of a func",
        ),
        (
            HEAD + "steps:\n  - {branch: b}\n",
            "steps.0: a branch needs 'steps'; the keys of a branch",
        ),
        (HEAD + "steps:\n  - {branch: b, steps: []}\n", "steps.0.steps: expected a list of nodes"),
        (
            models("strng"),
            "c.yaml:2: M.text: unknown type 'strng' (did you mean 'str'?); known: str",
        ),
        (models("'List[str]'"), "M.text: 'List[str]' is not a type; known: str, int"),
        (models("'str?'"), "M.text: 'str?' is not a type; known: str, int"),
        (models("3"), f"models.M.text: expected a type, such as str, or a mapping; {FIELD}"),
        (models("null"), f"models.M.text: expected a type, such as str, or a mapping; {FIELD}"),
        (models("{tpye: str}"), f"unknown key 'tpye' (did you mean 'type'?); {FIELD}"),
        (models("{type: str, min_length: x}"), "M.text.min_length: expected a whole number"),
        (models("{type: str, min_length: -1}"), "min_length: expected a number of at least 0"),
        (models("{type: str, pattern: '['}"), "c.yaml:2: M.text: a limit does not fit: "),
        (models("{type: str, default: 3}"), "text: default: expected a text"),
        (
            models("{enum: [null]}"),
            "M.text.enum.0: expected a text, or a whole number, or a number, ",
        ),
        (models("str, _x: str"), "M._x: a field cannot have this name; choose another"),
        (models("str, 3: str"), "c.yaml:2: models.M.3: expected a text as the key"),
        ("name: c\nmodels: {M: str}\n" + STEPS, "models.M: expected a mapping of fields by name"),
        ("name: c\nmodels: [M]\n" + STEPS, "models: expected a mapping of models by name"),
    ],
)
def test_a_mistake_is_one_message_with_the_keys_that_there_are(
    text: str, message: str, tmp_path: Path
) -> None:
    said = mistake(tmp_path, text)
    assert message in said
    assert "mistakes" not in said


def test_different_mistakes_are_listed_together(tmp_path: Path) -> None:
    said = mistake(tmp_path, HEAD + "steps:\n  - {pipe: x}\n  - 3\n  - {branch: b}\nfoo: 1\n")
    assert said.startswith("c.yaml has 4 mistakes:\n")
    for start in ("4: steps.0: 'pipe'", "5: steps.1: it is", "6: steps.2: a branch", "7: unknown"):
        assert f"\n  c.yaml:{start}" in said


FIRST = "  - {id: a, input_model: M, output_model: M, engine_name: e, user_prompt: '{{ text }}'}\n"
SECOND = FIRST.replace("id: a", "id: b")
WORDLESS = "name: c\nmodels:\n  M: {text: str}\n  N: {other: str}\nsteps:\n"


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (FIRST + SECOND.replace("{{ text }}", "{{ txt }}"), 7),
        (FIRST + SECOND.replace("input_model: M", "input_model: N"), 7),
        (FIRST + FIRST, 7),
        ("  - branch: more\n    steps:\n    " + FIRST + "    " + SECOND.replace("text", "txt"), 9),
        (FIRST + "  - branch: more\n    when: scroe > 1\n    steps:\n    " + SECOND, 7),
        (FIRST + "  - split: parts\n    id: parts\n", 7),
    ],
)
def test_a_mistake_that_the_whole_chain_shows_is_at_its_node(
    steps: str, line: int, tmp_path: Path
) -> None:
    assert mistake(tmp_path, WORDLESS + steps).startswith(f"c.yaml:{line}: ")
