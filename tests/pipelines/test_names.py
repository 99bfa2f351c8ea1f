"""A name in a prompt that can be a field of its input, or one of the chain's."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from chainette import Branch, Chain, Step, apply
from chainette.errors import ChainError
from chainette.testing import fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    text: str
    chain_input: str = ""


class Label(BaseModel):
    label: Literal["good", "bad"]


class Nested(BaseModel):
    label: Label
    other: Any = None


def step(id: str, given: Any, answer: Any, prompt: str, **fields: Any) -> Step[Any, Any]:
    return Step(
        id=id, input_model=given, output_model=answer, engine_name="e", user_prompt=prompt, **fields
    )


def same(row: Row) -> Row:
    return row


LABEL = step("label", Row, Label, "{{ text }}")
TEXT = step("text", Row, Row, "{{ chain_input.text }}")
AFTER = "step 's', user_prompt: "
WRONG: dict[str, tuple[list[Any], str]] = {
    "the step before": (
        [LABEL, step("s", Label, Row, "{{ label }}")],
        "'label' is a field of its input, and the chain has another 'label'; for the field, write "
        "{{ label.label }}; for the chain's, give that another id or alias",
    ),
    "a step before that": (
        [TEXT, apply(same), step("s", Row, Row, "{{ text }}")],
        "for the field, write {{ same.text }}; for the chain's, give that another id or alias",
    ),
    "an alias": (
        [Branch("b", step("t", Row, Row, "{{ text }}")).join("text"),
         step("s", Row, Row, "{{ text }}")],
        "for the field, write {{ chain_input.text }}; for the chain's, give that another id",
    ),
    "in a branch": (
        [TEXT, Branch("b", step("s", Row, Row, "{{ text }}"))], "is a field of its input",
    ),
    "the row": (
        [apply(same), step("s", Row, Row, "{{ chain_input }}")],
        "for the field, write {{ same.chain_input }}; for the chain's, rename the field",
    ),
    "a field of either": (
        [step("label", Row, Nested, "{{ text }}"), step("s", Nested, Row, "{{ label.label }}")],
        "for the field, give it another name; for the chain's",
    ),
    "what both may have": (
        [TEXT, step("s", Row, Row, "{{ text.title }}")], "is a field of its input",
    ),
    "a field and the whole": (
        [LABEL, step("s", Label, Row, "{{ label.label }} {{ label }}")], "is a field",
    ),
    "in the system's prompt": (
        [LABEL, step("s", Label, Row, "{{ chain_input }}", system_prompt="{{ label }}")],
        "step 's', system_prompt: 'label' is a field",
    ),
    "in a loop": (
        [LABEL, step("s", Label, Row, "{% for it in label %}{{ it }}{% endfor %}")], "is a field",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_name_with_two_meanings_is_refused(case: str) -> None:
    nodes, message = WRONG[case]
    with pytest.raises(ChainError) as caught:
        Chain(name="c", steps=nodes)
    assert message in str(caught.value)


def test_a_name_with_one_meaning_is_not_refused() -> None:
    chain = Chain(name="c", steps=[LABEL, step("s", Label, Row, "{{ label.label }}")])
    with fake_engine("e", [{"label": "good"}, {"text": "b"}]) as engine:
        assert chain.run([{"text": "a"}]).counts.ok == 1
    assert engine.requests[1][-1]["content"] == "good"
    unused = step("s", Row, Row, "{{ chain_input.text }}")
    own = step("s", Row, Row, "{% set text = 1 %}{{ text }}{{ chain_input.text }}")
    for last in (unused, own):
        Chain(name="c", steps=[TEXT, last])


def test_both_ways_out_work() -> None:
    field = step("s", Row, Row, "{{ same.text }}")
    renamed = step("s", Row, Row, "{{ whole.text }}")
    for nodes in (
        [TEXT, apply(same), field],
        [step("whole", Row, Row, "{{ chain_input.text }}"), apply(same), renamed],
    ):
        with fake_engine("e", [{"text": "b"}, {"text": "c"}]) as engine:
            assert Chain(name="c", steps=nodes).run([{"text": "a"}]).counts.ok == 1
        assert engine.requests[1][-1]["content"] == "b"
