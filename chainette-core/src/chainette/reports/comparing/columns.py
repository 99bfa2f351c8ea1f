"""The columns of tables that are compared."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Any

from chainette.errors import ConfigError
from chainette.reports.codec import MANY
from chainette.reports.comparing.values import Kind, kind_of_schema
from chainette.reports.stored.names import OWN
from chainette.reports.stored.run_folder import StoredRun
from chainette.text import did_you_mean

_LOOK = 100
"""Lines of a table that show the columns which schemas do not name."""


class Columns:
    """The columns of a run's table that nodes gave.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run
        self._are_outputs: dict[str, bool] = {}

    @property
    def outputs(self) -> list[str]:
        """The columns that nodes gave, of all that were asked about."""
        return [name for name, is_output in self._are_outputs.items() if is_output]

    def is_output(self, name: str) -> bool:
        """Whether a node of the chain gave the column."""
        known = self._are_outputs.get(name)
        if known is None:
            own = name.partition(".")[0] in OWN
            known = not own and self._run.names.input_column(name) is None
            self._are_outputs[name] = known
        return known

    def first(self) -> list[str]:
        """The columns of nodes in the first lines."""
        lines = islice(self._run.lines(), _LOOK)
        found = dict.fromkeys(name for line in lines for name in line if self.is_output(name))
        return [*found]

    def kind(self, name: str) -> Kind | None:
        """What the type of a column's values says that they are compared as."""
        node, _, field = name.partition(".")
        if MANY in name:
            return "list"
        root = self._run.schema(node)
        if not field:
            return kind_of_schema(root, root) if root else None
        known = _object(root).get("properties", {})
        return kind_of_schema(known[field], root) if field in known else None


def _object(root: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object, which may be among the definitions, or beside `null`."""
    for part in root.get("anyOf", ()):
        if part.get("type") != "null":
            root = root | part
    if "$ref" in root:
        name = str(root["$ref"]).rpartition("/")[2]
        return dict(root.get("$defs", {}).get(name, {}))
    return root


def pairs_of_names(fields: Sequence[str]) -> dict[str, str]:
    """The names of fields in the second run by those in the first, from `name` or `name=other`."""
    parts = (it.partition("=") for it in fields)
    return {first: second or first for first, _, second in parts}


def is_asked(name: str, fields: Collection[str]) -> bool:
    """Whether a column is one that was asked for, by its own name or by its node's."""
    return not fields or name in fields or name.partition(".")[0].removesuffix(MANY) in fields


def check_fields(fields: Collection[str], seen: Collection[str], where: str) -> None:
    """Refuse names of fields that no row has.

    Raises:
        ConfigError: There is one.
    """
    for field in fields:
        if not any(is_asked(name, [field]) for name in seen):
            known = ", ".join(seen) or "none"
            raise ConfigError(
                f"{where} no field {field!r}{did_you_mean(field, seen)}; it has: {known}"
            )


def gold_fields(run: StoredRun, gold: str, fields: Collection[str]) -> list[str]:
    """The columns that are compared with the labels in a column of the inputs.

    Raises:
        ConfigError: It is not clear which.
    """
    known = Columns(run).first()
    if fields:
        check_fields(fields, known, f"{run.path} has")
        return [name for name in known if is_asked(name, fields)]
    last = gold.rpartition(".")[2]
    same = [name for name in known if name.rpartition(".")[2] == last]
    found = same or known
    if len(found) == 1:
        return found
    if not found:
        raise ConfigError(f"gold: the table of {run.path} has no answers")
    raise ConfigError(
        f"gold: which field of {run.path} is {gold!r} the label of? Name it (fields=…): "
        f"{', '.join(found)}"
    )
