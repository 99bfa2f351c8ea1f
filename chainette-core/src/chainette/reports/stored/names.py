"""The names of the flattened table's columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

OWN = ("row_id", "item", "error", "partial", "dropped", "reasoning")
"""Columns of the run itself; `error` and `reasoning` have fields, as outputs do."""
INPUT = "input"
"""In front of the name of an input's column where the name is taken."""


def has_error(line: Mapping[str, Any]) -> bool:
    """Whether a line of the table is of a row, or an item, of which something failed."""
    return "error.message" in line


def has_failed(line: Mapping[str, Any]) -> bool:
    """Whether a line of the table is of a row, or an item, of which nothing is left."""
    return has_error(line) and not line.get("partial")


class ColumnNames:
    """The names of columns in a run's table, which tell where their values come from.

    Args:
        node_ids: The ids of the chain's nodes.
    """

    def __init__(self, node_ids: Collection[str]) -> None:
        self._taken = {*node_ids, *OWN}
        self._prefix = INPUT
        while self._prefix in self._taken:
            self._prefix += "s"

    def of_input(self, column: str) -> str:
        """The name of an input's column in the table."""
        head = _head(column)
        is_taken = head in self._taken or column.startswith(f"{self._prefix}.")
        return f"{self._prefix}.{column}" if is_taken else column

    def input_column(self, name: str) -> str | None:
        """The name that a column of the table has in the inputs; `None` if it is not from them."""
        if _head(name) in self._taken:
            return None
        return name.removeprefix(f"{self._prefix}.")


def _head(name: str) -> str:
    """The part of a name that tells the node, where there is one."""
    return name.partition(".")[0].removesuffix("[]")
