"""`BaseHTTPClient.agenerate` alone: typed answers to a list of prompts, nothing on disk.

The backend is an argument.
"""

import work  # isort: skip

import asyncio
import sys

from chainette import get_engine_config, register_engine
from work import MODEL, SYSTEM, Answer, Job


def run(job: Job) -> None:
    register_engine(
        "e",
        backend=sys.argv[6] if len(sys.argv) > 6 and sys.argv[6] else "vllm_api",
        model=MODEL,
        endpoint=job.url,
        max_concurrency=job.in_flight,
    )
    client = get_engine_config("e").engine
    prompts = [
        [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]
        for prompt in job.prompts()
    ]

    async def generate() -> None:
        outputs = await client.agenerate(prompts, output_model=Answer)
        await client.aclose()
        assert all(output.error is None for output in outputs)

    asyncio.run(generate())


if __name__ == "__main__":
    work.measure(run)
