"""Check that a run on a server with random faults loses no rows and that its memory stays flat.

python benchmarks/faults_at_scale.py [FEW] [MANY] [SHARE]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DEFAULTS = ("10000", "100000", "0.05")
FEW, MANY, SHARE = (float(word) for word in (*sys.argv[1:4], *DEFAULTS[len(sys.argv) - 1 :]))
CHAIN = """
from chainette import Chain, Step
from pydantic import BaseModel

class Row(BaseModel):
    text: str

class Answer(BaseModel):
    label: str
    score: int

chain = Chain(name="labels", steps=[Step(
    id="label", input_model=Row, output_model=Answer, engine_name="e", user_prompt="{{ text }}",
)])
"""


def lines(folder: Path) -> list[dict[str, Any]]:
    texts = [path.read_text() for path in sorted(folder.glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def run(folder: Path, rows: int) -> str:
    """Run, and check that every row has either an answer or an error."""
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(f'{{"text": "row {n} of many, and some words"}}\n' for n in range(rows))
    program = str(Path(sys.executable).with_name("chainette"))
    command = [program, "run", "chain.py", "-i", "rows.jsonl", "-e", "engines.yml"]
    out = folder / f"out-{rows}"
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", str(out)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert os.waitstatus_to_exitcode(status) in (0, 1), f"exit status {status}"
    manifest = json.loads((out / "run.json").read_text())
    answers = {line["row_id"] for line in lines(out / "steps/label")}
    errors = [json.loads(line) for line in (out / "errors.jsonl").read_text().splitlines()]
    failures = {line["row_id"] for line in errors}
    assert manifest["status"] == "finished"
    assert not answers & failures
    assert answers | failures == set(range(rows)), "a row is lost"
    assert len(errors) == len(failures) == manifest["counts"]["failed"]
    assert [line["row_id"] for line in lines(out / "flattened")] == list(range(rows))
    kinds = sorted({line["type"] for line in errors})
    return (
        f"{rows:>8} rows  {usage.ru_maxrss / 1024:6.1f} MB  {rows / seconds:6.0f} rows/s  "
        f"{manifest['retries'].get('label', 0)} requests sent again, "
        f"{len(failures)} rows failed {kinds or ''}"
    )


def main() -> None:
    program = str(Path(__file__).with_name("fast_server.py"))
    server = subprocess.Popen(
        [sys.executable, program, "0.005", str(SHARE)], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    engine = {"name": "e", "backend": "vllm_api", "model": "m", "timeout": 2}
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "chain.py").write_text(CHAIN)
            (folder / "engines.yml").write_text(json.dumps([engine | {"endpoint": endpoint}]))
            for rows in (FEW, MANY):
                print(run(folder, int(rows)), flush=True)
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
