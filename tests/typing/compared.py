"""Types of estimates and comparisons, as a user's editor infers them."""

from collections.abc import Iterator
from pathlib import Path

from chainette import Chain
from chainette.reports.comparing.difference import Difference
from chainette.reports.comparing.fields import FieldDifference
from chainette.reports.comparing.gold import GoldScores
from chainette.reports.comparing.sides import RowDifference
from chainette.run.estimate.intervals import Amount
from chainette.run.estimate.result import Estimate
from models import Reply, Review
from typing_extensions import assert_type


def costs(chain: Chain[Review, Reply]) -> None:
    found = chain.estimate([{"text": "Great lamp!"}], sample=10, output_dir="runs/one", limit=100)
    assert_type(found, Estimate)
    assert_type(found.cost, Amount | None)
    assert_type(found.seconds, Amount)
    assert_type(found.path, Path | None)
    assert_type(chain.estimate("rows.csv", engines=["small", "large"]), list[Estimate])
    chain.estimate("rows.csv", retry_errors=True)  # type: ignore[call-overload]  # pyright: ignore
    if found.cost is not None:
        assert_type(found.cost.high, float)


def differences(chain: Chain[Review, Reply]) -> None:
    run = chain.run("rows.csv", output_dir="runs/one")
    found = run.diff("runs/two", on="id", fields=["label.topic"])
    assert_type(found, Difference)
    assert_type(run.diff(run), Difference)
    assert_type(run.diff(gold="label").gold, tuple[GoldScores, ...])
    assert_type(found["label.topic"], FieldDifference)
    assert_type(found.differing(), Iterator[RowDifference])
    run.diff(on=1)  # type: ignore[arg-type]  # pyright: ignore
