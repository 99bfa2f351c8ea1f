"""OpenAI's SDK with its own structured output."""

import work  # isort: skip

import asyncio

from openai import AsyncOpenAI
from work import MODEL, SYSTEM, Answer, Job


async def run(job: Job) -> None:
    async with AsyncOpenAI(base_url=job.url, api_key="none", timeout=work.TIMEOUT) as client:

        async def ask(prompt: str) -> Answer:
            completion = await client.chat.completions.parse(
                model=MODEL,
                messages=[
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": prompt},
                ],
                response_format=Answer,
            )
            answer = completion.choices[0].message.parsed
            assert answer is not None
            return answer

        await work.ask_all(job, ask)


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(run(job)))
