"""The same loop with one HTTP library, which the sixth argument names: send, then parse."""

import work  # isort: skip

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from work import MODEL, SYSTEM, Answer, Job

SCHEMA = Answer.model_json_schema()
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer none"}
Post = Callable[[str, bytes], Awaitable[bytes]]


@asynccontextmanager
async def aiohttp() -> AsyncIterator[Post]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    limits = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=work.TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:

        async def post(url: str, body: bytes) -> bytes:
            async with session.post(url, data=body, headers=HEADERS) as response:
                return await response.read()

        yield post


@asynccontextmanager
async def seam() -> AsyncIterator[Post]:
    from chainette.engine.http.aiohttp import AiohttpTransport

    transport = AiohttpTransport(timeout=work.TIMEOUT, connect_timeout=10)

    async def post(url: str, body: bytes) -> bytes:
        return (await transport.send("POST", url, HEADERS, body)).body

    yield post
    await transport.aclose()


@asynccontextmanager
async def pyreqwest() -> AsyncIterator[Post]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().default_headers(HEADERS).max_connections(None)
    async with builder.build() as client:

        async def post(url: str, body: bytes) -> bytes:
            response = await client.post(url).body_bytes(body).build().send()
            return bytes(await response.bytes())

        yield post


@asynccontextmanager
async def wreq() -> AsyncIterator[Post]:
    from wreq import Client

    client = Client(headers=HEADERS)

    async def post(url: str, body: bytes) -> bytes:
        response = await client.post(url, body=body)
        return bytes(await response.bytes())

    yield post


@asynccontextmanager
async def httpx() -> AsyncIterator[Post]:
    from httpx import AsyncClient, Limits

    async with AsyncClient(
        headers=HEADERS, timeout=work.TIMEOUT, limits=Limits(max_connections=None)
    ) as client:

        async def post(url: str, body: bytes) -> bytes:
            return (await client.post(url, content=body)).content

        yield post


@asynccontextmanager
async def httpx_aiohttp() -> AsyncIterator[Post]:
    from httpx import Limits
    from httpx_aiohttp import HttpxAiohttpClient

    async with HttpxAiohttpClient(
        headers=HEADERS, timeout=work.TIMEOUT, limits=Limits(max_connections=None)
    ) as client:

        async def post(url: str, body: bytes) -> bytes:
            return (await client.post(url, content=body)).content

        yield post


@asynccontextmanager
async def httpx2() -> AsyncIterator[Post]:
    from httpx2 import AsyncClient, Limits

    async with AsyncClient(
        headers=HEADERS, timeout=work.TIMEOUT, limits=Limits(max_connections=None)
    ) as client:

        async def post(url: str, body: bytes) -> bytes:
            return (await client.post(url, content=body)).content

        yield post


async def loop(job: Job, name: str) -> None:
    async with globals()[name]() as post:
        prompts = job.prompts()

        async def ask() -> None:
            for prompt in prompts:
                messages = [
                    {"role": "system", "content": SYSTEM},
                    {"role": "user", "content": prompt},
                ]
                json_schema = {"name": "Answer", "schema": SCHEMA}
                response_format = {"type": "json_schema", "json_schema": json_schema}
                body = {"model": MODEL, "messages": messages, "response_format": response_format}
                content = await post(f"{job.url}/chat/completions", json.dumps(body).encode())
                answer = json.loads(content)["choices"][0]["message"]["content"]
                Answer.model_validate_json(answer)

        await asyncio.gather(*(ask() for _ in range(job.in_flight)))


if __name__ == "__main__":
    work.measure(lambda job: asyncio.run(loop(job, sys.argv[6])))
