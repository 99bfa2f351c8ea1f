"""litellm's `acompletion`."""

import work  # isort: skip

import asyncio

import litellm
from work import MODEL, SYSTEM, Answer, Job

litellm.telemetry = False


async def run(job: Job) -> None:
    async def ask(prompt: str) -> Answer:
        completion = await litellm.acompletion(
            model=f"openai/{MODEL}",
            api_base=job.url,
            api_key="none",
            messages=[
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": prompt},
            ],
            response_format=Answer,
            timeout=work.TIMEOUT,
        )
        return Answer.model_validate_json(completion.choices[0].message.content)

    await work.ask_all(job, ask)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()  # it keeps its connections, which belong to one loop
    work.measure(lambda job: loop.run_until_complete(run(job)))
