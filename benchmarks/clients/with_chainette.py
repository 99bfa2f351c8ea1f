"""A whole `Chain.run` of one step, with the run's files on disk.

The argument is nothing for chat completions, `responses` for the Responses API, as in README's
example, or `sdk` for the Responses API through OpenAI's SDK.
"""

import work  # isort: skip

import sys
from typing import Any

from chainette import Chain, Step, register_engine
from pydantic import BaseModel
from work import MODEL, PROMPT, SYSTEM, Answer, Job


class Row(BaseModel):
    text: str


WAY = sys.argv[6] if len(sys.argv) > 6 else ""
FIELDS: dict[str, dict[str, Any]] = {
    "": {"api": "chat"},
    "responses": {"api": "responses"},
    "sdk": {"api": "responses", "client": "sdk"},
}


def run(job: Job) -> None:
    register_engine(
        "e",
        backend="openai",
        api_key="none",
        model=MODEL,
        endpoint=job.url,
        max_concurrency=job.in_flight,
        **FIELDS[WAY],
    )
    step = Step(
        id="label",
        input_model=Row,
        output_model=Answer,
        engine_name="e",
        system_prompt=SYSTEM,
        user_prompt=PROMPT.replace("{text}", "{{ text }}"),
    )
    chain = Chain(name="labels", steps=[step])
    folder = job.output.with_suffix(".run")
    result = chain.run(job.inputs, output_dir=folder, overwrite=True, limit=job.rows)
    assert result.counts.ok == job.rows


if __name__ == "__main__":
    work.measure(run)
