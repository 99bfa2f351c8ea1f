"""pydantic-ai's `Agent.run` with the model's own structured output."""

import work  # isort: skip

import asyncio

from openai import AsyncOpenAI
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from work import MODEL, SYSTEM, Answer, Job


async def run(job: Job) -> None:
    sdk = AsyncOpenAI(base_url=job.url, api_key="none", timeout=work.TIMEOUT)
    model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=sdk))
    agent = Agent(model, output_type=NativeOutput(Answer), system_prompt=SYSTEM)

    async def ask(prompt: str) -> Answer:
        return (await agent.run(prompt)).output

    await work.ask_all(job, ask)
    await sdk.close()


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(run(job)))
