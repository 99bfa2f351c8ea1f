"""The comparison of one field of two runs."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from chainette.reports.comparing.statistics import Share, Spread, kappa, spread
from chainette.reports.comparing.values import (
    MISSING,
    Kind,
    are_alike,
    are_equal,
    difference,
    folded_pair,
    jaccard,
    kind_of_value,
    label,
    similarity,
)

MAX_CATEGORIES = 20
"""Most different texts of a field that are compared as categories without an enum."""
MAX_CHARACTERS = 60
"""Most characters of such a text."""
MAX_PAIRS = 10_000
"""Most cells of a confusion matrix that are counted."""


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """A field in two runs.

    Attributes:
        name: Its column in the flattened table, such as `label.topic`.
        kind: What its values are compared as.
        agreement: The share of rows with equal values, of those that have one in both runs.
        alike: Rows whose values differ, and would be equal as texts without their case and the
            space around them.
        mixed: Rows whose values are of different types.
        only_first: Rows with a value in the first run alone.
        only_second: Rows with a value in the second run alone.
        confusion: Of categories, the number of rows for each pair.
        kappa: Of categories, Cohen's kappa; `None` where it is not defined.
        difference: Of numbers, the second minus the first.
        similarity: Of texts, the mean of the F1 score of their words; of lists, of the share of
            their items that both have (Jaccard).
    """

    name: str
    kind: Kind
    agreement: Share
    alike: int = 0
    mixed: int = 0
    only_first: int = 0
    only_second: int = 0
    confusion: dict[tuple[str, str], int] | None = None
    kappa: float | None = None
    difference: Spread | None = None
    similarity: float | None = None

    @property
    def categories(self) -> list[str]:
        """The categories of the confusion matrix, in the order of the alphabet."""
        return sorted({it for pair in self.confusion or () for it in pair})

    def as_dict(self) -> dict[str, Any]:
        """The comparison as JSON."""
        found: dict[str, Any] = {
            "field": self.name,
            "kind": self.kind,
            "agreement": self.agreement.as_dict(),
            "alike": self.alike,
            "mixed_types": self.mixed,
            "only_in_a": self.only_first,
            "only_in_b": self.only_second,
        }
        if self.confusion is not None:
            cells = sorted(self.confusion.items())
            found["kappa"] = self.kappa
            found["confusion"] = [{"a": a, "b": b, "rows": count} for (a, b), count in cells]
        if self.difference is not None:
            found["difference"] = self.difference.as_dict()
        if self.similarity is not None:
            name = "words_f1" if self.kind == "text" else "jaccard"
            found["similarity"] = {name: self.similarity}
        return found


@dataclass(slots=True)
class FieldCounts:
    """The values of one field so far; of numbers, it keeps 8 bytes a row.

    Args:
        name: Its column.
        declared: What its schemas say that it is compared as, or `None`.
        fold: Whether texts are compared without their case and the space around them.
    """

    name: str
    declared: Kind | None
    fold: bool = False
    equal: int = 0
    compared: int = 0
    alike: int = 0
    mixed: int = 0
    only_first: int = 0
    only_second: int = 0
    _kinds: set[Kind] = field(default_factory=set)
    _pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    _is_crowded: bool = False
    _differences: array[float] = field(default_factory=lambda: array("d"))
    _similar: float = 0.0
    _measured: int = 0

    def add(self, a: Any, b: Any) -> bool:
        """Compare the values of a row; `MISSING` in the place of one that it does not have.

        Returns:
            Whether they differ.
        """
        if a is MISSING or b is MISSING:
            self.only_first += b is MISSING and a is not MISSING
            self.only_second += a is MISSING and b is not MISSING
            return a is not b
        if self.fold:
            a, b = folded_pair(a, b)
        is_equal = are_equal(a, b)
        self.compared += 1
        self.equal += is_equal
        if not is_equal:
            self.alike += are_alike(a, b)
            self.mixed += _type(a) != _type(b) and a is not None and b is not None
        self._kinds |= {kind for it in (a, b) if (kind := _kind_of(it)) is not None}
        self._measure(a, b)
        if not self._is_crowded:
            self._count(a, b)
        return not is_equal

    def _measure(self, a: Any, b: Any) -> None:
        if isinstance(a, str) and isinstance(b, str):
            self._similar += similarity(a, b)
        elif (change := difference(a, b)) is not None:
            self._differences.append(change)
            return
        elif isinstance(a, list) and isinstance(b, list):
            self._similar += jaccard(a, b)
        else:
            return
        self._measured += 1

    def _count(self, a: Any, b: Any) -> None:
        """Count a pair of categories, unless there are more than categories have."""
        is_list = isinstance(a, list | dict) or isinstance(b, list | dict)
        self._is_crowded = is_list or self.declared in ("number", "list", "object")
        if self._is_crowded:
            return
        self._pairs[label(a), label(b)] += 1
        if self.declared == "category":
            self._is_crowded = len(self._pairs) > MAX_PAIRS
            return
        is_long = any(isinstance(it, str) and len(it) > MAX_CHARACTERS for it in (a, b))
        self._is_crowded = is_long or len(self._pairs) > MAX_CATEGORIES**2
        if self._is_crowded:
            self._pairs.clear()

    def result(self) -> FieldDifference:
        """The comparison of all rows so far."""
        kind = self._kind()
        pairs = dict(self._pairs) if kind == "category" and not self._is_crowded else None
        is_measured = kind in ("text", "list") and self._measured
        return FieldDifference(
            self.name,
            kind,
            Share(self.equal, self.compared),
            self.alike,
            self.mixed,
            self.only_first,
            self.only_second,
            pairs,
            kappa(pairs) if pairs is not None else None,
            spread(self._differences) if kind == "number" else None,
            self._similar / self._measured if is_measured else None,
        )

    def _kind(self) -> Kind:
        if self.declared is not None:
            return self.declared
        if len(self._kinds) != 1:
            return "value"
        (kind,) = self._kinds
        if kind == "text" and not self._is_crowded:
            categories = {it for pair in self._pairs for it in pair}
            if len(categories) <= MAX_CATEGORIES and 2 * len(categories) <= self.compared:
                return "category"
        return kind


def differ(a: Any, b: Any, *, fold: bool) -> bool:
    """Whether the values of a row differ; `MISSING` in the place of one that it does not have."""
    if a is MISSING or b is MISSING:
        return a is not b
    return not are_equal(*(folded_pair(a, b) if fold else (a, b)))


def _kind_of(value: Any) -> Kind | None:
    return "text" if isinstance(value, str) else kind_of_value(value)


def _type(value: Any) -> type:
    return float if type(value) is int else type(value)
