"""YAML files with the line of every value."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from chainette.errors import ChainetteError

Location: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

MAX_BYTES = 10_000_000
"""Maximum size of a file; people write engines and chains by hand."""
MAX_VALUES = 100_000
"""Maximum values in a file, counting each repetition by an alias."""
_INT = r"[-+]?(?:0|[1-9][0-9]*)"
_PLAIN = (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", rf"{_INT}|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        rf"(?:{_INT}(?:\.[0-9]*)?|[-+]?\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
)
"""Values without quotes that are not texts in YAML 1.2: kind, form and first characters."""
_OLD = re.compile(
    r"yes|no|on|off|[-+]?0[0-9_]+|[-+]?[0-9]+(?:_[0-9_]*)+|[0-9]+(?::[0-5]?[0-9])+", re.IGNORECASE
)
"""Texts that YAML 1.1 reads as true, false or a number."""
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\})")
_MISSPELT = re.compile(r"\$\{.*|\A\$[A-Z][A-Z0-9_]*\Z", re.DOTALL)
"""Texts that are meant as variables but are not."""


class _Loader(yaml.SafeLoader):
    """Plain values as in YAML 1.2: `no`, `010` and `12:30` are texts."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        character: [
            it for it in resolvers if it[0].rpartition(":")[2] in ("null", "merge", "timestamp")
        ]
        for character, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, _form, _first in _PLAIN:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_form})\Z"), list(_first)
    )


@dataclass(frozen=True, slots=True)
class YamlSource:
    """The content of a YAML file, with line numbers.

    Attributes:
        path: The file.
        data: Its content, as plain Python values.
        lines: 1-based line of each value, by its location.
        doubtful: Locations of texts without quotes that YAML 1.1 reads as something else.
    """

    path: Path
    data: Any
    lines: Mapping[Location, int]
    doubtful: Mapping[Location, str]

    def place(self, location: Location = ()) -> str:
        """`file:line` of a value, or of the closest one around it."""
        while location and location not in self.lines:
            location = location[:-1]
        return f"{self.path}:{self.lines.get(location, 1)}"


def read_yaml(path: str | Path, error: Callable[[str], ChainetteError]) -> YamlSource:
    """Read a YAML file.

    Args:
        path: The file.
        error: Creates the exception to raise from a message.

    Returns:
        The content; `None` for an empty file.

    Raises:
        ChainetteError: The exception from `error`: the file cannot be read or is not valid YAML.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise error(f"{path}: too large: more than {MAX_BYTES // 1_000_000} MB of YAML")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {_reason(problem)}") from None
    lines: dict[Location, int] = {}
    doubtful: dict[Location, str] = {}
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlSource(path, None, lines, doubtful)
        _collect(node, (), lines, doubtful)
        return YamlSource(path, loader.construct_document(node), lines, doubtful)
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError) as problem:
        line, reason = _mistake(text, problem)
        raise error(f"{path}{line}: not valid YAML: {reason}") from None
    except RecursionError:
        raise error(f"{path}: not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as problem:
        # PyYAML lets any error of a value that does not fit its tag escape.
        raise error(f"{path}: not valid YAML: {problem}") from None


def _mistake(
    text: str, problem: yaml.MarkedYAMLError | yaml.reader.ReaderError
) -> tuple[str, str | None]:
    """The line of a mistake, as `:3`, and its description."""
    if isinstance(problem, yaml.reader.ReaderError):
        line = text.count("\n", 0, problem.position) + 1
        return f":{line}", f"the character U+{ord(text[problem.position]):04X} is not allowed"
    mark = problem.problem_mark
    lines = text.splitlines()
    here = mark.line if mark else len(lines) - 1
    for number in (here, here - 1):
        indent = re.match(r"[\s-]*", lines[number] if 0 <= number < len(lines) else "")
        if indent and "\t" in indent[0]:
            return f":{number + 1}", "a tab; indent with spaces"
        if indent and not indent[0].isascii():
            return f":{number + 1}", "a no-break space; indent with plain spaces"
    return f":{mark.line + 1}" if mark else "", problem.problem


def _reason(problem: OSError | UnicodeDecodeError) -> str:
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else "it is not UTF-8"


def _collect(
    node: yaml.Node, location: Location, lines: dict[Location, int], doubtful: dict[Location, str]
) -> None:
    """Collect the lines of values, and the texts whose meaning depends on the version of YAML."""
    lines.setdefault(location, node.start_mark.line + 1)
    if len(lines) > MAX_VALUES:
        raise yaml.MarkedYAMLError(
            problem=f"more than {MAX_VALUES} values, including those that aliases repeat",
            problem_mark=node.start_mark,
        )
    if isinstance(node, yaml.ScalarNode) and node.style is None and _OLD.fullmatch(node.value):
        doubtful[location] = node.value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect(item, (*location, index), lines, doubtful)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key must be a plain text", problem_mark=key.start_mark
                )
            inner = (*location, key.value)
            if inner in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} appears twice", problem_mark=key.start_mark
                )
            lines[inner] = key.start_mark.line + 1
            _collect(value, inner, lines, doubtful)


def expand(value: Any, report: Callable[[Location, str], None], location: Location = ()) -> Any:
    """Replace `${VAR}` and `${VAR:-default}` in every text with the environment's values.

    `$$` is one dollar sign. An empty variable counts as unset, as in a shell's `:-`.

    Args:
        value: Plain Python values.
        report: Called with the location and a message for every variable that is not set.
        location: The location of `value`.
    """
    if isinstance(value, dict):
        return {key: expand(item, report, (*location, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, report, (*location, index)) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "$"
        text = os.environ.get(name) or default
        if text is None:
            report(location, f"the environment variable {name} is not set")
        return text or ""

    return _VARIABLE.sub(replace, value)


def misspelt_variable(value: Any) -> str | None:
    """A message about a text that is meant as a variable but is not one, or `None`."""
    if not isinstance(value, str):
        return None
    found = _MISSPELT.search(_VARIABLE.sub(" ", value))
    form = "write ${NAME}, or ${NAME:-default}; $$ is a dollar sign"
    return f"{found[0][:40]!r} is not a variable: {form}" if found else None
