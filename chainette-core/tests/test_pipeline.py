from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import pytest
import yaml
from chainette import Chain, Step, apply, get_engine_config, load_chain
from chainette.errors import ChainError
from chainette.loading.inline_models import FieldSpec, build_models
from chainette.loading.yaml_chain import load_yaml_chain
from chainette.loading.yaml_spec import RUN_SPEC, format_schema
from chainette.pipeline.graph import graph, mermaid
from chainette.pipeline.prompt import PromptTemplate
from chainette.run.options import RunOptions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, ValidationError

MYPY_CACHE = Path(__file__).parents[2] / ".mypy_cache/options"  # a cold one takes ten seconds
Make = Callable[..., str]


class Note(BaseModel):
    text: str
    lines: list[str] = []


class Topic(BaseModel):
    topic: str
    note: Note | None = None


class Longer(Note):
    more: int = 0


def step(id: str = "a", **fields: Any) -> Step:
    defaults = {
        "input_model": Note, "output_model": Topic, "engine_name": "e", "user_prompt": "{{ text }}",
    }  # fmt: skip
    return Step(id=id, **(defaults | fields))


def chain(*steps: Step) -> Chain:
    return Chain(name="c", steps=steps or [step()])


class TestPrompts:
    def test_names_are_those_of_the_row_the_input_and_earlier_steps(self) -> None:
        second = step(
            "b",
            input_model=Topic,
            system_prompt="You see {{ chain_input.text }}.",
            user_prompt="{{ topic }} {{ a.topic }} {{ a.note.text }}",
            output_format_instruction='Answer as {"topic": "{{ no template }}"}',
        )
        chain(step(), second)
        topic = Topic(topic="t", note=Note(text="n"))
        messages = second.messages({"chain_input": Note(text="row"), "a": topic}, topic)
        assert messages == [
            {
                "role": "system",
                "content": 'You see row.\n\nAnswer as {"topic": "{{ no template }}"}',
            },
            {"role": "user", "content": "t t n"},
        ]

    def test_without_a_system_prompt_there_is_no_system_message(self) -> None:
        messages = step().messages({}, Note(text="x"))
        assert [message["role"] for message in messages] == ["user"]

    def test_a_whole_model_is_written_as_json(self) -> None:
        node = step(user_prompt="{{ chain_input }}")
        row = Note(text="x")
        assert node.messages({"chain_input": row}, row)[0]["content"] == '{"text":"x","lines":[]}'

    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            ("{{ txet }}", "unknown variable 'txet' (did you mean 'text'?)"),
            ("{{ chain_input.txet }}", "no field 'txet' (did you mean 'text'?)"),
            ("{{ b.topic }}", "unknown variable 'b'"),
            ("{% for x in lines %}{{ x }}{{ y }}{% endfor %}", "unknown variable 'y'"),
            ("{{ text", "user_prompt, line 1"),
            ("\n\n{% if %}", "user_prompt, line 3"),
            ("{{ text | nofilter }}", "nofilter"),
        ],
    )
    def test_what_is_wrong_in_a_template_is_found_when_the_chain_is_built(
        self, template: str, expected: str
    ) -> None:
        with pytest.raises(ChainError) as caught:
            chain(step(user_prompt=template))
        assert "step 'a', user_prompt" in str(caught.value)
        assert expected in str(caught.value)

    @pytest.mark.parametrize(
        "template",
        [
            "{% set text2 = text %}{{ text2 }}",
            "{% for line in lines %}{{ loop.index }}: {{ line }}{% endfor %}",
            "{{ chain_input.model_dump_json() }}",
            "{% for n in lines %}{{ n.upper() }}{% endfor %}",
        ],
    )
    def test_what_is_right_in_a_template_is_accepted(self, template: str) -> None:
        chain(step(user_prompt=template))

    @pytest.mark.parametrize(
        "template",
        [
            "{{ chain_input.__class__.__mro__ }}",
            "{{ ''.__class__ }}",
            "{{ lines.append('x') }}",
            "{{ text.missing }}",
            "{{ lines[0] }}",
            "{{ 1 / 0 }}",
            "{{ chain_input.model_dump.__func__.__globals__ }}",
        ],
    )
    def test_what_fails_or_reaches_out_is_an_error_that_names_the_step(self, template: str) -> None:
        node = step(user_prompt=template)
        row = Note(text="x")
        with pytest.raises(ChainError, match="step 'a', user_prompt"):
            node.messages({"chain_input": row}, row)

    def test_fields_that_a_model_does_not_declare_can_be_used_where_it_allows_them(self) -> None:
        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")

        node = step(input_model=Open, user_prompt="{{ anything }}")
        chain(node)
        assert node.messages({}, Open(anything="x"))[0]["content"] == "x"  # type: ignore[call-arg]
        with pytest.raises(ChainError, match="anything"):
            node.messages({}, Open())

    @given(st.text())
    def test_a_rows_text_is_never_read_as_a_template(self, text: str) -> None:
        template = PromptTemplate("{{ text }}", "here")
        for hostile in (text, "{{ 1 + 1 }}" + text, "{% raw %}" + text):
            assert template.render({"text": hostile}) == hostile


