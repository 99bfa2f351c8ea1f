"""The bare loop: aiohttp and Pydantic, only sending and parsing; the baseline of the comparison."""

import work  # isort: skip

import asyncio
import json

import aiohttp
from work import MODEL, SYSTEM, Answer, Job

SCHEMA = Answer.model_json_schema()


async def loop(job: Job) -> None:
    limits = aiohttp.ClientTimeout(total=work.TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
        prompts = job.prompts()

        async def ask() -> None:
            for prompt in prompts:
                body = {
                    "model": MODEL,
                    "messages": [
                        {"role": "system", "content": SYSTEM},
                        {"role": "user", "content": prompt},
                    ],
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "Answer", "schema": SCHEMA},
                    },
                }
                async with session.post(f"{job.url}/chat/completions", json=body) as response:
                    answer = json.loads(await response.read())
                Answer.model_validate_json(answer["choices"][0]["message"]["content"])

        await asyncio.gather(*(ask() for _ in range(job.in_flight)))


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(loop(job)))
