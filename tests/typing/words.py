"""Types of the nodes that are a word, and of steps that take several answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainette import Branch, Chain, Run, Step, apply, distinct, filter, split, vote
from chainette.pipeline.nodes.flow import Pipe, Same, Split
from chainette.pipeline.words.filter import FilterNode
from chainette.pipeline.words.split import ListSplit
from models import Reply, Review, Sentiment
from pydantic import BaseModel
from typing_extensions import assert_type


class Page(BaseModel):
    reviews: list[Review]


def is_short(review: Review) -> bool:
    return len(review.text) < 80


def is_new(review: Review, names: Mapping[str, Any]) -> bool:
    return review.text not in names


async def is_good(review: Review) -> bool:
    return review.text != ""


def is_glad(sentiment: Sentiment) -> bool:
    return sentiment.label == "positive"


def key(review: Review) -> str:
    return review.text


def pages(page: Page) -> list[Review]:
    return page.reviews


one = Step(
    id="one", input_model=Review, output_model=Sentiment, engine_name="e", user_prompt="{{ text }}"
)
several = Step(
    id="several", input_model=Review, output_model=Sentiment, engine_name="e", samples=3,
    user_prompt="{{ text }}",
)  # fmt: skip
texts = Step(id="texts", input_model=Review, engine_name="e", samples=3, user_prompt="{{ text }}")
maybe = Step(
    id="maybe", input_model=Review, output_model=Sentiment, engine_name="e", samples=3,
    user_prompt="{{ text }}", on_error="none",
)  # fmt: skip
skipped = Step(
    id="skipped", input_model=Review, engine_name="e", samples=3, user_prompt="{{ text }}",
    when="text", otherwise=None,
)  # fmt: skip
assert_type(one, Step[Review, Sentiment])
assert_type(several, Step[Review, list[Sentiment]])
assert_type(texts, Step[Review, list[str]])
assert_type(maybe, Step[Review, list[Sentiment] | None])
assert_type(skipped, Step[Review, list[str] | None])

assert_type(several >> vote("label"), Pipe[Review, Sentiment])
assert_type(texts >> vote(), Pipe[Review, str])
Chain(name="c", steps=several >> vote("label") >> filter(is_glad))
one >> vote("label")  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]

assert_type(filter(is_short), FilterNode[Review])
assert_type(filter(is_good), FilterNode[Review])
assert_type(filter(is_new), FilterNode[Review])
assert_type(filter("text"), Same)
assert_type(filter("text") >> one, Pipe[Review, Sentiment])
assert_type(one >> filter("label") >> distinct("label"), Pipe[Review, Sentiment])
Chain(name="e", steps=filter("text") >> distinct("text"))
assert_type(filter("text", input_model=Review), FilterNode[Review])
assert_type(one >> filter("label == 'mixed'"), Pipe[Review, Sentiment])
assert_type(one >> filter(is_glad), Pipe[Review, Sentiment])
assert_type(one >> distinct("label"), Pipe[Review, Sentiment])
assert_type(filter(is_short) >> one, Pipe[Review, Sentiment])
assert_type(distinct(key) >> one, Pipe[Review, Sentiment])
one >> filter(is_short)  # type: ignore[arg-type]  # pyright: ignore[reportOperatorIssue]

assert_type(split("reviews"), ListSplit[Any, Any])
assert_type(split("reviews", input_model=Page), ListSplit[Page, Any])
reviews = split("reviews", input_model=Page, output_model=Review)
assert_type(reviews, ListSplit[Page, Review])
assert_type(reviews >> one, Split[Page, Sentiment])
assert_type(reviews >> filter("text") >> one, Split[Page, Sentiment])
assert_type(apply(pages) >> distinct("text") >> one, Split[Page, Sentiment])
assert_type(reviews >> several >> vote("label"), Split[Page, Sentiment])
reviews >> apply(pages)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]

chain = Chain(name="c", steps=several >> vote("label"))
assert_type(chain, Chain[Review, Sentiment])
assert_type(chain.run([]), Run[Sentiment])
assert_type(Chain(name="d", steps=filter(is_short) >> one), Chain[Review, Sentiment])
assert_type(Branch("b", one >> filter(is_glad)), Branch[Review, Sentiment])


def result(run: Run[Sentiment]) -> None:
    assert_type(run.results[0][several], list[Sentiment])
    assert_type(run.results[0].value, Sentiment | None)


Reply(text="")
