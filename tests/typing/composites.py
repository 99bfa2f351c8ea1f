"""Types of routes and repeats."""

from collections.abc import Mapping
from typing import Any

from chainette import Chain, Step, apply, repeat, route
from chainette.pipeline.composites.repeat import Repeat, Rounds
from chainette.pipeline.composites.route import Route
from chainette.pipeline.nodes.flow import Pipe
from models import Reply, Review, Sentiment
from typing_extensions import assert_type


def judged(review: Review) -> Sentiment:
    return Sentiment(label="mixed")


def answered(review: Review) -> Reply:
    return Reply(text=review.text)


def shown(reply: Reply | Sentiment) -> str:
    return str(reply)


def length(reply: Reply) -> int:
    return len(reply.text)


def parts(review: Review) -> list[Review]:
    return [review]


def by_length(review: Review) -> bool:
    return len(review.text) > 10


def is_short(reply: Reply) -> bool:
    return len(reply.text) < 10


def says_what(reply: Reply, names: Mapping[str, Any]) -> str | None:
    return "too long" if len(reply.text) > 10 else None


async def says_later(reply: Reply) -> str | None:
    return None


one = route("text", id="kind").case("a", apply(judged))
assert_type(one, Route[Review, Sentiment])
two = one.case("b", apply(answered))
assert_type(two, Route[Review, Sentiment | Reply])
assert_type(two.default(apply(answered)), Route[Review, Sentiment | Reply])
assert_type(two.default(None), Route[Review, Sentiment | Reply | Review])
assert_type(two >> apply(shown), Pipe[Review, str])
assert_type(Chain(name="c", steps=two), Chain[Review, Sentiment | Reply])
assert_type(Chain(name="c", steps=two).run([]).results[0][two], Sentiment | Reply)
assert_type(
    route(by_length, id="long").case(True, apply(answered) >> apply(length)).case(False, None),
    Route[Review, int | Review],
)
assert_type(one.case("c", apply(parts)), Route[Review, Any])
assert_type(one.case("c", [apply(answered)]), Route[Review, Any])
two >> apply(length)  # type: ignore[arg-type]  # pyright: ignore
one.case("d", apply(length))  # type: ignore[arg-type]  # pyright: ignore

reply = apply(answered)
short = repeat(reply, until=is_short, id="short")
assert_type(short, Repeat[Review, Reply])
assert_type(short >> apply(length), Pipe[Review, int])
assert_type(repeat(reply, until=says_what, id="short", max_rounds=2), Repeat[Review, Reply])
assert_type(repeat(reply, until=says_later, id="short"), Repeat[Review, Reply])
assert_type(repeat(reply, max_rounds=3, id="short"), Repeat[Review, Reply])
assert_type(repeat(reply, until="text == ''", id="short"), Repeat[Review, Reply])
assert_type(repeat(reply, until=lambda it: len(it.text) < 5, id="short"), Repeat[Review, Reply])
assert_type(
    repeat(reply >> apply(length), until=lambda it: it < 5, id="short", exhausted="last"),
    Repeat[Review, int],
)
assert_type(
    repeat(reply, until=is_short, id="short", on_error="none"), Repeat[Review, Reply | None]
)
judge = Step(
    id="judge", input_model=Reply, output_model=Sentiment, engine_name="e", user_prompt="{{ text }}"
)
assert_type(repeat(reply, until=judge, id="short"), Repeat[Review, Reply])
assert_type(Chain(name="c", steps=short).run([]).results[0][short], Rounds)
assert_type(Chain(name="c", steps=short), Chain[Review, Reply])
repeat(apply(length), until=is_short, id="short")  # type: ignore[arg-type]  # pyright: ignore