class TestChains:
    @pytest.mark.parametrize(
        "id", ["", "a b", "../a", "a.b", "1a", "row_id", "error", "é", "a" * 65]
    )
    def test_an_id_is_a_plain_name(self, id: str) -> None:
        with pytest.raises(ChainError, match="step id"):
            step(id)

    def test_steps_must_fit_together(self) -> None:
        with pytest.raises(ChainError, match="step 'b' takes Note, but step 'a' gives Topic"):
            chain(step(), step("b"))
        chain(step(output_model=Longer), step("b", input_model=Note))

    def test_ids_are_unique_and_something_is_yielded(self) -> None:
        with pytest.raises(ChainError, match="2 steps have the id 'a'"):
            chain(step(output_model=Note), step())
        with pytest.raises(ChainError, match="no steps"):
            Chain(name="c", steps=[])
        with pytest.raises(ChainError, match="yield_output"):
            chain(step(yield_output=False))

    def test_an_output_type_without_a_schema_is_named(self) -> None:
        class Odd(BaseModel):
            model_config = ConfigDict(arbitrary_types_allowed=True)
            call: Callable[[], int]

        with pytest.raises(ChainError, match="step 'a': output_model has no JSON schema"):
            step(output_model=Odd).check_output()

    def test_a_field_that_is_read_at_a_path_alone_is_named(self) -> None:
        """The server would answer with the field's name, which the type does not read."""
        path = AliasPath("x", 0)

        class Inner(BaseModel):
            first: int = Field(3, validation_alias=path)

        class Odd(BaseModel):
            inner: list[Inner]

        with pytest.raises(ChainError, match="field 'first' of Inner is read at a path"):
            step(output_model=Odd).check_output()

        class Named(BaseModel):
            model_config = ConfigDict(populate_by_name=True)
            first: int = Field(validation_alias=path)

        class Chosen(BaseModel):
            first: int = Field(validation_alias=AliasChoices(path, "one"))

        step(output_model=Named).check_output()
        step(output_model=Chosen).check_output()

    def test_the_graph_has_nodes_and_edges(self) -> None:
        data = graph(
            chain(step(name='Say "hi"'), step("b", input_model=Topic, user_prompt="{{ topic }}"))
        )
        assert [node["id"] for node in data["nodes"]] == ["a", "b"]
        assert data["edges"] == [
            {"from": "chain_input", "to": "a"},
            {"from": "a", "to": "b"},
        ]
        chart = mermaid(chain(step(name='Say "hi"')))
        assert "chain_input --> a" in chart
        assert '"Say "' not in chart


class TestInlineModels:
    def build(self, **fields: Any) -> Any:
        specs = {key: FieldSpec.model_validate(spec) for key, spec in fields.items()}
        return build_models({"Model": specs, "Other": {"x": FieldSpec(type="int")}})["Model"]

    @pytest.mark.parametrize(
        ("spec", "good", "bad"),
        [
            ({"type": "str", "max_length": 3}, "abc", "abcd"),
            ({"type": "int", "ge": 1}, 1, 0),
            ({"type": "list[int]"}, [1], ["x"]),
            ({"type": "dict[str, float]"}, {"a": 1.5}, {"a": "x"}),
            ({"type": "int | null"}, None, "x"),
            ({"type": "Other"}, {"x": 1}, {"x": "y"}),
            ({"type": "list[Other | str]", "max_length": 1}, ["a"], ["a", "b"]),
            ({"type": "list[Model]"}, [], [1]),
            ({"enum": ["a", 2]}, 2, "b"),
            ({"items": {"type": "str", "max_length": 2}, "min_length": 1}, ["ab"], ["abc"]),
            ({"items": {"enum": ["a"]}}, ["a"], ["b"]),
            ({"type": "date"}, "2026-01-31", "someday"),
        ],
    )
    def test_a_field_takes_what_its_type_says(self, spec: Any, good: Any, bad: Any) -> None:
        model = self.build(field=spec)
        model.model_validate({"field": good})
        with pytest.raises(ValidationError):
            model.model_validate({"field": bad})

    def test_a_default_makes_a_field_optional(self) -> None:
        model = self.build(a={"type": "int", "default": 3}, b={"type": "Other", "default": None})
        assert (model().a, model().b) == (3, None)

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"type": "strr"}, "Model.field: unknown type 'strr' (did you mean 'str'?)"),
            ({"type": "list["}, "is not a type"),
            ({"type": "__import__('os')"}, "is not a type"),
            ({"type": "list[int, str]"}, "is not a type"),
            ({}, "give one of type, enum, items"),
            ({"type": "str", "enum": ["a"]}, "give one of type, enum, items"),
        ],
    )
    def test_a_wrong_type_is_named_with_its_field(self, spec: Any, expected: str) -> None:
        with pytest.raises(ValueError, match="Model") as caught:
            self.build(field=spec)
        assert expected in str(caught.value)


