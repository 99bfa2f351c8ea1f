"""A whole `Chain.run` of one step, with the run's files on disk."""

import work  # isort: skip

from chainette import Chain, Step, register_engine
from pydantic import BaseModel
from work import MODEL, PROMPT, SYSTEM, Answer, Job


class Row(BaseModel):
    text: str


def run(job: Job) -> None:
    register_engine(
        "e",
        backend="openai",
        api="chat",
        api_key="none",
        model=MODEL,
        endpoint=job.url,
        max_concurrency=job.in_flight,
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
