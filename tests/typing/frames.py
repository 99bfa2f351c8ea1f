"""Types of data frames into a run and out of it, and of what is kept of its inputs."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa
from chainette import Chain, Run, Step
from models import Review, Sentiment
from typing_extensions import assert_type

label = Step(
    id="label",
    input_model=Review,
    output_model=Sentiment,
    engine_name="small",
    user_prompt="{{ text }}",
)
chain = Chain(name="labels", steps=label)
frame = pl.DataFrame({"text": ["a"], "id": [1]})
run = chain.run(frame, keep=["id"])
assert_type(run, Run[Sentiment])
assert_type(chain.run(frame.lazy(), keep="none"), Run[Sentiment])
assert_type(chain.run(frame["text"], keep="all"), Run[Sentiment])
assert_type(chain.run(pa.table({"text": ["a"]}), keep=("id",)), Run[Sentiment])
assert_type(chain.run(run), Run[Sentiment])
assert_type(run.to_polars(), pl.DataFrame)
assert_type(run.to_polars(explode=False), pl.DataFrame)
assert_type(run.results[0].inputs, Mapping[str, Any])
assert_type(chain.run_one({"text": "a"}, full=True).inputs["id"], Any)
pl.DataFrame(run)
chain.run(frame, keep=1)  # type: ignore[arg-type]  # pyright: ignore
run.to_polars(inputs=True)  # type: ignore[call-arg]  # pyright: ignore