YAML = """\
name: c
engines:
  - {name: e, backend: scripted, model: m}
inputs: rows.jsonl
output_dir: out
models:
  Note: {text: str}
  Topic: {topic: {enum: [a, b]}}
steps:
  - id: one
    engine_name: e
    input_model: Note
    output_model: Topic
    sampling: {temperature: 0}
    user_prompt: "{{ text }}"
"""


OUT = "output_dir: out\n"


class TestRunOptions:
    NAMES = [field.name for field in dataclasses.fields(RunOptions)]

    def test_they_are_the_keywords_that_help_shows(self) -> None:
        for method, more in ((Chain.run, []), (Chain.arun, []), (Chain.stream, ["in_order"])):
            names = [*self.NAMES, "progress", *more]
            assert list(inspect.signature(method).parameters) == ["self", "inputs", *names]
            text = str(inspect.getdoc(method))
            assert all(f"\n    {name}: " in text for name in names)
            assert "**options" not in text
        limit = inspect.signature(Chain.run).parameters["limit"]
        assert (limit.default, limit.annotation) == (None, int | None)
        assert inspect.iscoroutinefunction(Chain.arun)
        assert inspect.isasyncgenfunction(Chain.stream)

    def test_an_unknown_one_is_a_type_error_with_the_nearest_name(self) -> None:
        chain: Any = Chain(name="c", steps=[apply(lambda row: row, id="a")])
        with pytest.raises(TypeError, match=r"unknown option 'limt' \(did you mean 'limit'\?\)"):
            chain.run([], limt=1)
        with pytest.raises(TypeError, match="unknown option 'listeners'"):
            anyio.run(lambda: chain.arun([], listeners=()))
        with pytest.raises(TypeError, match=r"did you mean 'in_order'\?"):
            anyio.run(chain.stream([], inorder=True).__anext__)

    @pytest.mark.exhaustive
    def test_type_checkers_know_them(self, tmp_path: Path) -> None:
        (tmp_path / "typed.py").write_text(
            "from chainette import Chain, Run\n"
            "def use(chain: Chain) -> Run:\n"
            "    chain.run([], limit='x')\n"
            "    chain.run([], limt=1)\n"
            "    chain.run([], in_order=True)\n"
            "    chain.stream([], in_order=True, max_cost=1.5)\n"
            "    return chain.run('rows.jsonl', output_dir='out', fmt='parquet')\n"
        )
        mypy = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", MYPY_CACHE, "typed.py"]
        checked = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, timeout=110)
        errors = [line.split(" ")[0] for line in checked.stdout.splitlines() if "error:" in line]
        assert errors == ["typed.py:3:", "typed.py:4:", "typed.py:5:"], checked.stdout


