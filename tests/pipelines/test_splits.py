"""What splits an item: lists, generators and collections; and splits in branches that join."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from collections.abc import Set as AnySet
from functools import partial, wraps
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from chainette import Branch, Chain, Step, apply
from chainette.errors import ChainError
from chainette.pipeline.nodes.apply import ApplyNode, SplitNode
from chainette.testing import fake_engine
from pydantic import BaseModel


class Row(BaseModel):
    n: int


class Part(BaseModel):
    model_config = {"frozen": True}
    n: int


class Pair(NamedTuple):
    a: int
    b: str


@dataclasses.dataclass
class Plain:
    n: int


PARTS = [Part(n=0), Part(n=1)]


def a_list(row: Row) -> list[Part]:
    return PARTS


def a_bare_list(row: Row) -> list:  # type: ignore[type-arg]
    return PARTS


def a_tuple(row: Row) -> tuple[Part, ...]:
    return tuple(PARTS)


def a_tuple_or_none(row: Row) -> tuple[Part, ...] | None:
    return tuple(PARTS)


def a_set(row: Row) -> set[Part]:
    return set(PARTS)


def a_frozen_set(row: Row) -> frozenset[Part]:
    return frozenset(PARTS)


def any_set(row: Row) -> AnySet[Part]:
    return dict.fromkeys(PARTS).keys()


def a_sequence(row: Row) -> Sequence[Part]:
    return PARTS


def a_sequence_that_is_a_tuple(row: Row) -> Sequence[Part]:
    return tuple(PARTS)


def a_list_that_is_a_tuple(row: Row) -> list[Part]:
    return tuple(PARTS)  # type: ignore[return-value]


def a_collection(row: Row) -> Collection[Part]:
    return {part.n: part for part in PARTS}.values()


def a_deque(row: Row) -> deque[Part]:
    return deque(PARTS)


def an_iterable(row: Row) -> Iterable[Part]:
    return PARTS


def yields(row: Row) -> Iterator[Part]:
    yield from PARTS


def yields_and_says_iterable(row: Row) -> Iterable[Part]:
    yield from PARTS


def yields_untyped(row):  # type: ignore[no-untyped-def]
    yield from PARTS


def generator(row: Row) -> Generator[Part, None, None]:
    yield from PARTS


async def yields_later(row: Row) -> AsyncIterator[Part]:
    for part in PARTS:
        yield part


def returns_an_iterator(row: Row) -> Iterator[Part]:
    return iter(PARTS)


def returns_a_generator(row: Row) -> Any:
    return (part for part in PARTS)


def returns_a_map(row):  # type: ignore[no-untyped-def]
    return map(Part.model_copy, PARTS)


def returns_what_yields_later(row: Row) -> Any:
    return yields_later(row)


def returns_a_coroutine(row: Row) -> Awaitable[list[Part]]:
    async def later() -> list[Part]:
        return PARTS

    return later()


def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


class Yields:
    def __call__(self, row: Row) -> Iterator[Part]:
        yield from PARTS


def with_a_factor(factor: int, row: Row) -> Iterator[Part]:
    yield from PARTS


SPLITTING: list[Any] = [
    a_list, a_bare_list, a_tuple, a_tuple_or_none, a_set, a_frozen_set, any_set, a_sequence,
    a_sequence_that_is_a_tuple, a_list_that_is_a_tuple, a_collection, a_deque, an_iterable, yields,
    yields_and_says_iterable, yields_untyped, generator, yields_later, returns_an_iterator,
    returns_a_generator, returns_a_map, returns_what_yields_later, returns_a_coroutine,
    logged(yields), logged(a_tuple), Yields(), partial(with_a_factor, 2),
]  # fmt: skip


@pytest.mark.parametrize("fn", SPLITTING, ids=lambda fn: getattr(fn, "__name__", type(fn).__name__))
def test_everything_that_holds_several_items_splits(fn: Any) -> None:
    for options in ({}, {"threaded": True}):
        node = apply(fn, id="parts", **options)
        result = Chain(name="c", steps=[node]).run([Row(n=1)]).results[0]
        assert result.is_split
        assert sorted(result.unwrap(), key=lambda part: part.n) == PARTS


@pytest.mark.parametrize("fn", [a_tuple, a_set, yields, returns_a_generator])
def test_a_resumed_run_has_the_same_items(fn: Any, tmp_path: Path) -> None:
    chain: Chain[Any, Any] = Chain(name="c", steps=[apply(fn, id="parts", output_model=Part)])
    before = chain.run([Row(n=1)], output_dir=tmp_path / "run").results[0].unwrap()
    again = chain.run([Row(n=1)], output_dir=tmp_path / "run", resume=True).results[0].unwrap()
    assert again == before
    assert len(again) == 2


def a_pair(row: Row) -> tuple[int, str]:
    return (row.n, "b")


def a_named_pair(row: Row) -> Pair:
    return Pair(row.n, "b")


def a_named_pair_untyped(row: Row) -> Any:
    return Pair(row.n, "b")


def a_dict(row: Row) -> dict[str, int]:
    return {"n": row.n}


def a_text(row: Row) -> Sequence[str]:
    return "text"


def a_plain_object(row: Row) -> Plain:
    return Plain(row.n)


ONE: list[tuple[Any, dict[str, Any], Any]] = [
    (a_pair, {}, (1, "b")),
    (a_named_pair, {}, Pair(1, "b")),
    (a_named_pair_untyped, {}, Pair(1, "b")),
    (a_dict, {}, {"n": 1}),
    (a_text, {}, "text"),
    (a_plain_object, {}, Plain(1)),
    (lambda row: {1, 2}, {"output_model": set[int]}, {1, 2}),
    (lambda row: (1, 2), {"output_model": tuple[int, ...]}, (1, 2)),
    (a_set, {"output_model": set[Part]}, set(PARTS)),
    (a_tuple, {"output_model": tuple[Part, ...]}, tuple(PARTS)),
]


@pytest.mark.parametrize(("fn", "options", "value"), ONE)
def test_one_value_stays_one(fn: Any, options: dict[str, Any], value: Any) -> None:
    node: Any = apply(fn, id="one", **options)
    assert not isinstance(node, SplitNode) or fn is a_text
    result = Chain(name="c", steps=[node]).run([Row(n=1)]).results[0]
    assert result.unwrap() == value
    assert not result.is_split


@pytest.mark.parametrize("value", [(1, 2), {1, 2}, frozenset({1}), {"a": 1}.keys(), deque([1])])
def test_a_collection_that_may_be_one_value_or_several_is_an_error(value: Any) -> None:
    node: Any = apply(lambda row: value, id="some")
    error = Chain(name="c", steps=[node]).run([Row(n=1)]).results[0].error
    expected = f"apply 'some' returned a {type(value).__name__}, which can be one value or several"
    assert str(error).startswith(expected)
    assert "return a list for several" in str(error)


def test_a_bare_tuple_is_refused_when_the_chain_is_built() -> None:
    def both(row: Row) -> tuple:  # type: ignore[type-arg]
        return (row, row)

    with pytest.raises(ChainError, match=r"`tuple` can be one value or several items"):
        apply(both)
    assert apply(both, output_model=tuple).output_model is tuple


def test_a_batch_may_return_any_sequence_and_its_items_split_alike() -> None:
    def as_tuple(rows: list[Row]) -> tuple[Row, ...]:
        return tuple(rows)

    def one_by_one(rows: list[Row]) -> Iterator[tuple[Row, ...]]:
        yield from [(row, row) for row in rows]

    chain = Chain(name="c", steps=[apply(as_tuple, batch=2), apply(one_by_one, batch="all")])
    values = [result.unwrap() for result in chain.run([{"n": 0}, {"n": 1}, {"n": 2}]).results]
    assert values == [[Row(n=n), Row(n=n)] for n in range(3)]


# Branches that split and join


def upto(row: Row) -> list[Part]:
    return [Part(n=n) for n in range(row.n)]


def kept(part: Part) -> Part | None:
    return part if part.n else None


def small(row: Row) -> Row | None:
    return row if row.n else None


def joined(row: Row, names: Any) -> Any:
    return {"joined": names["b"]}


CASES: dict[str, tuple[list[Any], list[Any]]] = {
    # the branch, and what it joins as for the rows 0, 1 and 2
    "a split": ([apply(upto)], [[], [Part(n=0)], PARTS]),
    "a split, then a drop": ([apply(upto), apply(kept)], [[], [], [Part(n=1)]]),
    "a node, then a split": ([apply(small), apply(upto)], [None, [Part(n=0)], PARTS]),
    "a drop": ([apply(small)], [None, Row(n=1), Row(n=2)]),
    "a split of a split": (
        [apply(upto), apply(upto, id="again", input_model=Part)], [[], [], [Part(n=0)]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_empty_split_joins_as_an_empty_list_and_a_drop_as_none(
    case: str, tmp_path: Path
) -> None:
    nodes, expected = CASES[case]
    branch = Branch(name="b", steps=nodes).join("b")
    chain = Chain(name="c", steps=[branch, apply(joined)])
    rows = [{"n": n} for n in range(3)]
    folder = tmp_path / "run"
    for run in (
        chain.run(rows),
        chain.run(rows, output_dir=folder),
        chain.run(rows, output_dir=folder, resume=True),
    ):
        assert [result.unwrap()["joined"] for result in run.results] == expected
        is_split = any(node.types.splits for node in nodes)
        for result, value in zip(run.results, expected, strict=True):
            if is_split and value is not None:
                assert result[branch] == value


def prompt_of(branch: list[Any], template: str) -> Chain[Any, Any]:
    step = Step(id="s", input_model=Row, output_model=Row, engine_name="e", user_prompt=template)
    return Chain(name="c", steps=[Branch(name="b", steps=branch).join("b"), step])


def either(row: Row) -> Part | Row:
    return row


def open_split(row: Row) -> list[Part] | Part:
    return []


def to_part(row: Row) -> Part:
    return Part(n=row.n)


WRONG: list[tuple[list[Any], str, str]] = [
    ([apply(to_part)], "{{ b.m }}", "'b' has no field 'm'"),
    ([apply(small)], "{{ b.m }}", "'b' has no field 'm'"),
    ([apply(either)], "{{ b.m }}", "'b' has no field 'm'"),
    ([apply(upto)], "{{ b.n }}", "'b' is a list and has no field 'n'"),
    ([apply(upto), apply(kept)], "{{ b.n }}", "'b' is a list and has no field 'n'"),
    ([apply(upto)], "{% for it in b %}{{ it.m }}{% endfor %}", "'it' has no field 'm'"),
]
RIGHT: list[tuple[list[Any], str]] = [
    ([apply(to_part)], "{{ b.n }}"),
    ([apply(upto)], "{% for it in b %}{{ it.n }}{% endfor %}"),
    ([apply(upto)], "{{ b.count(1) }}"),
    ([apply(open_split)], "{{ b.n }}"),
    ([apply(lambda row: row, id="untyped")], "{{ b.anything }}"),
    ([apply(to_part)], "{% for b in chain_input %}{{ b.m }}{% endfor %}"),
]


@pytest.mark.parametrize(("branch", "template", "message"), WRONG)
def test_fields_of_a_joined_branch_are_checked_when_the_chain_is_built(
    branch: list[Any], template: str, message: str
) -> None:
    with pytest.raises(ChainError, match=message):
        prompt_of(branch, template)


@pytest.mark.parametrize(("branch", "template"), RIGHT)
def test_what_may_be_right_is_not_refused(branch: list[Any], template: str) -> None:
    prompt_of(branch, template)


def test_a_loop_over_an_empty_split_writes_nothing() -> None:
    chain = prompt_of([apply(upto)], "{{ n }}:{% for it in b %}{{ it.n }}{% endfor %}")
    with fake_engine("e", lambda _: {"n": 1}) as engine:
        assert chain.run([{"n": 0}, {"n": 2}]).counts.ok == 2
    assert sorted(messages[-1]["content"] for messages in engine.requests) == ["0:", "2:01"]


def test_the_yaml_form_splits_alike() -> None:
    assert ApplyNode(a_tuple).types.splits
    assert Chain(name="c", steps=[ApplyNode(a_tuple)]).run([{"n": 1}]).results[0].is_split
