"""Answers from the cache, which are paid once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain
from chainette.errors import BudgetError
from chainette.run import budget

ROWS = [{"number": number} for number in range(100)]
PRICE = {"input": 100, "output": 100}


@pytest.mark.parametrize("max_cost", [None, 0.5, 0.0001])
def test_answers_from_the_cache_cost_nothing_and_no_limit_refuses_them(
    max_cost: float | None,
    server: Any,
    make_engine: Any,
    chain: Chain[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "EVERY", 0.0)
    make_engine(price=PRICE)
    server.set_answers(lambda _: {"name": "Oslo", "inhabitants": 700000})
    first = chain.run(ROWS, cache=tmp_path / "cache")
    assert first.cost is not None
    assert first.cost > 0.05
    again = chain.run(
        ROWS, cache=tmp_path / "cache", output_dir=tmp_path / "out", max_cost=max_cost
    )
    assert (again.stopped, again.counts.ok, again.cost) == (None, 100, 0)
    assert len(server.requests) == 100
    manifest = json.loads((tmp_path / "out/run.json").read_text())
    assert manifest["cache"] == {"hits": 100, "misses": 0}


def test_the_answers_that_the_cache_does_not_have_are_paid_and_limited(
    server: Any,
    make_engine: Any,
    chain: Chain[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "EVERY", 0.0)
    make_engine(price=PRICE, max_concurrency=1)
    server.set_answers(lambda _: {"name": "Oslo", "inhabitants": 700000})
    half = chain.run(ROWS[:50], cache=tmp_path / "cache")
    whole = chain.run(ROWS, cache=tmp_path / "cache")
    assert half.cost is not None
    assert whole.cost == pytest.approx(half.cost)
    others = [{"number": number} for number in range(100, 200)]
    limited = chain.run(ROWS + others, cache=tmp_path / "cache", max_cost=float(half.cost) / 5)
    assert isinstance(limited.stopped, BudgetError)
    assert 100 <= limited.counts.ok < 150
