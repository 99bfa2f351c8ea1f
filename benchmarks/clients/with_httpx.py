"""httpx with its own pool, and Pydantic."""

import work  # isort: skip

import asyncio

import httpx
from work import MODEL, SYSTEM, Answer, Job

SCHEMA = Answer.model_json_schema()


async def run(job: Job) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=work.TIMEOUT, limits=limits) as client:

        async def ask(prompt: str) -> Answer:
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
            response = await client.post(f"{job.url}/chat/completions", json=body)
            content = response.json()["choices"][0]["message"]["content"]
            return Answer.model_validate_json(content)

        await work.ask_all(job, ask)


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(run(job)))
