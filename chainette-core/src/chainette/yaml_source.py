"""YAML files whose every value knows its line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from chainette.errors import ChainetteError

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands: the keys and indexes that lead to it."""

MOST_BYTES = 10_000_000
"""Of a file; engines and chains are texts that somebody wrote."""
MOST_VALUES = 100_000
"""Of a file, each counted as often as aliases repeat it."""
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_]\w*)(?::-(?P<default>[^}]*))?\})")


@dataclass(frozen=True, slots=True)
class YamlSource:
    """What a YAML file says and where.

    Attributes:
        path: The file.
        data: Its content, as plain Python values.
        lines: 1-based line of each value, by the keys and indexes that lead to it.
    """

    path: Path
    data: Any
    lines: Mapping[Place, int]

    def place(self, where: Place = ()) -> str:
        """`file:line` of a value, or of the closest one around it."""
        while where and where not in self.lines:
            where = where[:-1]
        return f"{self.path}:{self.lines.get(where, 1)}"


def read_yaml(path: str | Path, error: Callable[[str], ChainetteError]) -> YamlSource:
    """Read a YAML file.

    Args:
        path: The file.
        error: Makes the exception to raise from a message.

    Returns:
        Its content; an empty file holds `None`.

    Raises:
        ChainetteError: What `error` made: the file cannot be read or is no valid YAML.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise error(f"{path}: too large: more than {MOST_BYTES // 1_000_000} MB of YAML")
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {_reason(problem)}") from None
    lines: dict[Place, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return YamlSource(path, None, lines)
        _collect_lines(node, (), lines)
        return YamlSource(path, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise error(f"{path}{line}: no valid YAML: {problem.problem}") from None
    except RecursionError:
        raise error(f"{path}: no valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError) as problem:
        # PyYAML lets out whatever it meets in a value that does not fit its tag.
        raise error(f"{path}: no valid YAML: {problem}") from None


def _reason(problem: OSError | UnicodeDecodeError) -> str:
    return (problem.strerror or str(problem)) if isinstance(problem, OSError) else "it is not UTF-8"


def _collect_lines(node: yaml.Node, where: Place, lines: dict[Place, int]) -> None:
    lines.setdefault(where, node.start_mark.line + 1)
    if len(lines) > MOST_VALUES:
        raise yaml.MarkedYAMLError(
            problem=f"more than {MOST_VALUES} values, those that aliases repeat included",
            problem_mark=node.start_mark,
        )
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _collect_lines(item, (*where, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a key is a plain text", problem_mark=key.start_mark
                )
            place = (*where, key.value)
            if place in lines:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            lines[place] = key.start_mark.line + 1
            _collect_lines(value, place, lines)


def expand(value: Any, report: Callable[[Place, str], None], where: Place = ()) -> Any:
    """Replace `${VAR}` and `${VAR:-default}` in every text by the environment's values.

    `$$` stands for one dollar sign. An empty variable counts as unset, as in a shell's `:-`.

    Args:
        value: Plain Python values.
        report: Called with the place and a message for every variable that is not set.
        where: The place of `value`.
    """
    if isinstance(value, dict):
        return {key: expand(item, report, (*where, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item, report, (*where, index)) for index, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if name is None:
            return "$"
        found = os.environ.get(name) or default
        if found is None:
            report(where, f"the environment variable {name} is not set")
        return found or ""

    return _VARIABLE.sub(replace, value)
