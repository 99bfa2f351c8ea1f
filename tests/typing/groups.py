"""Types of groups: what the nodes of a `reduce` take and give."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainette import Chain, Group, Result, Run, Step, apply, reduce
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.nodes.flow import Grouped
from chainette.reports.groups import GroupResult
from models import Reply, Review, Sentiment
from typing_extensions import assert_type

label = Step(
    id="label", input_model=Review, output_model=Sentiment, engine_name="small",
    user_prompt="{{ text }}",
)  # fmt: skip
digest = Step(
    id="digest", input_model=Group[Sentiment], output_model=Reply, engine_name="small",
    user_prompt="{{ key }} {{ so_far }}",
)  # fmt: skip
assert_type(digest, Step[Group[Sentiment], Reply])


def count(group: Group[Sentiment]) -> int:
    assert_type(group.items, list[Sentiment])
    return len(group.row_ids)


def several(review: Review) -> list[Sentiment]:
    return [Sentiment(label="mixed")]


def several_keys(sentiment: Sentiment, names: Mapping[str, Any]) -> tuple[str, int]:
    return sentiment.label, names["chain_input"].n


def more(number: int) -> Reply:
    return Reply(text=str(number))


digests = reduce(digest, by="label", fold=50)
assert_type(digests, Reduce[Sentiment, Reply])
counts = reduce(apply(count), by=lambda it: it.label)
assert_type(reduce(apply(count), by=["label", several_keys]), Reduce[Sentiment, int])
assert_type(counts, Reduce[Sentiment, int])
assert_type(label >> digests, Grouped[Review, Sentiment, Reply])
assert_type(label >> counts >> apply(more), Grouped[Review, Sentiment, Reply])
assert_type(label >> (counts >> apply(more)), Grouped[Review, Sentiment, Reply])
assert_type(apply(several) >> counts, Grouped[Review, list[Sentiment], int])

chain = Chain(name="digests", steps=label >> digests)
assert_type(chain, Chain[Review, Sentiment])
run = chain.run([Review(text="…")])
assert_type(run, Run[Sentiment])
assert_type(run.results, Sequence[Result[Sentiment]])
assert_type(run.groups(digests), Sequence[GroupResult[Reply]])
assert_type(run.groups(digest)[0].unwrap(), Reply)
assert_type(run.groups("digest"), Sequence[GroupResult[Any]])
assert_type(run.groups("digest")[0].drop_reason, str | None)
assert_type(run.groups("digest")[0].size, int)
assert_type(run.results[0].drop_reason, str | None)
assert_type(run.results[0].items[0].drop_reason, str | None)
assert_type(Chain(name="c", steps=apply(several) >> counts), Chain[Review, list[Sentiment]])
assert_type(Chain(name="c", steps=digests), Chain[Sentiment, None])

apply(more) >> digests  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
counts >> label  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
reduce(apply(count), by=several)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
reduce(label, by="text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

assert_type(run.export("table.csv", step=digest, only="ok"), str)
assert_type(run.export(Path("table.db"), groups=digests, overwrite=True), Path)
run.export("table.xlsx", only="bad")  # type: ignore[arg-type]  # pyright: ignore
