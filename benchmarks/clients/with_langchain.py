"""langchain-openai with structured output by JSON schema."""

import work  # isort: skip

import asyncio
from typing import cast

from langchain_openai import ChatOpenAI
from work import MODEL, SYSTEM, Answer, Job


async def run(job: Job) -> None:
    model = ChatOpenAI(model=MODEL, base_url=job.url, api_key="none", timeout=work.TIMEOUT)
    chain = model.with_structured_output(Answer, method="json_schema")

    async def ask(prompt: str) -> Answer:
        return cast(Answer, await chain.ainvoke([("system", SYSTEM), ("human", prompt)]))

    await work.ask_all(job, ask)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()  # it keeps its connections, which belong to one loop
    work.measure(lambda job: loop.run_until_complete(run(job)))
