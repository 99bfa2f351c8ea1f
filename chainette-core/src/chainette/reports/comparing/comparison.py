"""One pass over the rows of two runs, or of one and its labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chainette.errors import ConfigError
from chainette.reports.comparing.columns import (
    Columns,
    check_fields,
    gold_fields,
    is_asked,
    pairs_of_names,
)
from chainette.reports.comparing.difference import Difference
from chainette.reports.comparing.fields import FieldCounts, differ
from chainette.reports.comparing.gold import GoldCounts
from chainette.reports.comparing.matching import (
    ById,
    Line,
    Pair,
    Unmatched,
    by_row,
    check_same_inputs,
    input_column,
)
from chainette.reports.comparing.sides import PairedGold, RowDifference, Rows, side_of
from chainette.reports.comparing.statistics import sign_test
from chainette.reports.comparing.values import MISSING
from chainette.reports.stored.items import Outputs
from chainette.reports.stored.names import has_failed
from chainette.reports.stored.run_folder import StoredRun


def compare(
    first: str | Path,
    second: str | Path | None,
    *,
    on: str | None = None,
    fields: Sequence[str] = (),
    gold: str | None = None,
    fold: bool = False,
) -> Difference:
    """Compare two runs, or one with labels; see `Run.diff`.

    Args:
        first: The folder of a run.
        second: The folder of another; `None` for one run with labels.
        on: Column of the inputs that identifies a row; by default the number of the row does.
        fields: Columns or nodes to compare; `a=b` where their names differ. By default all.
        gold: Column of the inputs with labels.
        fold: Compare texts without their case and the space around them.

    Raises:
        OutputDirError: A folder is not that of a run.
        ConfigError: A column does not exist, or rows cannot be matched by their number.
        InputError: An id occurs twice.
    """
    if second is None and gold is None:
        raise ConfigError(
            "diff: give a second run, or the column of the inputs with labels (gold=…)"
        )
    if isinstance(fields, str):
        fields = [fields]
    return _Comparison(first, second, on, pairs_of_names(fields), gold, fold).result()


class _Comparison:
    """One comparison; the arguments are those of `compare`."""

    def __init__(
        self,
        first: str | Path,
        second: str | Path | None,
        on: str | None,
        fields: dict[str, str],
        gold: str | None,
        fold: bool,
    ) -> None:
        self._first = StoredRun(first)
        self._second = StoredRun(second) if second is not None else None
        self._runs = [run for run in (self._first, self._second) if run is not None]
        self._on = on
        self._fields = fields
        self._fold = fold
        self._by_id = ById(self._first, self._second, on, fold) if on and self._second else None
        if self._second is not None and not on:
            check_same_inputs(self._first, self._second)
        self._ids = [input_column(run, on, "on") for run in self._runs] if on else []
        self._once = Outputs(self._runs)
        self._gold = gold
        self._gold_columns, self._gold_fields = self._of_gold()

    def _of_gold(self) -> tuple[list[str], list[list[str]]]:
        """The columns of labels, and the fields that are compared with them, of each run."""
        if self._gold is None:
            return [], []
        sides = ([*self._fields], [*self._fields.values()])
        columns = [input_column(run, self._gold, "gold") for run in self._runs]
        fields = [gold_fields(run, self._gold, it) for run, it in zip(self._runs, sides)]  # noqa: B905
        return columns, fields

    def _pairs(self) -> Iterator[Pair]:
        if self._second is None:
            return ((line, None) for line in self._first.lines())
        return self._by_id.pairs() if self._by_id else by_row(self._first, self._second)

    def result(self) -> Difference:
        """The comparison."""
        walk = _Walk(self._runs, self._fields, self._fold)
        gold = self._gold_counts()
        paired = [[0, 0] for _ in (gold[0] if len(gold) == 2 else ())]
        for pair in self._pairs():
            walk.add(*pair)
            if gold:
                self._add_gold(gold, paired, pair)
        walk.end()
        for (side, index), unanswered in self._once.rest():
            gold[side][index].add(*unanswered)
        unmatched = self._by_id.unmatched if self._by_id else Unmatched()
        names = [it.field for it in gold[0]] if gold else []
        return Difference(
            side_of(self._first),
            side_of(self._second) if self._second is not None else None,
            walk.rows(unmatched),
            walk.fields(),
            tuple(it.result() for counts in gold for it in counts),
            tuple(
                PairedGold(name, a, b, sign_test(a, b))
                for name, (a, b) in zip(names, paired)  # noqa: B905
            ),
            *walk.only(),
            self._fold,
            walk.second_names(),
            self._differing,
        )

    def _gold_counts(self) -> list[list[GoldCounts]]:
        """The counts of each run, one for each field."""
        assert self._gold is not None or not self._gold_fields
        return [
            [GoldCounts(str(run.path), name, str(self._gold), self._fold) for name in names]
            for run, names in zip(self._runs, self._gold_fields)  # noqa: B905
        ]

    def _add_gold(
        self, counts: list[list[GoldCounts]], paired: list[list[int]], pair: Pair
    ) -> None:
        right: list[list[bool | None]] = []
        for side, (own, line) in enumerate(zip(counts, pair)):  # noqa: B905
            if line is None:
                right.append([None] * len(own))
                continue
            label = line.get(self._gold_columns[side], MISSING)
            right.append([
                self._right((side, index), it, line, label) for index, it in enumerate(own)
            ])  # fmt: skip
        if len(right) == 2:
            for split, a, b in zip(paired, *right):  # noqa: B905
                if None not in (a, b) and a != b:
                    split[0 if a else 1] += 1

    def _right(
        self, key: tuple[int, int], counts: GoldCounts, line: Line, label: Any
    ) -> bool | None:
        """Whether an answer is right; `None` where that is not known, or was counted before."""
        answer = line.get(counts.field, MISSING)
        if "item" not in line:
            return counts.add(label, answer)
        place = self._once.place(key[0], line, counts.field)
        pairs = self._once.take(key, place, (label, answer), is_whole=answer is not MISSING)
        found = [counts.add(*pair) for pair in pairs]
        return found[-1] if found else None

    def _differing(self) -> Iterator[RowDifference]:
        """The rows that differ, as they are read again."""
        walk = _Walk(self._runs, self._fields, self._fold)
        for pair in self._pairs():
            first, second = pair
            if self._second is None:
                values = self._wrong(first) if first is not None else ({}, {})
            else:
                values = walk.differing(first, second) if first and second else ({}, {})
            if values[0] or values[1]:
                yield self._row(pair, *values)

    def _wrong(self, line: Line) -> tuple[Line, Line]:
        """The answers that differ from their label, and the label."""
        label = line.get(self._gold_columns[0], MISSING)
        wrong = {
            it.field: line[it.field]
            for it in self._gold_counts()[0]
            if it.add(label, line.get(it.field, MISSING)) is False
        }
        return wrong, {str(self._gold): label} if wrong else {}

    def _row(self, pair: Pair, first: Line, second: Line) -> RowDifference:
        line = pair[0] or pair[1] or {}
        id = line.get(self._ids[0]) if self._ids else line["row_id"]
        lines = tuple(it for it in pair if it is not None)
        return RowDifference(id, line.get("item", ""), first, second, lines)


class _Walk:
    """The fields of the pairs so far.

    Args:
        runs: The runs, one or two.
        asked: The names of fields in the second run by those in the first; empty for all.
        fold: Whether texts are compared without their case and the space around them.
    """

    def __init__(self, runs: Sequence[StoredRun], asked: dict[str, str], fold: bool) -> None:
        self._runs = runs
        self._columns = [Columns(run) for run in runs]
        self._asked = asked
        self._sides = [*asked], [*asked.values()]
        self._renamed = {b: a for a, b in asked.items() if a != b}
        self._fold = fold
        self._counts: dict[str, FieldCounts] = {}
        self._once = Outputs(runs)
        self._seen: list[dict[str, None]] = [{}, {}]
        self._numbers = dict.fromkeys(("matched", "only_first", "only_second", "differing"), 0)
        self._failed = {(True, False): 0, (False, True): 0, (True, True): 0}

    def add(self, first: Line | None, second: Line | None) -> None:
        """Count a pair of lines."""
        outputs = [self._outputs(side, line) for side, line in enumerate((first, second))]
        for seen, found in zip(self._seen, outputs, strict=True):
            seen.update(dict.fromkeys(found))
        if first is None or second is None:
            self._numbers["only_first" if second is None else "only_second"] += 1
            return
        self._numbers["matched"] += 1
        failed = has_failed(first), has_failed(second)
        if any(failed):
            self._failed[failed] += 1
        names = {**outputs[0], **outputs[1]}
        if "item" in first or "item" in second:
            differs = [self._add_item(name, (first, second), *outputs) for name in names]
        else:
            differs = [self._add(name, *outputs) for name in names]
        self._numbers["differing"] += any(differs)

    def _add_item(self, name: str, lines: tuple[Line, Line], first: Line, second: Line) -> bool:
        """Count the values of an item; one in front of the split is counted once for all items."""
        pair = first.get(name, MISSING), second.get(name, MISSING)
        names = name, self._second_name(name)
        place = [self._once.place(side, lines[side], names[side]) for side in (0, 1)]
        for a, b in self._once.take(name, place, pair, is_whole=MISSING not in pair):
            self._add(name, {name: a}, {name: b})
        return differ(*pair, fold=self._fold)

    def _outputs(self, side: int, line: Line | None) -> Line:
        """The fields of a line that are compared, by their names in the first run."""
        if line is None or side >= len(self._columns):
            return {}
        columns, asked = self._columns[side], self._sides[side]
        found = {
            name: value
            for name, value in line.items()
            if columns.is_output(name) and is_asked(name, asked)
        }
        if side and self._renamed:
            return {self._first_name(name): value for name, value in found.items()}
        return found

    def _first_name(self, name: str) -> str:
        """The name in the first run of a field of the second."""
        if name in self._renamed:
            return self._renamed[name]
        node, dot, rest = name.partition(".")
        return f"{self._renamed.get(node, node)}{dot}{rest}"

    def _add(self, name: str, first: Line, second: Line) -> bool:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = FieldCounts(name, self._kind(name), self._fold)
        return counts.add(first.get(name, MISSING), second.get(name, MISSING))

    def _kind(self, name: str) -> Any:
        """What a field is compared as where the types of both runs say the same."""
        kinds = {self._columns[0].kind(name), self._columns[-1].kind(self._second_name(name))}
        return kinds.pop() if len(kinds) == 1 else None

    def differing(self, first: Line, second: Line) -> tuple[Line, Line]:
        """The fields of two lines that differ."""
        found: tuple[Line, Line] = {}, {}
        a, b = self._outputs(0, first), self._outputs(1, second)
        for name in {**a, **b}:
            pair = a.get(name, MISSING), b.get(name, MISSING)
            if differ(*pair, fold=self._fold):
                for side, value in zip(found, pair, strict=True):
                    if value is not MISSING:
                        side[name] = value
        return found

    def end(self) -> None:
        """Count what is left, and refuse fields that were asked for, and that no row has."""
        for name, (a, b) in self._once.rest():
            self._add(name, {name: a}, {name: b})
        for run, columns, names in zip(self._runs, self._columns, self._sides):  # noqa: B905
            check_fields(names, columns.outputs, f"the table of {run.path} has")

    def rows(self, unmatched: Unmatched) -> Rows:
        """The numbers of rows."""
        return Rows(
            **self._numbers,
            failed_first=self._failed[True, False],
            failed_second=self._failed[False, True],
            failed_both=self._failed[True, True],
            without_id=(unmatched.without_id[0], unmatched.without_id[1]),
            alike=unmatched.alike,
        )

    def fields(self) -> tuple[Any, ...]:
        """The fields that both tables have."""
        both = [it for it in self._seen[0] if it in self._seen[1]]
        return tuple(self._counts[name].result() for name in both if name in self._counts)

    def second_names(self) -> dict[str, str]:
        """The names of fields in the second run, by those in the first."""
        return {name: self._second_name(name) for name in self._counts}

    def _second_name(self, name: str) -> str:
        node, dot, rest = name.partition(".")
        return self._asked.get(name) or f"{self._asked.get(node, node)}{dot}{rest}"

    def only(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The fields of the first and of the second table alone."""
        if len(self._runs) == 1:
            return (), ()
        first, second = self._seen
        return (
            tuple(it for it in first if it not in second),
            tuple(it for it in second if it not in first),
        )
