"""The answers of a run against the labels of its inputs."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as of
from typing import Any

from chainette.reports.comparing.statistics import Share, Spread, kappa, margins, spread
from chainette.reports.comparing.values import (
    MISSING,
    are_alike,
    are_equal,
    difference,
    folded_pair,
    label,
)

MAX_CLASSES = 200
"""Most classes of which each has figures of its own."""


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The figures of one class; 0 where one is not defined, as in scikit-learn.

    Attributes:
        name: The class.
        precision: The share of the rows with this answer that have this label.
        recall: The share of the rows with this label that have this answer.
        f1: Their harmonic mean.
        support: Rows with this label.
        answered: Rows with this answer.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    answered: int

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class GoldScores:
    """The answers of one field against labels.

    Attributes:
        run: The run's folder.
        field: The field's column in the flattened table.
        column: The inputs' column with the labels.
        accuracy: The share of answers that are equal to their label.
        classes: The figures of each class; empty where there are too many, as of texts.
        confusion: The number of rows for each pair of a label and an answer.
        kappa: Cohen's kappa; `None` where it is not defined.
        alike: Answers that differ from their label, and would be equal as texts without their case
            and the space around them.
        unlabelled: Rows without a label: it is missing, null or an empty text.
        unanswered: Rows with a label and no answer; they are not in the other figures.
        difference: Of numbers, the answer minus the label.
    """

    run: str
    field: str
    column: str
    accuracy: Share
    classes: tuple[ClassScores, ...]
    confusion: dict[tuple[str, str], int]
    kappa: float | None
    alike: int
    unlabelled: int
    unanswered: int
    difference: Spread | None

    @property
    def macro(self) -> ClassScores | None:
        """The means over all classes; `None` where there are none."""
        count = len(self.classes)
        if not count:
            return None
        means = {it: sum(getattr(each, it) for each in self.classes) / count for it in _MEANS}
        total = self.accuracy.total
        return ClassScores("macro average", **means, support=total, answered=total)

    def as_dict(self) -> dict[str, Any]:
        """The figures as JSON."""
        macro = self.macro
        cells = sorted(self.confusion.items())
        return {
            "run": self.run,
            "field": self.field,
            "gold": self.column,
            "accuracy": self.accuracy.as_dict(),
            "kappa": self.kappa,
            "classes": [it.as_dict() for it in self.classes],
            "macro": {name: getattr(macro, name) for name in _MEANS} if macro else None,
            "confusion": [{"gold": a, "answer": b, "rows": count} for (a, b), count in cells],
            "alike": self.alike,
            "unlabelled": self.unlabelled,
            "unanswered": self.unanswered,
            "difference": self.difference.as_dict() if self.difference else None,
        }


_MEANS = ("precision", "recall", "f1")


@dataclass(slots=True)
class GoldCounts:
    """The labels and answers so far.

    Args:
        run: The run's folder.
        field: The field's column in the flattened table.
        column: The inputs' column with the labels.
        fold: Whether texts are compared without their case and the space around them.
    """

    run: str
    field: str
    column: str
    fold: bool = False
    right: int = 0
    total: int = 0
    alike: int = 0
    unlabelled: int = 0
    unanswered: int = 0
    _pairs: Counter[tuple[str, str]] = of(default_factory=Counter)
    _classes: set[str] = of(default_factory=set)
    _differences: array[float] = of(default_factory=lambda: array("d"))

    def add(self, gold: Any, answer: Any) -> bool | None:
        """Compare an answer with its label; `MISSING` in the place of one that there is not.

        Returns:
            Whether it is right; `None` where a label or an answer is missing.
        """
        if gold is MISSING or gold is None or (isinstance(gold, str) and not gold.strip()):
            self.unlabelled += 1
            return None
        if answer is MISSING:
            self.unanswered += 1
            return None
        if self.fold:
            gold, answer = folded_pair(gold, answer)
        is_right = are_equal(gold, answer)
        self.total += 1
        self.right += is_right
        self.alike += not is_right and are_alike(gold, answer)
        if (change := difference(gold, answer)) is not None:
            self._differences.append(change)
        if len(self._classes) <= MAX_CLASSES:
            pair = label(gold), label(answer)
            self._classes |= {*pair}
            self._pairs[pair] += 1
        return is_right

    def result(self) -> GoldScores:
        """The figures of all rows so far."""
        has_classes = len(self._classes) <= MAX_CLASSES
        pairs = dict(self._pairs) if has_classes else {}
        return GoldScores(
            self.run,
            self.field,
            self.column,
            Share(self.right, self.total),
            scores(pairs),
            pairs,
            kappa(pairs),
            self.alike,
            self.unlabelled,
            self.unanswered,
            spread(self._differences),
        )


def scores(pairs: Mapping[tuple[str, str], int]) -> tuple[ClassScores, ...]:
    """The figures of each class, from the number of rows for each pair of a label and an answer."""
    labels, answers = margins(pairs)
    return tuple(
        _scores(name, pairs.get((name, name), 0), labels[name], answers[name])
        for name in sorted({*labels, *answers})
    )


def _scores(name: str, right: int, support: int, answered: int) -> ClassScores:
    precision = right / answered if answered else 0.0
    recall = right / support if support else 0.0
    f1 = 2 * right / (support + answered)
    return ClassScores(name, precision, recall, f1, support, answered)
