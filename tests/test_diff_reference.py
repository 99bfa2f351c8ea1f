"""The statistics of `chainette diff` and `estimate` against those of scikit-learn and SciPy."""

from __future__ import annotations

import random
from array import array
from collections import Counter

import pytest
from chainette.reports.comparing.gold import scores
from chainette.reports.comparing.statistics import kappa, sign_test, spread, wilson
from chainette.run.estimate.intervals import _student

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")
numpy = pytest.importorskip("numpy")


def labels(seed: int, rows: int, classes: str, agreement: float) -> tuple[list[str], list[str]]:
    source = random.Random(seed)
    gold = [source.choice(classes) for _ in range(rows)]
    answers = [it if source.random() < agreement else source.choice(classes + "z") for it in gold]
    return gold, answers


CASES = [
    (1, 200, "abc", 0.8), (2, 50, "ab", 0.0), (3, 7, "abcdefg", 0.5), (4, 1000, "aab", 0.95),
    (5, 30, "a", 0.7), (6, 3, "ab", 1.0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_scores_are_those_of_scikit_learn(case: tuple[int, int, str, float]) -> None:
    gold, answers = labels(*case)
    found = scores(Counter(zip(gold, answers, strict=True)))
    names = sorted({*gold, *answers})
    expected = metrics.precision_recall_fscore_support(gold, answers, labels=names, zero_division=0)
    assert [it.name for it in found] == names
    for index, field in enumerate(["precision", "recall", "f1", "support"]):
        assert [getattr(it, field) for it in found] == pytest.approx(list(expected[index]))


@pytest.mark.parametrize("case", CASES)
def test_kappa_is_that_of_scikit_learn(case: tuple[int, int, str, float]) -> None:
    gold, answers = labels(*case)
    expected = metrics.cohen_kappa_score(gold, answers)
    assert kappa(Counter(zip(gold, answers, strict=True))) == pytest.approx(expected)


def test_kappa_of_one_category_is_not_defined() -> None:
    assert kappa({("a", "a"): 10}) is None
    assert kappa({}) is None


@pytest.mark.parametrize(
    ("count", "rows"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (999, 1000), (5, 10**6)]
)
def test_intervals_of_shares_are_those_of_scipy(count: int, rows: int) -> None:
    expected = stats.binomtest(count, rows).proportion_ci(method="wilson")
    assert wilson(count, rows) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("a", "b"), [(0, 0), (1, 0), (5, 5), (9, 2), (100, 130), (3000, 3100), (0, 2000)]
)
def test_the_sign_test_is_that_of_scipy(a: int, b: int) -> None:
    expected = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert sign_test(a, b) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 101])
def test_quantiles_are_those_of_numpy(rows: int) -> None:
    source = random.Random(rows)
    values = array("d", [source.gauss(0, 3) for _ in range(rows)])
    found = spread(values)
    assert found is not None
    expected = numpy.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    assert found.quantiles == pytest.approx(tuple(expected))
    assert found.mean == pytest.approx(numpy.mean(values))
    assert found.absolute == pytest.approx(numpy.abs(values).mean())


@pytest.mark.parametrize("freedom", [1, 2, 8, 9, 15, 48, 198, 10_000])
def test_quantiles_of_student_are_those_of_scipy(freedom: int) -> None:
    assert _student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-4)
