"""What differs between two runs, and how well a run agrees with labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainette.reports.comparing.fields import FieldDifference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.sides import PairedGold, RowDifference, Rows, Side
from chainette.reports.comparing.text import described


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
    _second_names: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
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

    def renamed(self, name: str, side: str) -> str:
        """The column that has a field in the run `A` or `B`."""
        return self._second_names.get(name, name) if side == "B" else name

    def to_html(self, path: str | Path, *, rows: int = 100_000) -> Path:
        """Write a page with the comparison and the rows that differ, as one HTML file.

        Args:
            path: The file.
            rows: Maximum number of rows that it shows; its figures cover all.

        Returns:
            The path of the file.

        Raises:
            OutputDirError: The file cannot be written.
        """
        from chainette.reports.comparing.html.page import write_difference

        write_difference(self, path, rows=rows)
        return Path(path)

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
