"""What differs between two runs, and how well a run agrees with labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainette.reports.comparing.fields import FieldDifference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.sides import Side


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that differs.

    Attributes:
        id: Its id, or its number.
        item: The path of its item, where it was split.
        first: The fields of the first run that differ, by their columns.
        second: Those of the second run, or the label under the column's name.
    """

    id: Any
    item: str
    first: dict[str, Any]
    second: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The row as JSON."""
        item = {"item": self.item} if self.item else {}
        return {"id": self.id, **item, "a": self.first, "b": self.second}


@dataclass(frozen=True, slots=True)
class Rows:
    """The numbers of lines of two tables: of rows, or of the items that a row was split into.

    Attributes:
        matched: Those that both runs have.
        only_first: Those of the first run alone.
        only_second: Those of the second run alone.
        differing: Of the matched ones, those in which a field differs.
        failed_first: Those that failed in the first run and not in the second.
        failed_second: Those that failed in the second run and not in the first.
        failed_both: Those that failed in both.
        without_id: Lines of the first and of the second run that have no id.
        alike: Ids that would match as texts without their case and the space around them.
    """

    matched: int = 0
    only_first: int = 0
    only_second: int = 0
    differing: int = 0
    failed_first: int = 0
    failed_second: int = 0
    failed_both: int = 0
    without_id: tuple[int, int] = (0, 0)
    alike: int = 0


@dataclass(frozen=True, slots=True)
class PairedGold:
    """Two runs on the same labels.

    Attributes:
        field: The field's column.
        first: Rows that only the first run has right.
        second: Rows that only the second run has right.
        p: The probability of a split as uneven where neither is better (McNemar's exact test).
    """

    field: str
    first: int
    second: int
    p: float


@dataclass(frozen=True)
class Difference:
    """What `run.diff` and `chainette diff` find.

    Attributes:
        first: The first run.
        second: The second run; `None` where one is compared with labels.
        rows: The numbers of rows.
        fields: The fields that both runs have.
        gold: The fields against labels, of each run.
        paired: Of two runs with labels, which has more rows right.
        only_first: Columns of the first run alone.
        only_second: Columns of the second run alone.
        is_folded: Whether texts were compared without their case and the space around them.
    """

    first: Side
    second: Side | None
    rows: Rows
    fields: tuple[FieldDifference, ...] = ()
    gold: tuple[GoldScores, ...] = ()
    paired: tuple[PairedGold, ...] = ()
    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    is_folded: bool = False
    _differing: Any = field(default=None, repr=False, compare=False)

    def __getitem__(self, name: str) -> FieldDifference:
        """The comparison of a field.

        Raises:
            KeyError: No field of this name was compared.
        """
        for it in self.fields:
            if it.name == name:
                return it
        raise KeyError(
            f"no field {name!r} was compared: {', '.join(it.name for it in self.fields)}"
        )

    def differing(self) -> Iterator[RowDifference]:
        """The rows that differ, read again from the folders, one by one."""
        yield from self._differing() if self._differing is not None else ()

    def as_dict(self) -> dict[str, Any]:
        """Everything but the rows as JSON."""
        rows = {name: getattr(self.rows, name) for name in self.rows.__slots__}
        renamed = {
            name.replace("first", "a").replace("second", "b").replace("only_", "only_in_"): value
            for name, value in rows.items()
        }
        paired = [
            {"field": it.field, "only_a_right": it.first, "only_b_right": it.second, "p": it.p}
            for it in self.paired
        ]
        return {
            "a": self.first.as_dict(),
            "b": self.second.as_dict() if self.second is not None else None,
            "rows": renamed | {"without_id": list(self.rows.without_id)},
            "folded": self.is_folded,
            "fields": [it.as_dict() for it in self.fields],
            "only_in_a": list(self.only_first),
            "only_in_b": list(self.only_second),
            "gold": [it.as_dict() for it in self.gold],
            "paired": paired,
        }

    def __str__(self) -> str:
        from chainette.reports.comparing.text import described

        return "\n".join(described(self))


def folder_of(run: Any) -> Path:
    """The folder of a run, which is a path or a `Run`."""
    from chainette.errors import ConfigError

    path = run if isinstance(run, str | Path) else getattr(run, "path", None)
    if path is None:
        raise ConfigError(
            "diff: this run has no folder: give output_dir= to chain.run, or the path of a run"
        )
    return Path(path)
