"""The keyword that shows a run's progress, as a user's editor checks it."""

from typing import Literal

from chainette import Result, Run
from chains import chain
from models import Reply, Review
from typing_extensions import assert_type

rows = [Review(text="Good lid.")]
mode: Literal["auto"] | bool = "auto"
assert_type(chain.run(rows, progress=False), Run[Reply])
assert_type(chain.run(rows, progress=mode, limit=3), Run[Reply])
assert_type(repr(chain.run(rows)), str)


async def shown() -> None:
    assert_type(await chain.arun(rows, progress="auto"), Run[Reply])
    async for result in chain.stream(rows, progress=True, in_order=True):
        assert_type(result, Result[Reply])


chain.run(rows, progress="always")  # type: ignore[arg-type]  # pyright: ignore
chain.run_one(rows[0], progress=1)  # type: ignore[call-overload]  # pyright: ignore