class TestYaml:
    def load(self, folder: Path, text: str = YAML) -> Any:
        path = folder / "chain.yaml"
        path.write_text(text)
        return load_yaml_chain(path)

    def test_a_chain_comes_with_engines_inputs_and_output_dir(
        self, scripted: Make, tmp_path: Path
    ) -> None:
        loaded = self.load(tmp_path)
        assert loaded.inputs == tmp_path / "rows.jsonl"
        assert loaded.options == {"output_dir": tmp_path / "out"}
        assert loaded.chain.steps[0].sampling.temperature == 0
        assert loaded.chain.input_model.model_validate({"text": "x"})
        assert get_engine_config("e").model == "m"
        assert load_chain(tmp_path / "chain.yaml").name == "c"

    def test_a_run_mapping_has_the_options_of_a_run(
        self, scripted: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LIMIT", "7")
        run = "run: {output_dir: out, cache: answers, limit: $N, overwrite: no, columns: {a: b}}\n"
        text = YAML.replace("output_dir: out\n", run.replace("$N", "'${LIMIT}'"))
        assert self.load(tmp_path, text).options == {
            "output_dir": tmp_path / "out",
            "cache": tmp_path / "answers",
            "limit": 7,
            "overwrite": False,
            "columns": {"a": "b"},
        }

    def test_every_option_of_a_run_fits_into_the_mapping(self, tmp_path: Path) -> None:
        names = [field.name for field in dataclasses.fields(RunOptions)]
        assert list(RUN_SPEC.model_fields) == names
        properties = format_schema()["$defs"]["RunSpec"]["properties"]
        assert list(properties) == names
        assert properties["limit"]["description"] == "Maximum number of input rows."

    def test_models_can_be_in_a_module_beside_the_file(
        self, scripted: Make, tmp_path: Path
    ) -> None:
        (tmp_path / "own_models_for_yaml.py").write_text(
            "from pydantic import BaseModel\nclass Note(BaseModel):\n    text: str\n"
        )
        text = YAML.replace("input_model: Note", "input_model: own_models_for_yaml:Note")
        assert self.load(tmp_path, text).chain.input_model.__name__ == "Note"
        with pytest.raises(ChainError, match="did you mean 'Note'"):
            self.load(tmp_path, text.replace("yaml:Note", "yaml:Noet"))

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("- id: one", "- idd: one", "chain.yaml:10: unknown key 'idd' (did you mean 'id'?)"),
            ("temperature: 0", "temprature: 0", "chain.yaml:14: unknown key 'temprature'"),
            ("text: str", "text: strr", "chain.yaml:7: Note.text: unknown type 'strr'"),
            ("input_model: Note", "input_model: Noet", "chain.yaml:10: unknown model 'Noet'"),
            ("{{ text }}", "{{ txet }}", "unknown variable 'txet'"),
            ("backend: scripted", "backend: scriptde", "chain.yaml:3: engine 'e': unknown backend"),
            ("name: c\n", "", "a chain needs 'name'"),
            ("steps:", "stepz:", "unknown key 'stepz' (did you mean 'steps'?)"),
            (YAML, "- a\n", "expected a mapping"),
            (YAML, "", "expected a mapping"),
            ("rows.jsonl", "${NOT_SET_AT_ALL}", "chain.yaml:4: the environment variable"),
            (OUT, "run:\n  limt: 3\n", "chain.yaml:6: unknown key 'limt' (did you mean 'limit'?)"),
            (OUT, "run: {limit: 0}\n", "chain.yaml:5: run.limit: expected a number of at least 1"),
            (OUT, "run: {fmt: csv}\n", "chain.yaml:5: run.fmt: expected 'jsonl' or"),
            (OUT, "run: 3\n", "chain.yaml:5: run: expected a mapping"),
            (OUT, "run: {cache: '${NOT_SET_AT_ALL}'}\n", "chain.yaml:5: the environment variable"),
            (OUT, f"{OUT}run: {{output_dir: x}}\n", "chain.yaml:6: output_dir is set outside"),
        ],
    )
    def test_a_mistake_has_file_and_line(
        self, scripted: Make, tmp_path: Path, old: str, new: str, expected: str
    ) -> None:
        with pytest.raises(ChainError) as caught:
            self.load(tmp_path, YAML.replace(old, new, 1))
        assert expected in str(caught.value)


