"""Types of engines' outputs, options and backends."""

from typing import Any

from chainette import Chain, LLMOutput, apply, get_engine, register_engine
from chainette.backend import Backend, BaseHTTPClient, EngineConfig, OpenAIChatClient
from models import Reply, Review
from typing_extensions import assert_type

engine = get_engine("small")
assert_type(engine.generate(["Hello"], output_model=Reply), list[LLMOutput[Reply]])
assert_type(engine.generate(["Hello"])[0].outputs[0].text, str)
assert_type(engine.generate(["Hello"]), list[LLMOutput[Any]])
config = register_engine("large", backend="openai", model="gpt-4.1")
parsed = config.engine.generate(["Hello"], output_model=list[Reply])[0].outputs[0].parsed
assert_type(parsed, list[Reply] | None)


async def later() -> None:
    assert_type(await engine.agenerate(["Hello"], output_model=Reply), list[LLMOutput[Reply]])


def same(review: Review) -> Review:
    return review


chain = Chain(name="same", steps=apply(same))
chain.run([], limit=3, output_dir="runs/same", resume=True)
chain.run([], limt=3)  # type: ignore[call-arg]  # pyright: ignore
chain.run([], limit="three")  # type: ignore[arg-type]  # pyright: ignore


class AcmeConfig(EngineConfig):
    region: str = "eu"


class OtherConfig(EngineConfig):
    zone: str = "eu"


class AcmeClient(OpenAIChatClient[AcmeConfig]):
    def region(self) -> str:
        return self.config.region


class OwnClient(BaseHTTPClient[AcmeConfig]):
    """A client with a protocol of its own."""


Backend(name="acme", config=AcmeConfig, client=AcmeClient)
Backend(name="acme", config="acme:Config", client="acme:Client")
Backend(name="acme", config=OtherConfig, client=AcmeClient)  # type: ignore[arg-type]  # pyright: ignore
