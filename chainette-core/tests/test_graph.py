"""Branches, functions and operators, and the errors raised when a chain is built."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from chainette import ApplyNode, Branch, Chain, Step, apply, pipe
from chainette.errors import ChainError
from chainette.pipeline.graph import graph, mermaid
from chainette.pipeline.nodes.naming import type_name
from pydantic import BaseModel


class Row(BaseModel):
    number: int


class Text(BaseModel):
    text: str


class Other(BaseModel):
    other: str


def step(
    id: str,
    input_model: Any = Row,
    output_model: Any = Text,
    prompt: str = "{{ chain_input }}",
    **options: Any,
) -> Step:
    return Step(
        id=id,
        input_model=input_model,
        output_model=output_model,
        engine_name="e",
        user_prompt=prompt,
        **options,
    )


def double(row: Row) -> Row:
    return Row(number=2 * row.number)


def words(text: Text) -> list[Text] | None:
    return [Text(text=word) for word in text.text.split()] or None


def chain(*nodes: Any) -> Chain:
    return Chain(name="c", steps=list(nodes))


def test_operators_connect_nodes_in_sequence() -> None:
    operators = Chain(name="ops", steps=step("a") >> apply(words) >> step("b", Text), emoji="🔗")
    assert list(operators.nodes) == ["a", "words", "b"]
    assert (operators.name, operators.emoji) == ("ops", "🔗")
    pipeline = Chain(name="x", steps=pipe(apply(double), [step("a")]))
    assert list(pipeline.nodes) == ["double", "a"]


def test_a_bar_makes_parallel_branches() -> None:
    french = Branch(name="french", steps=[step("fr", Text)]).join("french_text")
    parallel = french | step("es", Text) | (step("x", Text) >> step("y", Text))
    end = step("end", Text, prompt="{{ french_text.text }}")
    result = Chain(name="b", steps=step("a") >> parallel >> end)
    assert [branch.name for branch in result.steps if isinstance(branch, Branch)] == [
        "french",
        "es",
        "y",
    ]
    assert result.main_ids == ["a", "end"]
    assert list(result.nodes) == ["a", "fr", "es", "x", "y", "end"]


def test_types_of_functions_come_from_their_annotations() -> None:
    node = apply(words)
    assert (node.id, node.input_model, node.output_model) == ("words", Text, Text)

    def batched(items: list[Row], names: Any) -> list[Text | None]:
        return []

    node = apply(batched, batch=4)
    assert (node.input_model, node.takes_context) == (Row, True)
    assert node.output_model is Text
    assert apply(len, id="n").output_model is Any
    assert apply(words, output_model=Other).output_model is Other


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: chain(), "has no steps"),
        (lambda: Branch(name="b", steps=[]), "branch 'b' has no steps"),
        (lambda: chain(step("a"), step("a", Text)), "2 steps have the id 'a'"),
        (lambda: chain(step("a"), Branch(name="b", steps=[step("a", Text)])), "have the id 'a'"),
        (
            lambda: chain(*[Branch(name="b", steps=[step(id)]) for id in "xy"], step("a")),
            "two branches have the name 'b'",
        ),
        (
            lambda: chain(*[Branch(name=id, steps=[step(id)]).join("j") for id in "xy"], step("a")),
            "joined as 'j', which is the alias of branch 'x'",
        ),
        (
            lambda: chain(Branch(name="x", steps=[step("x")]).join("a"), step("a")),
            "joined as 'a', which is the id of a step",
        ),
        (lambda: Branch(name="x", steps=[step("x")]).join("a").join("b"), "is joined already"),
        (lambda: Branch(name="x", steps=[step("x")]).join("no name"), "use letters"),
        (lambda: chain(step("a"), step("b", Other)), "takes Other, but step 'a' gives Text"),
        (lambda: chain(step("a"), apply(double)), "apply 'double' takes Row, but step 'a' gives"),
        (
            lambda: chain(step("a"), Branch(name="b", steps=[step("x", Other)])),
            "step 'x' takes Other, but the input gives Text",
        ),
        (lambda: chain(step("a"), step("b", Text, prompt="{{ aa }}")), "did you mean 'a'"),
        (
            lambda: chain(Branch(name="b", steps=[step("x")]), step("a", prompt="{{ x.text }}")),
            "a step of branch 'b': join it",
        ),
        (
            lambda: chain(
                Branch(name="b", steps=[step("x")]).join("j"), step("a", prompt="{{ x.text }}")
            ),
            "its last output is 'j' here",
        ),
        (
            lambda: chain(
                step("a", prompt="{{ j }}"), Branch(name="b", steps=[step("x", Text)]).join("j")
            ),
            "unknown variable 'j'",
        ),
        (lambda: chain("text"), "is not a node of a chain"),
        (lambda: chain(double), "is a function, not a step; wrap it: apply"),
        (lambda: apply(3), "is not a function"),
        (lambda: apply(lambda row: row), "a lambda has no name"),
        (lambda: apply(double, batch=0), "give a number from 1, or 'all'"),
        (lambda: apply(lambda a, b, c: a, id="f"), "the function needs a, b, c"),
        (lambda: chain(step("a", yield_output=False)), "no step has yield_output=True"),
        (lambda: apply(double, id="row_id"), "but not"),
    ],
)  # fmt: skip
def test_nodes_that_do_not_fit_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ChainError, match=message.replace("(", r"\(").replace("…", ".")):
        build()


def test_a_branch_can_use_earlier_outputs_and_its_own_steps() -> None:
    inner = Branch(name="inner", steps=[step("deep", Text, prompt="{{ a.text }}{{ b.text }}")])
    outer = Branch(name="outer", steps=[step("b", Text, prompt="{{ j.text }}"), inner.join("k"),
                                        step("c", Text, prompt="{{ k.text }}")])  # fmt: skip
    first = Branch(name="first", steps=[step("f", Text)]).join("j")
    result = chain(step("a"), first, outer.join("z"), step("end", Text, prompt="{{ z.text }}"))
    assert list(result.nodes) == ["a", "f", "b", "deep", "c", "end"]


def test_the_graph_has_branches_functions_and_joins() -> None:
    branch = Branch(name="side", steps=[apply(words)]).join("all")
    result = graph(chain(step("a"), branch, step("end", Text, prompt="{{ all }}")))
    assert [(node["id"], node["kind"], node["branch"]) for node in result["nodes"]] == [
        ("a", "step", None),
        ("words", "apply", "side"),
        ("end", "step", None),
    ]
    assert result["edges"] == [
        {"from": "chain_input", "to": "a"},
        {"from": "a", "to": "words"},
        {"from": "a", "to": "end"},
        {"from": "words", "to": "end", "join": "all"},
    ]
    diagram = mermaid(chain(step("a"), Branch(name="side", steps=[apply(words)]), step("e", Text)))
    assert 'subgraph "side"' in diagram
    assert "a --> words" in diagram


def test_repr_shows_the_types_of_nodes() -> None:
    assert repr(ApplyNode(words)) == "ApplyNode('words', Text -> Text)"
    assert repr(chain(step("a"), apply(words))) == "Chain('c', a >> words)"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Text, "Text"),
        (list[Text], "list[Text]"),
        (dict[str, list[Text]], "dict[str, list[Text]]"),
        (tuple[Text, ...], "tuple[Text, ...]"),
        (list[Text] | None, "list[Text] | None"),
        (list[Literal["a", "b"]], "list[Literal['a', 'b']]"),
        (Any, "Any"),
    ],
)
def test_types_have_the_names_that_code_gives_them(model: Any, name: str) -> None:
    assert type_name(model) == name
