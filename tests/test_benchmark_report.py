"""The report of the benchmarks is written from all available measurements."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report", BENCHMARKS / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_without_some_clients_is_reported_next_to_a_full_one(
    report: ModuleType, tmp_path: Path
) -> None:
    full = BENCHMARKS / "results" / "compare-1.json"
    content = json.loads(full.read_text())
    content["found"] = [it for it in content["found"] if it["client"] not in ("litellm", "ray")]
    short = tmp_path / "compare-2.json"
    short.write_text(json.dumps(content))

    text = report.section([report.Run(full), report.Run(short)])

    verdicts = [line for line in text.splitlines() if "CPU of litellm over ours" in line]
    assert len(verdicts) == 2
    assert all(line.endswith("met | not measured |") for line in verdicts)
    assert "\n| litellm |" in text  # the tables are those of the full run
