"""JSON in answers that have other text around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from chainette.engine.structured.extract import embedded
from chainette.engine.structured.schema import output_schema
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError


class City(BaseModel):
    name: str
    inhabitants: int


OSLO = '{"name": "Oslo", "inhabitants": 700000}'
PRETTY = json.dumps(json.loads(OSLO), indent=2)


@pytest.mark.parametrize(
    "text",
    [
        OSLO,
        f"  {OSLO}\n",
        f"```json\n{OSLO}\n```",
        f"```\n{PRETTY}\n```",
        f"```{OSLO}```",
        f"Sure! Here it is:\n\n```json\n{PRETTY}\n```\nAnything else?",
        f"The answer is {OSLO}.",
        f"<think>It is {{not}} Bergen: [1, 2].</think>\n{OSLO}",
        f'<think>{{"name": "Bergen", "inhabitants": 1}}</think>{OSLO}',
        f"For {{x}} in [a, b]: {OSLO} and that is all",
        f'First {{"wrong": 1}}, then {OSLO}',
        f"\ufeff{OSLO}",
        'It is {"name": "Oslo", "inhabitants": 700000, "more": "</think>"}.',
    ],
)
def test_json_is_found_in_the_answer(text: str) -> None:
    parsed = output_schema(City).parse(text).value
    assert parsed == City(name="Oslo", inhabitants=700000)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Oslo", "json_invalid"),
        ("", "json_invalid"),
        ('{"name": "Os', "json_invalid"),
        ('```json\n{"name": "Oslo"}\n```', "missing"),
        ('The answer is {"name": "Oslo", "inhabitants": "many"}.', "int_parsing"),
    ],
)
def test_the_error_describes_the_json_in_the_answer(text: str, kind: str) -> None:
    with pytest.raises(ValidationError) as exc_info:
        output_schema(City).parse(text)
    assert exc_info.value.errors()[0]["type"] == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.lists(JSON, min_size=1) | st.dictionaries(st.text(), JSON, min_size=1),
    st.text(alphabet=st.characters(exclude_characters="[{`")),
    st.text(alphabet=st.characters(exclude_characters="`")),
)
def test_json_is_found_between_any_texts(value: Any, before: str, after: str) -> None:
    after = after.replace("</think>", "")
    candidates = list(embedded(f"{before}{json.dumps(value)}{after}"))
    assert json.dumps(value) in candidates


@given(st.text() | st.text(alphabet='[]{}"\\`<think/>ab:,1 \n'))
def test_any_text_has_a_bounded_number_of_candidates(text: str) -> None:
    assert len(list(embedded(text))) <= 2 * 64 + 1 + text.count("```")


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 100_000, '{"a":' * 50_000, "```" * 10_000])
def test_unterminated_json_is_not_an_answer(text: str) -> None:
    with pytest.raises(ValidationError):
        output_schema(City).parse(text)
