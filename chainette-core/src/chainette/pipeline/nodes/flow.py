"""Flows: nodes in a row, branches beside them, and the operators that combine them.

Types flow with the values: `a >> b` is a `Pipe` from what `a` takes to what `b` gives, and type
checkers refuse it where the two do not fit.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import Self, TypeVar

from chainette.errors import ChainError
from chainette.messages.brief import cut
from chainette.pipeline.nodes.conditions import (
    NOT_GIVEN,
    Condition,
    Fallback,
    condition,
    tolerance,
)
from chainette.pipeline.nodes.naming import KINDS, check_name, check_title
from chainette.pipeline.nodes.options import BranchOptions
from chainette.text import names_keywords, with_article

if TYPE_CHECKING:
    from typing_extensions import Unpack

In = TypeVar("In", contravariant=True, default=Any)
Out = TypeVar("Out", covariant=True, default=Any)
Row = TypeVar("Row", covariant=True, default=Any)
I_ = TypeVar("I_")
O_ = TypeVar("O_")
R_ = TypeVar("R_")
Next = TypeVar("Next")


class Part:
    """A part of a chain."""

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield self

    def __repr__(self) -> str:
        """Its nodes."""
        return cut(f"{type(self).__name__}({', '.join(map(repr, self.nodes()))})", 280)


class Flow(Part, Generic[In, Out]):
    """A part of a chain that turns one value into another.

    `>>` puts another part after it, `|` makes branches of it and of another part.
    """

    @overload
    def __rshift__(self, other: Parallel[Out] | Sequence[Parallel[Out]]) -> Pipe[In, Out]: ...
    @overload
    def __rshift__(self: Flow[I_, O_], other: Grouped[O_, Any, Next]) -> Grouped[I_, O_, Next]: ...
    @overload
    def __rshift__(self, other: Passing[Out]) -> Pipe[In, Out]: ...
    @overload
    def __rshift__(self: Flow[I_, list[O_]], other: Choosing) -> Pipe[I_, O_]: ...
    @overload
    def __rshift__(self, other: Split[Out, Next]) -> Split[In, Next]: ...
    @overload
    def __rshift__(self, other: Flow[Out, Next]) -> Pipe[In, Next]: ...
    def __rshift__(self, other: Any) -> Any:
        """This part, then the other."""
        return _joined(self, other)

    def __rrshift__(self, other: Sequence[Parallel[In]]) -> Pipe[In, Out]:
        """The branches, then this part."""
        return pipe(other, self)

    @overload
    def __or__(self: Flow[I_, Any], other: Flow[I_, Any] | Parallel[I_]) -> Parallel[I_]: ...
    @overload
    def __or__(  # pyright: ignore[reportOverlappingOverload]
        self, other: Flow[Any, Any] | Parallel[Any]
    ) -> Parallel[Any]: ...
    def __or__(self, other: Any) -> Any:
        """Branches that run beside each other; a part that is not a branch becomes one."""
        return Parallel([*_branches(self), *_branches(other)])


class Passing(Flow[I_, I_]):
    """A part that passes its input on as it is, or drops it."""


class Choosing(Flow[list[Any], Any]):
    """A part that passes one of the list on that comes in."""


class Pipe(Flow[In, Out]):
    """Nodes in a row, not yet a chain.

    Args:
        nodes: The nodes.
    """

    def __init__(self, nodes: Iterable[Any]) -> None:
        self._nodes = list(nodes)

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield from self._nodes


class Split(Pipe[In, Out]):
    """Nodes in a row, one of which splits its input; what follows runs for each item."""

    @overload  # type: ignore[override]  # groups hold items; the rows' value is a list of them
    def __rshift__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, other: Parallel[Out] | Sequence[Parallel[Out]]
    ) -> Split[In, Out]: ...
    @overload
    def __rshift__(
        self: Split[I_, O_], other: Grouped[O_, Any, Next]
    ) -> Grouped[I_, list[O_], Next]: ...
    @overload
    def __rshift__(self, other: Passing[Out]) -> Split[In, Out]: ...
    @overload
    def __rshift__(self: Split[I_, list[O_]], other: Choosing) -> Split[I_, O_]: ...
    @overload
    def __rshift__(self, other: Split[Out, Next]) -> Split[In, Next]: ...
    @overload
    def __rshift__(self, other: Flow[Out, Next]) -> Split[In, Next]: ...
    def __rshift__(self, other: Any) -> Any:
        """This part, then the other."""
        return _joined(self, other)


class Grouped(Part, Generic[In, Row, Out]):
    """Nodes in a row, one of which takes groups of rows; what follows works on groups.

    Its types are those of what it takes, of the rows' value in front of the groups, and of what it
    gives for a group.

    Args:
        nodes: The nodes.
    """

    def __init__(self, nodes: Iterable[Any]) -> None:
        self._nodes = list(nodes)

    @overload
    def __rshift__(
        self, other: Parallel[Out] | Sequence[Parallel[Out]]
    ) -> Grouped[In, Row, Out]: ...
    @overload
    def __rshift__(self, other: Grouped[Out, Any, Next]) -> Grouped[In, Row, Next]: ...
    @overload
    def __rshift__(self, other: Passing[Out]) -> Grouped[In, Row, Out]: ...
    @overload
    def __rshift__(self: Grouped[I_, R_, list[O_]], other: Choosing) -> Grouped[I_, R_, O_]: ...
    @overload
    def __rshift__(self, other: Flow[Out, Next]) -> Grouped[In, Row, Next]: ...
    def __rshift__(self, other: Any) -> Any:
        """This part, then the other."""
        return Grouped(flattened([self, other]))

    def nodes(self) -> Iterator[Any]:
        """The nodes, one after another."""
        yield from self._nodes


class Parallel(Part, Generic[In]):
    """Branches beside each other; the flow that they are in continues with its own value.

    Args:
        branches: The branches.
    """

    def __init__(self, branches: Iterable[Branch[Any, Any]]) -> None:
        self._branches = list(branches)

    @overload
    def __rshift__(self: Parallel[I_], other: Parallel[I_]) -> Parallel[I_]: ...
    @overload
    def __rshift__(self: Parallel[I_], other: Grouped[I_, R_, O_]) -> Grouped[I_, R_, O_]: ...
    @overload
    def __rshift__(self: Parallel[I_], other: Split[I_, O_]) -> Split[I_, O_]: ...
    @overload
    def __rshift__(self: Parallel[I_], other: Flow[I_, O_]) -> Pipe[I_, O_]: ...
    def __rshift__(self, other: Any) -> Any:
        """The branches, then the other part."""
        return _joined(self, other)

    @overload
    def __or__(self: Parallel[I_], other: Flow[I_, Any] | Parallel[I_]) -> Parallel[I_]: ...
    @overload
    def __or__(  # pyright: ignore[reportOverlappingOverload]
        self, other: Flow[Any, Any] | Parallel[Any]
    ) -> Parallel[Any]: ...
    def __or__(self, other: Any) -> Any:
        """Branches that run beside each other; a part that is not a branch becomes one."""
        return Parallel([*_branches(self), *_branches(other)])

    def nodes(self) -> Iterator[Any]:
        """The branches."""
        yield from self._branches


class Same(Parallel[Any]):
    """What type checkers take an expression's `filter` or `distinct` for.

    As branches do, it lets the type of the flow that it is in pass.
    """

    id: str

    @overload  # type: ignore[override]
    def __rshift__(self, other: Same) -> Same: ...
    @overload
    def __rshift__(self, other: Parallel[I_]) -> Parallel[I_]: ...
    @overload
    def __rshift__(self, other: Grouped[I_, R_, O_]) -> Grouped[I_, R_, O_]: ...
    @overload
    def __rshift__(self, other: Split[I_, O_]) -> Split[I_, O_]: ...
    @overload
    def __rshift__(self, other: Flow[I_, O_]) -> Pipe[I_, O_]: ...
    def __rshift__(self, other: Any) -> Any:
        """This part, then the other."""
        return _joined(self, other)


@names_keywords
class Branch(Parallel[In], Generic[In, Out]):
    """Nodes that take the current value of their flow and run beside it.

    The flow continues with its own value. `join` brings the branch's last output back under a name;
    without it, a branch only adds its outputs to the results.

    Args:
        name: Name of the branch.
        steps: Its nodes.
        emoji: Shown in front of the name.
        when: The condition under which it runs, as in `Step`. Otherwise it joins as `None`.
        on_error: `none` to join as `None` where it fails.
        default: The value to join where it fails.

    Attributes:
        condition: The condition under which it runs, or `None`.
        tolerance: The value to join where it fails; `None` if its failures fail the row.

    Raises:
        ChainError: There are no steps, or an option is wrong.
    """

    kind = "branch"

    @overload
    def __init__(
        self: Branch[I_, list[O_]],
        name: str,
        steps: Split[I_, O_],
        **options: Unpack[BranchOptions],
    ) -> None: ...
    @overload
    def __init__(
        self: Branch[I_, O_], name: str, steps: Flow[I_, O_], **options: Unpack[BranchOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: Branch[Any, Any],
        name: str,
        steps: Sequence[Any] | Part,
        **options: Unpack[BranchOptions],
    ) -> None: ...
    def __init__(self, name: str, steps: Any, **options: Unpack[BranchOptions]) -> None:
        check_title(name, "branch: name")
        where, on_error = f"branch {name!r}", options.get("on_error", "fail")
        self.name = name
        self.steps: list[Any] = flattened(steps)
        self.emoji: str = options.get("emoji", "")
        self.alias: str | None = None
        self.condition: Condition | None = condition(options.get("when"), where)
        self.tolerance: Fallback | None = tolerance(
            on_error, options.get("default", NOT_GIVEN), Any, where
        )
        if not self.steps:
            raise ChainError(f"branch {name!r} has no steps")

    def join(self, alias: str) -> Self:
        """Give later nodes the branch's last output under a name; after a split, all last outputs.

        Args:
            alias: The name. It can be the id of a step of the branch.

        Raises:
            ChainError: The name is not valid, or the branch has one already.
        """
        check_name(alias, f"branch {self.name!r}: alias")
        if self.alias is not None:
            raise ChainError(f"branch {self.name!r} is joined already, as {self.alias!r}")
        self.alias = alias
        return self

    def nodes(self) -> Iterator[Any]:
        """The branch itself."""
        yield self

    @property
    def input_model(self) -> Any:
        """Input type of its first node."""
        return self.steps[0].input_model

    @property
    def first_node(self) -> Any:
        """The first node, of its first branch if it begins with one."""
        first = self.steps[0]
        return first.first_node if isinstance(first, Branch) else first

    def __repr__(self) -> str:
        """The name, and the alias if it is joined."""
        joined = f", joined as {self.alias!r}" if self.alias else ""
        noun = "step" if len(self.steps) == 1 else "steps"
        return f"Branch({self.name!r}, {len(self.steps)} {noun}{joined})"


def pipe(*parts: Any) -> Pipe[Any, Any]:
    """Put steps, functions, branches and lists of branches in a row.

    The types of `a >> b` flow; those of `pipe(a, b)` are unknown.

    Raises:
        ChainError: A part is something else.
    """
    return Pipe(flattened(parts))


def flattened(parts: Any) -> list[Any]:
    """The nodes of flows, of lists of them and of whole chains, one after another.

    A chain is recognised by its list of steps.

    Raises:
        ChainError: A part is something else.
    """
    if isinstance(parts, Part):
        return list(parts.nodes())
    if isinstance(parts, list | tuple):
        return [node for part in parts for node in flattened(part)]
    steps = getattr(parts, "steps", None)
    if isinstance(steps, list):
        return flattened(steps)
    raise ChainError(_about(parts))


def _about(part: Any) -> str:
    """The advice about something that is not a part of a chain."""
    message = f"{reprlib.repr(part)} is not a node of a chain"
    if part is None:
        return f"{message}; what was to make it may have returned nothing"
    if isinstance(part, str):
        return f"{message}; give the step itself, not its id"
    if isinstance(part, type) and issubclass(part, Part):
        return f"{part.__name__} is the class; give a {part.__name__}(…)"
    if isinstance(part, type):
        return f"{message}; {KINDS}"
    if callable(part):
        name = getattr(part, "__name__", "")
        lambda_hint = ", id=…" if name == "<lambda>" else ""
        shown = name if name.isidentifier() else "function"
        return f"{shown!r} is a function, not a step; wrap it: apply({shown}{lambda_hint})"
    if isinstance(part, Iterator | dict | AbstractSet):
        kind = type(part).__name__
        return f"the steps are {with_article(kind)}, not a list; give [a, b] in their order"
    return f"{message}; {KINDS}"


def _joined(first: Any, second: Any) -> Part:
    """Two parts in a row."""
    nodes = flattened([first, second])
    if all(isinstance(node, Branch) for node in nodes):
        return Parallel(nodes)
    if isinstance(second, Grouped):
        return Grouped(nodes)
    if any(isinstance(part, Split) for part in (first, second)):
        return Split(nodes)
    return Pipe(nodes)


def _branches(part: Any) -> list[Branch[Any, Any]]:
    """The part as branches; a part that is not a branch becomes one, named after its last node.

    Raises:
        ChainError: The part is neither a step nor a pipe.
    """
    nodes = flattened([part])
    if isinstance(part, Parallel):
        return nodes
    last = next((node for node in reversed(nodes) if not isinstance(node, Branch)), None)
    if last is None:
        raise ChainError("put parallel branches beside each other, as in a >> (b | c | d)")
    return [Branch(name=last.id, steps=nodes)]