class TestTargets:
    def write(self, folder: Path, text: str, name: str = "target_module.py") -> Path:
        path = folder / name
        path.write_text(
            "from __future__ import annotations\n"
            "from chainette import Chain, Step\nfrom pydantic import BaseModel\n"
            "class Model(BaseModel):\n    child: Model | None = None\n"
            "def make(name):\n"
            "    step = Step(id='a', input_model=Model, output_model=Model, engine_name='e',"
            " user_prompt='{{ chain_input }}')\n"
            "    return Chain(name=name, steps=[step])\n" + text
        )
        return path

    def test_a_chain_is_found_by_name_or_alone(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, "one = make('1')\n")
        assert load_chain(f"{path}:one").name == "1"
        assert load_chain(path).name == "1"

    def test_a_name_that_is_not_there_lists_those_that_are(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, "first = make('1')\nsecond = make('2')\n")
        with pytest.raises(ChainError, match=r"'secnd' \(did you mean 'second'\?\).*first, second"):
            load_chain(f"{path}:secnd")
        with pytest.raises(ChainError, match="say which chain"):
            load_chain(path)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1 / 0\n", "ZeroDivisionError: division by zero"),
            ("import nothing_of_that_name\n", "ModuleNotFoundError"),
            ("x = (\n", "SyntaxError"),
            ("raise SystemExit(3)\n", "SystemExit: 3"),
            ("", "there are: none"),
        ],
    )
    def test_a_module_that_does_not_load_is_one_message(
        self, tmp_path: Path, text: str, expected: str
    ) -> None:
        path = self.write(tmp_path, text)
        with pytest.raises(ChainError) as caught:
            load_chain(path)
        assert expected in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_missing_file_or_module_is_one_message(self, tmp_path: Path) -> None:
        for target, expected in [
            (f"{tmp_path}/no.py:chain", "there is no such file"),
            (f"{tmp_path}/", "is a directory"),
            ("no_such_module:chain", "ModuleNotFoundError"),
        ]:
            with pytest.raises(ChainError, match=expected):
                load_chain(target)


GRAPH = """\
name: g
engines:
  - {name: e, backend: scripted, model: m}
models:
  Note: {text: str}
  Words:
    words: list[str]
steps:
  - apply: own_functions_for_yaml:tidy
    id: tidied
    input_model: Note
    output_model: Note
  - branch: french
    join: fr
    steps:
      - id: translate
        engine_name: e
        input_model: Note
        output_model: Note
        user_prompt: "{{ text }}"
      - branch: inner
        steps:
          - use: own_functions_for_yaml:part
  - id: both
    engine_name: e
    input_model: Note
    output_model: Words
    user_prompt: "{{ text }} {{ fr.text }}"
  - apply: own_functions_for_yaml:count
    batch: all
"""
FUNCTIONS = """
from typing import Any
from chainette import Chain, apply

def tidy(note: Any) -> Any:
    return note

def count(items: list[Any]) -> list[int]:
    return [len(item.words) for item in items]

def other(item: Any) -> Any:
    return item

part = Chain(name="part", steps=[apply(other)])
"""


class TestYamlGraphs:
    def load(self, folder: Path, text: str = GRAPH) -> Any:
        (folder / "own_functions_for_yaml.py").write_text(FUNCTIONS)
        path = folder / "graph.yaml"
        path.write_text(text)
        return load_yaml_chain(path).chain

    def test_branches_functions_and_parts_from_python(self, scripted: Make, tmp_path: Path) -> None:
        chain = self.load(tmp_path)
        assert list(chain.nodes) == ["tidied", "translate", "other", "both", "count"]
        assert chain.steps[1].alias == "fr"
        assert chain.nodes["count"].batch == "all"
        assert chain.nodes["count"].output_model is int

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("    join: fr\n", "    jion: fr\n", ":14: unknown key 'jion' (did you mean 'join'?)"),
            ("        user_prompt", "        user_promt", ":20: unknown key 'user_promt'"),
            ("yaml:tidy", "yaml:tydi", ":9: own_functions_for_yaml: there is no 'tydi'"),
            ("yaml:part", "yaml:parts", ":23: own_functions_for_yaml: there is no 'parts'"),
            ("batch: all", "batch: 0", ":29: apply 'count': batch is 0; give a number"),
            ("fr.text", "fr.txet", "'fr' has no field 'txet' (did you mean 'text'?)"),
            ("join: fr", "join: both", "which is the id of a step"),
        ],
    )  # fmt: skip
    def test_a_mistake_has_file_and_line(
        self, scripted: Make, tmp_path: Path, old: str, new: str, expected: str
    ) -> None:
        assert old in GRAPH
        with pytest.raises(ChainError) as caught:
            self.load(tmp_path, GRAPH.replace(old, new, 1))
        assert expected in str(caught.value)

    def test_the_format_has_a_schema_that_the_examples_fit(self) -> None:
        schema = format_schema()
        jsonschema.Draft202012Validator.check_schema(schema)
        validator = jsonschema.Draft202012Validator(schema)
        examples = list((Path(__file__).parents[2] / "examples").glob("*.yaml"))
        for text in (YAML, GRAPH, *(example.read_text() for example in examples)):
            validator.validate(yaml.safe_load(text))
        for wrong in ({"name": "x"}, {"name": "x", "steps": [{"apply": "m:f", "prompt": "x"}]}):
            assert not validator.is_valid(wrong)
