from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from chainette.errors import ConfigError
from chainette.yaml_source import Location, YamlSource, expand, read_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def read(folder: Path, text: str) -> YamlSource:
    path = folder / "x.yml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, ConfigError)


def expanded(value: object) -> tuple[object, list[tuple[Location, str]]]:
    errors: list[tuple[Location, str]] = []
    return expand(value, lambda location, message: errors.append((location, message))), errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{[a]: b}", "x.yml:1: not valid YAML: a key must be a plain text"),
        ("a: 1\n? {b: c}\n: d\n", "x.yml:2: not valid YAML: a key must be a plain text"),
        ("- {3: x, 3: y}", "x.yml:1: not valid YAML: the key '3' appears twice"),
        ("- !!bool maybe", "not valid YAML"),
        ("- !!timestamp soon", "not valid YAML"),
        ("- !!int ''", "not valid YAML"),
        ("- 2024-99-99", "not valid YAML"),
        ("a: &a [*a]", "not valid YAML"),
        ("a: *b", "x.yml:1: not valid YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 2\n", "x.yml:2: not valid YAML"),
    ],
)
def test_invalid_yaml_is_one_message(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as exc_info:
        read(tmp_path, text)
    assert message in str(exc_info.value)


ATOMS = st.sampled_from(
    ["a", "3", "~", "!!bool x", "!!int ''", "&a ", "*a", "<<", "[", "]", "{", "}", ":", ": ", ",",
     "- ", "? ", "\n", "\n  ", "|", ">", "#", "'", '"', "%", "!x ", "2024-99-99", "0x_", "1:2:3"]
)  # fmt: skip


@given(st.lists(ATOMS, max_size=12).map("".join) | st.text(st.characters(codec="utf-8")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_is_read_or_is_a_config_error(tmp_path: Path, text: str) -> None:
    with suppress(ConfigError):
        read(tmp_path, text)


def test_merged_values_and_anchors_are_read(tmp_path: Path) -> None:
    source = read(tmp_path, "base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  y: 3\n")
    assert source.data["more"] == {"x": 1, "y": 3}
    assert source.place(("more", "y")).endswith(":4")


def test_a_byte_order_mark_and_an_empty_file_are_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffa: é\n").data == {"a": "é"}
    assert read(tmp_path, "# nothing\n").data is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${SET}", "value"),
        ("a${SET}b${SET}", "avaluebvalue"),
        ("${UNSET:-x}", "x"),
        ("${UNSET:-}", ""),
        ("${EMPTY:-x}", "x"),
        ("${SET:-x}", "value"),
        ("$${SET}", "${SET}"),
        ("$$", "$"),
        ("$$$${SET}", "$${SET}"),
        ("$$${SET}", "$value"),
        ("$5 and 100$", "$5 and 100$"),
        ("$SET", "$SET"),
        ("${not a name}", "${not a name}"),
        ("${SET", "${SET"),
    ],
)
def test_variables_are_replaced_as_in_a_shell(
    monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    monkeypatch.setenv("SET", "value")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    assert expanded(text) == (value, [])


def test_every_variable_that_is_not_set_is_reported_with_its_location(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ONE", "TWO"):
        monkeypatch.delenv(name, raising=False)
    value, errors = expanded({"a": ["${ONE}"], "b": {"c": "x${TWO}"}, "d": 5})
    assert value == {"a": [""], "b": {"c": "x"}, "d": 5}
    assert errors == [
        (("a", 0), "the environment variable ONE is not set"),
        (("b", "c"), "the environment variable TWO is not set"),
    ]


@given(st.text())
def test_doubled_dollar_signs_escape_any_text(text: str) -> None:
    assert expanded(text.replace("$", "$$")) == (text, [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text("ab${}:-"),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab$"), inner),
    )
)
def test_keys_and_shapes_are_kept(value: object) -> None:
    def shape(item: object) -> object:
        if isinstance(item, dict):
            return {key: shape(inner) for key, inner in item.items()}
        if isinstance(item, list):
            return [shape(inner) for inner in item]
        return type(item)

    assert shape(expanded(value)[0]) == shape(value)
