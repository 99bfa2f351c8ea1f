"""Types of functions in chains."""

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chainette import ApplyNode, Branch, Calls, Chain, SamplingParams, SyncCalls, apply
from chainette.pipeline.nodes.apply import SplitNode
from chainette.pipeline.nodes.flow import Split
from models import Reply, Review, Sentiment
from typing_extensions import assert_type


def one(review: Review) -> Sentiment:
    return Sentiment(label="mixed")


def maybe(review: Review) -> Sentiment | None:
    return None


async def later(review: Review) -> Sentiment | None:
    return None


def with_names(review: Review, names: Mapping[str, Any]) -> Sentiment:
    return Sentiment.model_validate(names["sentiment"])


def several(review: Review) -> list[Review]:
    return [review]


async def several_later(review: Review) -> list[Review]:
    return [review]


def generated(review: Review) -> Iterator[Review]:
    yield review


def generator(review: Review) -> Generator[Review, None, None]:
    yield review


async def generated_later(review: Review) -> AsyncIterator[Review]:
    yield review


def batched(reviews: list[Review]) -> list[Sentiment]:
    return [Sentiment(label="mixed") for _ in reviews]


async def batched_later(reviews: list[Review]) -> list[Sentiment | None]:
    return [None for _ in reviews]


def in_a_tuple(review: Review) -> tuple[Review, ...]:
    return (review,)


def in_a_set(review: Review) -> set[str]:
    return {review.text}


def in_a_frozen_set(review: Review) -> frozenset[str] | None:
    return None


def in_a_sequence(review: Review) -> Sequence[Review]:
    return [review]


async def in_a_sequence_later(review: Review) -> Sequence[Review] | None:
    return None


class Place(NamedTuple):
    x: int
    y: int


def pair(review: Review) -> tuple[int, str]:
    return (1, review.text)


def place(review: Review) -> Place | None:
    return None


def length(review: Review) -> int:
    return len(review.text)


def text(review: Review) -> str:
    return review.text


async def text_later(review: Review) -> str | None:
    return None


def counts(review: Review) -> dict[str, int]:
    return {review.text: 1}


def untyped(review: Any) -> Any:
    return review


def answered(sentiment: Sentiment) -> Reply:
    return Reply(text=sentiment.label)


assert_type(apply(one), ApplyNode[Review, Sentiment])
assert_type(apply(maybe), ApplyNode[Review, Sentiment])
assert_type(apply(later), ApplyNode[Review, Sentiment])
assert_type(apply(with_names, id="named"), ApplyNode[Review, Sentiment])
assert_type(apply(several), SplitNode[Review, Review])
assert_type(apply(several_later), SplitNode[Review, Review])
assert_type(apply(generated), SplitNode[Review, Review])
assert_type(apply(generator), SplitNode[Review, Review])
assert_type(apply(generated_later), SplitNode[Review, Review])
assert_type(apply(in_a_tuple), SplitNode[Review, Review])
assert_type(apply(in_a_set), SplitNode[Review, str])
assert_type(apply(in_a_frozen_set), SplitNode[Review, str])
assert_type(apply(in_a_sequence), SplitNode[Review, Review])
assert_type(apply(in_a_sequence_later), SplitNode[Review, Review])
assert_type(apply(pair), ApplyNode[Review, tuple[int, str]])
assert_type(apply(place), ApplyNode[Review, Place])
assert_type(apply(length), ApplyNode[Review, int])
assert_type(apply(text), ApplyNode[Review, str])
assert_type(apply(text_later), ApplyNode[Review, str])
assert_type(apply(counts), ApplyNode[Review, dict[str, int]])
assert_type(apply(batched, batch=8), ApplyNode[Review, Sentiment])
assert_type(apply(batched_later, batch="all"), ApplyNode[Review, Sentiment])
assert_type(apply(one, output_model=Sentiment), ApplyNode[Review, Any])

assert_type(apply(several) >> apply(one), Split[Review, Sentiment])
assert_type(apply(several) >> apply(one) >> apply(answered), Split[Review, Reply])
chain = Chain(name="split", steps=apply(several) >> apply(one))
assert_type(chain, Chain[Review, list[Sentiment]])
assert_type(chain.run([]).results[0].value, list[Sentiment] | None)
assert_type(Branch(name="parts", steps=apply(several)), Branch[Review, list[Review]])
reply, sentiment = apply(answered), apply(one)
reply >> sentiment  # type: ignore[operator]  # pyright: ignore


@apply
def decorated(review: Review) -> Sentiment:
    return Sentiment(label="mixed")


@apply(id="parts", threaded=True)
def decorated_split(review: Review) -> list[Reply]:
    return []


@apply(batch=4)
def decorated_batch(reviews: list[Review]) -> list[Sentiment]:
    return []


@apply(id="tuple")
def decorated_tuple(review: Review) -> tuple[Reply, ...]:
    return ()


@apply(id="text")
def decorated_text(review: Review) -> str:
    return review.text


assert_type(decorated_tuple, SplitNode[Review, Reply])
assert_type(decorated_text, ApplyNode[Review, str])
assert_type(decorated, ApplyNode[Review, Sentiment])
assert_type(decorated_split, SplitNode[Review, Reply])
assert_type(decorated_batch, ApplyNode[Review, Sentiment])


async def judged(review: Review, calls: Calls) -> Sentiment:
    judge = calls["judge"]
    assert_type(await judge.ask("Good?"), str)
    assert_type(await judge.ask("Good?", output_model=None, sampling={"temperature": 0}), str)
    assert_type(
        await judge.ask([{"role": "user", "content": "?"}], output_model=list[int]), list[int]
    )
    assert_type(await judge.ask("Good?", output_model=Reply | None), Reply | None)
    tries = {"temperature": [0, 0.4], "max_tokens": [100, 200]}
    assert_type(await judge.ask("Good?", sampling=tries, reasks=3, prefill="Yes"), str)
    several = [SamplingParams(seed=1), SamplingParams(seed=2)]
    assert_type(await judge.ask("Good?", output_model=Reply, sampling=several), Reply)
    await judge.ask("Good?", reasks="3")  # type: ignore[call-overload] # pyright: ignore
    await judge.ask("Good?", output_models=Reply)  # type: ignore[call-overload] # pyright: ignore
    return await judge.ask("Good?", output_model=Sentiment)


def judged_in_a_thread(review: Review, calls: SyncCalls, row_id: int) -> Sentiment:
    assert_type(calls["judge"].ask("Good?"), str)
    return calls["judge"].ask("Good?", output_model=Sentiment)


async def judged_by_keyword(review: Review, *, calls: Calls, row_id: int = 0) -> list[Sentiment]:
    return [await calls["judge"].ask("Good?", output_model=Sentiment)]


@apply(engines=["judge"])
async def decorated_judge(review: Review, calls: Calls) -> Sentiment | None:
    return None


assert_type(apply(judged, engines=["judge"]), ApplyNode[Review, Sentiment])
assert_type(
    apply(judged_in_a_thread, engines=["judge"], threaded=True), ApplyNode[Review, Sentiment]
)
assert_type(apply(judged_by_keyword, engines=("judge",)), SplitNode[Review, Sentiment])
assert_type(decorated_judge, ApplyNode[Review, Sentiment])
