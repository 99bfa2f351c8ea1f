"""Ray Data's HTTP processor."""

import work  # isort: skip

import contextlib
import json
import shutil
import threading
import time
from typing import Any

import psutil
import ray
from ray.data.llm import HttpRequestProcessorConfig, build_processor
from work import MODEL, SYSTEM, Answer, Job

SCHEMA = Answer.model_json_schema()


def before(row: dict[str, Any]) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": work.PROMPT.format(text=row["text"])},
    ]
    json_schema = {"name": "Answer", "schema": SCHEMA}
    response_format = {"type": "json_schema", "json_schema": json_schema}
    return {"payload": {"model": MODEL, "messages": messages, "response_format": response_format}}


def after(row: dict[str, Any]) -> dict[str, Any]:
    content = row["http_response"]["choices"][0]["message"]["content"]
    return Answer.model_validate_json(content).model_dump()


def run(job: Job) -> None:
    config = HttpRequestProcessorConfig(
        url=f"{job.url}/chat/completions",
        headers={"Authorization": "Bearer none"},
        qps=None,
        batch_size=job.in_flight,
        concurrency=1,
    )
    processor = build_processor(config, preprocess=before, postprocess=after)
    shutil.rmtree(job.output, ignore_errors=True)
    with job.inputs.open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(job.rows), file, strict=False)]
    processor(ray.data.from_items(rows)).write_json(str(job.output))


cpu_times_by_process: dict[psutil.Process, float] = {}
"""CPU seconds of every Ray process, including those that have ended."""


def update_cpu_times() -> None:
    here = psutil.Process()
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            cpu_times_by_process[process] = sum(process.cpu_times()[:2])


def keep_updating_cpu_times() -> None:
    while True:
        update_cpu_times()
        time.sleep(0.1)


def cpu_seconds() -> float:
    update_cpu_times()
    return sum(list(cpu_times_by_process.values()))


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    threading.Thread(target=keep_updating_cpu_times, daemon=True).start()
    work.measure(run, cpu_seconds)
