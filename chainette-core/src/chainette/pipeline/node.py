"""What all nodes of a chain share, and the operators that put them in a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from chainette.errors import ChainError

if TYPE_CHECKING:
    from chainette.pipeline.chain import Chain

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
RESERVED = frozenset({"chain_input", "row_id", "item", "error", "dropped"})
"""Names that templates or output files use themselves."""


class Flow:
    """Something that stands in a chain; `>>` puts one after another, `|` beside another."""

    def __rshift__(self, other: Any) -> Pipe:
        """This, then the other."""
        return pipe(self, other)

    def __rrshift__(self, other: Any) -> Pipe:
        """The other, then this; for lists of branches on the left."""
        return pipe(other, self)

    def __or__(self, other: Any) -> Pipe:
        """Branches that run beside each other; what is no branch yet becomes one."""
        from chainette.pipeline.branch import as_branch

        beside = [*self.nodes()] if isinstance(self, Pipe) and self.parallel else [as_branch(self)]
        return Pipe([*beside, as_branch(other)], parallel=True)

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield self


class Pipe(Flow):
    """Nodes in a row, not yet a chain.

    Args:
        nodes: The nodes.
        parallel: They are branches beside each other.
    """

    def __init__(self, nodes: Iterable[Any], *, parallel: bool = False) -> None:
        self._nodes = list(nodes)
        self.parallel = parallel

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield from self._nodes

    def to_chain(self, name: str, *, emoji: str = "") -> Chain:
        """Make it a chain.

        Args:
            name: Name of the chain.
            emoji: Shown in front of the name.

        Raises:
            ChainError: The nodes do not fit together.
        """
        from chainette.pipeline.chain import Chain

        return Chain(name=name, steps=self._nodes, emoji=emoji)


def pipe(*parts: Any) -> Pipe:
    """Put steps, functions, branches and lists of branches in a row.

    Raises:
        ChainError: A part is none of them.
    """
    return Pipe(flattened(parts))


def flattened(parts: Iterable[Any]) -> list[Any]:
    """The nodes of pipes and lists, one after another."""
    nodes: list[Any] = []
    for part in parts:
        if isinstance(part, Flow):
            nodes += part.nodes()
        elif isinstance(part, list | tuple):
            nodes += flattened(part)
        else:
            raise ChainError(
                f"{part!r} is no step, no branch and no apply(…); wrap a function in apply(…)"
            )
    return nodes


class Node(Flow):
    """A node that turns a value into another one.

    Args:
        id: Name in templates and files; letters, digits and underscores.
        name: Title for people; the id by default.
        input_model: Type of what comes in.
        output_model: Type of what goes out.
        yield_output: Whether the output belongs to the run's results.
        emoji: Shown in front of the name.

    Raises:
        ChainError: The id is no name.
    """

    kind = ""

    def __init__(
        self,
        *,
        id: str,
        name: str,
        input_model: Any,
        output_model: Any,
        yield_output: bool,
        emoji: str,
    ) -> None:
        check_name(id, f"{self.kind} id")
        self.id = id
        self.name = name or id
        self.input_model = input_model
        self.output_model = output_model
        self.yield_output = yield_output
        self.emoji = emoji

    def needs(self, aliases: Iterable[str]) -> set[str]:
        """Which joined branches must be done before this node can run."""
        return set(aliases)


def check_name(name: str, what: str) -> None:
    """Refuse what cannot be a name in templates and files.

    Raises:
        ChainError: It cannot.
    """
    if not _ID.fullmatch(name) or name in RESERVED:
        raise ChainError(
            f"{what} {name!r}: use letters, digits and underscores, "
            f"and none of {', '.join(sorted(RESERVED))}"
        )


def fields_of(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and types of a model's fields; none for other types."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        for name, field in model.model_fields.items():
            yield name, field.annotation


def type_name(model: Any) -> str:
    """Name of a type, for people."""
    return model.__name__ if isinstance(model, type) else str(model).removeprefix("typing.")
