"""instructor over OpenAI's SDK."""

import work  # isort: skip

import asyncio

import instructor
from openai import AsyncOpenAI
from work import MODEL, SYSTEM, Answer, Job


async def run(job: Job) -> None:
    sdk = AsyncOpenAI(base_url=job.url, api_key="none", timeout=work.TIMEOUT)
    client = instructor.from_openai(sdk, mode=instructor.Mode.JSON_SCHEMA)

    async def ask(prompt: str) -> Answer:
        answer: Answer = await client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": prompt},
            ],
            response_model=Answer,
        )
        return answer

    await work.ask_all(job, ask)
    await sdk.close()


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(run(job)))
