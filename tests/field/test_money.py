"""What runs cost, and limits of it that are kept or refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from chainette import Chain, EngineConfig, Step
from chainette.errors import BudgetError, ConfigError
from chainette.registry.engines import replaced
from chainette.run import budget
from chainette.run.cost import costs
from chainette.testing import fake_engine
from chainette.testing.fake_engine import FakeClient
from chainette.usage import Usage
from pydantic import BaseModel


class Row(BaseModel):
    number: int


class Answer(BaseModel):
    text: str


def chain() -> Chain[Row, Answer]:
    return Chain(
        name="c",
        steps=Step(
            id="s",
            input_model=Row,
            output_model=Answer,
            engine_name="e",
            user_prompt="Say {{ number }}",
        ),
    )


class Hosted(FakeClient):
    """A fake that looks like the client of a hosted server."""

    offline = False

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config, lambda _: Answer(text="x"))
        self.base_url = "https://llm.example.com/v1"
        self.model = "our-model"


def hosted(**fields: Any) -> Hosted:
    return Hosted(EngineConfig(name="e", backend="fake", **fields))


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        ({"input": 2, "output": 8}, "2.88"),
        ({"input": 2, "output": 8, "cached_input": 0.5}, "2.58"),
        ({"input": "0.1", "output": 0}, "0.064"),
        ({"input": 0, "output": 0}, "0"),
    ],
)
def test_the_price_of_an_engine_wins_over_the_lists(price: Any, cost: str) -> None:
    usage = Usage(prompt_tokens=640_000, completion_tokens=200_000, cached_tokens=200_000)
    found = costs({"s": "e"}, {"e": hosted(price=price)}, {"s": usage})
    assert found == {"s": Decimal(cost)}


@pytest.mark.parametrize(
    "price", [{"input": 1}, {"input": -1, "output": 1}, {"input": 1, "output": 1, "cached": 1}, 2]
)
def test_a_price_that_is_not_understood_is_refused(price: Any) -> None:
    with pytest.raises(ConfigError, match="price"):
        EngineConfig(name="e", backend="fake", price=price)


def test_a_limit_on_the_cost_of_a_model_of_unknown_price_is_refused(tmp_path: Path) -> None:
    with replaced(client := hosted()), pytest.raises(ConfigError) as caught:
        chain().run([{"number": 1}], max_cost=1, output_dir=tmp_path / "out")
    message = str(caught.value)
    assert "'e'" in message
    assert "our-model" in message
    assert "price: {input:" in message
    assert "leave out max_cost" in message
    assert not client.requests
    assert not (tmp_path / "out").exists()


def test_a_run_is_stopped_by_the_price_of_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "EVERY", 0.0)
    with replaced(hosted(price={"input": 1000, "output": 1000}, max_concurrency=1)):
        run = chain().run(({"number": n} for n in range(200)), max_cost=0.1)
    assert isinstance(run.stopped, BudgetError)
    assert run.cost is not None
    assert 0.1 < run.cost < 0.2


def test_models_on_this_machine_need_no_price() -> None:
    with fake_engine("e", lambda _: Answer(text="x")):
        run = chain().run([{"number": 1}], max_cost=0.001)
    assert run.cost == 0


def test_a_run_can_be_resumed_with_another_price(tmp_path: Path) -> None:
    for price in (None, {"input": 1, "output": 1}):
        with replaced(hosted(price=price)):
            run = chain().run(
                [{"number": 1}], output_dir=tmp_path / "out", resume=price is not None
            )
        assert run.counts.ok == 1
