"""bespokelabs-curator's `LLM`; a word count replaces its tokenizer, which would be downloaded."""

import work  # isort: skip

import json
import shutil
from typing import Any

import tiktoken
from bespokelabs import curator
from bespokelabs.curator.request_processor.online.openai_online_request_processor import (
    OpenAIOnlineRequestProcessor,
)
from datasets import Dataset
from work import MODEL, SYSTEM, Answer, Job


class Words:
    """Counts words instead of tokens."""

    def encode(self, text: str, **_: Any) -> list[str]:
        return text.split()


tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_, **__: Words()
# The check would send another request, which the server cannot answer.
OpenAIOnlineRequestProcessor.check_structured_output_support = lambda self: True


class Labels(curator.LLM):
    response_format = Answer

    def prompt(self, input: dict[str, Any]) -> list[dict[str, str]]:
        return [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": work.PROMPT.format(text=input["text"])},
        ]

    def parse(self, input: dict[str, Any], response: Answer) -> dict[str, Any]:
        return response.model_dump()


def run(job: Job) -> None:
    shutil.rmtree(job.output.with_suffix(".curator"), ignore_errors=True)
    labels = Labels(
        model_name=MODEL,
        backend="openai",
        backend_params={
            "base_url": job.url,
            "api_key": "none",
            "max_concurrent_requests": job.in_flight,
            "max_requests_per_minute": 10_000_000,
            "max_tokens_per_minute": 10_000_000_000,
            "request_timeout": int(work.TIMEOUT),
        },
    )
    with job.inputs.open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(job.rows), file, strict=False)]
    result = labels(Dataset.from_list(rows), working_dir=str(job.output.with_suffix(".curator")))
    result.dataset.to_json(str(job.output))


if __name__ == "__main__":
    work.measure(run)
