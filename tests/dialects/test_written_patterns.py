"""Patterns as grammars get them: every text that the written one matches, the original accepts."""

from __future__ import annotations

import json
import random
import re
from typing import Annotated, Any

import pytest
from chainette.engine.structured.dialects.characters import CATEGORIES
from chainette.engine.structured.dialects.pattern import MOST, rewritten
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError
from random_models import random_pattern

JSON_TEXT = re.compile(r'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*', re.DOTALL)


def accepts(pattern: str, engine: str, text: str) -> bool:
    if engine == "python-re":
        return re.search(pattern, text) is not None
    try:
        TypeAdapter(Annotated[str, Field(pattern=pattern)]).validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("escapes", [True, False], ids=["JSON text", "value"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_what_the_written_pattern_matches_the_original_accepts(escapes: bool, data: Any) -> None:
    chance = random.Random(data.draw(st.integers(0, 10**6)))
    engine = chance.choice(["rust-regex", "python-re"])
    pattern = random_pattern(chance, engine)
    found = rewritten(pattern, escapes=escapes)
    if found is None:
        return
    assert found.pattern.isprintable()
    text = data.draw(st.from_regex(found.pattern.removesuffix("$") + r"\Z"))
    assert JSON_TEXT.fullmatch(text)
    value = json.loads(f'"{text}"') if escapes else text
    assert accepts(pattern, engine, value), (pattern, found.pattern, value)


WRITTEN = {
    # pattern: as llama.cpp gets it; what stays the same in all decoders
    r"^[A-Z]{3}-\d$": r"^[A-Z]{3}[\x2D][0-9]$",
    r"^a\.b$": r"^a[\x2E]b$",
    r"^a.c$": r"^a([^\x00-\x1F\x22\x5C\x7F]|[\x5C][tr\x22\x5C])c$",
    r"^[^@ ]+@x$": r"^([^@\x00- \x22\x5C\x7F]|[\x5C][tnr\x22\x5C])+@x$",
    r'^"$': r"^([\x5C][\x22])$",
    r"^(ab|cd)$": "^(ab|cd)$",
    r"^a$|^b$": "^(a|b)$",
    r"^(a?)*$": "^(a)*$",
    r"^(a*b*|c)+$": "^(a|b|c)*$",
    r"^(|x)+$": "^(x)*$",
    r"^a+?b??$": "^a+b?$",
    r"^(?P<n>x)(?:y)$": "^xy$",
    r"^(?<n>x)\z": "^x$",
    r"^\x{41}\u00e9$": r"^A[\xE9]$",
    r"^😀{2}$": "^[😀]{2}$",
    "^$": "^$",
}


@pytest.mark.parametrize("pattern", WRITTEN)
def test_patterns_are_written_with_classes_groups_and_counts_alone(pattern: str) -> None:
    found = rewritten(pattern, escapes=True)
    assert found is not None
    assert found.pattern == WRITTEN[pattern]


UNWRITABLE = [
    *("(?i)a", "(?i:a)", r"\bfoo\b", r"\p{L}+", r"\pL", "[[:alpha:]]", "[a-z&&b]", "[a--b]"),
    *("(?=a)a", "(?!b)a", "(?<=a)b", r"(a)\1", "(?>a)", "a++", "(?s).", "a(^b)c$d", "^a{1001}$"),
    *("^(a{40}){40}$", "^((a?b?){30})$", "[", "a{2}{3}", r"\<a", "(" * 3000 + ")" * 3000),
]


@pytest.mark.parametrize("pattern", UNWRITABLE, ids=lambda pattern: pattern[:20])
def test_what_cannot_be_written_so_is_left_out(pattern: str) -> None:
    assert rewritten(pattern, escapes=True) is None


def test_a_quote_is_only_written_where_the_decoder_compares_json() -> None:
    assert rewritten('^"x"$', escapes=False) is None
    assert rewritten(r"^a\nb$", escapes=False) is None
    assert rewritten("^a$", escapes=False) is not None


def test_lengths_go_into_a_pattern_of_one_class() -> None:
    assert rewritten(r"^\d+$", escapes=True, most=9) == ("^[0-9]{1,9}$", True)
    assert rewritten(r"^\d{2,}$", escapes=True, least=4) == ("^[0-9]{4,}$", True)
    assert rewritten(r"^\d+x$", escapes=True, most=9) == ("^[0-9]+x$", False)
    assert rewritten(r"^\d{5}$", escapes=True, most=3) is None
    assert rewritten(r"^\d+$", escapes=True, most=MOST + 1) is None


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories_hold_no_character_that_python_and_rust_see_otherwise(name: str) -> None:
    letter = {"DIGIT": "d", "WORD": "w", "SPACE": "s"}[name.rpartition("_")[2]]
    letter = letter.upper() if "NOT" in name else letter
    inside, outside = CATEGORIES[name]
    for escape, ranges in ((letter, inside), (letter.swapcase(), outside)):
        text = "".join(chr(code) for first, last in ranges for code in range(first, last + 1))
        assert re.fullmatch(f"\\{escape}*", text)
        assert accepts(rf"^\{escape}*$", "rust-regex", text)
