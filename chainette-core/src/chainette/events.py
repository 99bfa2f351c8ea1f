"""Events of a run: one frozen record for each thing that happens.

Progress, JSON logs, listeners and telemetry all receive the same records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

from chainette.usage import FREE, Usage

if TYPE_CHECKING:  # Pydantic is not needed to list engines
    from chainette.types import Message, SamplingParams

RowState: TypeAlias = Literal["ok", "partial", "dropped", "failed"]
"""The state of a row at its end; see `Result`."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node of the chain that runs.

    Attributes:
        id: Name in templates and files.
        title: Name for people, with the emoji.
        engine: Name of the engine that it prompts, or `None` for a function.
        in_main_flow: Whether it belongs to the main flow and not to a branch.
        on_groups: Whether it works on groups of rows.
    """

    id: str
    title: str
    engine: str | None
    in_main_flow: bool
    on_groups: bool = False


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run begins to take rows.

    Attributes:
        chain: Name of the chain.
        nodes: Its steps and functions, those of branches included.
        total: Number of input rows, or `None` where it is unknown.
    """

    chain: str
    nodes: tuple[NodeInfo, ...]
    total: int | None


@dataclass(frozen=True, slots=True)
class RowStarted:
    """A row enters the chain.

    Attributes:
        chain: Name of the chain.
        row_id: 0-based index of the input row.
        group: Key of the group, in telemetry alone, where it is one; `row_id` is -1 then.
    """

    chain: str
    row_id: int
    group: str | None = None


@dataclass(frozen=True, slots=True)
class NodeStarted:
    """An item arrives at a node; it will finish or fail there.

    Attributes:
        node_id: The node.
        row_id: The input row; -1 for a group.
        item: Path of the item among its siblings, such as `3.1`; empty for a whole row.
        group: Key of the group, for people; `None` for a row.
    """

    node_id: str
    row_id: int
    item: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class NodeFinished:
    """A node has an output for an item.

    Attributes:
        node_id: The node.
        row_id: The input row; -1 for a group.
        item: Path of the item among its siblings.
        usage: Tokens that it took, for a function those of its calls; `None` if there were no
            requests, and where the server does not say.
        seconds: Duration; 0 when the output comes from an earlier run.
        cost: US dollars that its requests cost; `None` where they are unknown.
        group: Key of the group, for people; `None` for a row.
    """

    node_id: str
    row_id: int
    item: str
    usage: Usage | None
    seconds: float
    cost: Decimal | None = FREE
    group: str | None = None


@dataclass(frozen=True, slots=True)
class NodeRetried:
    """A request of an item will be sent again.

    Attributes:
        node_id: The node.
        row_id: The input row; -1 for a group.
        item: Path of the item among its siblings.
        error: Why.
        seconds: Delay before it is sent.
        group: Key of the group, for people; `None` for a row.
    """

    node_id: str
    row_id: int
    item: str
    error: Exception
    seconds: float
    group: str | None = None


@dataclass(frozen=True, slots=True)
class CallFinished:
    """A function's call of an engine, or a sample of a step, has its answer, or has failed.

    Attributes:
        node_id: The function, or the step.
        row_id: The input row.
        item: Path of the item among its siblings.
        engine: Name of the engine.
        usage: Tokens that it took; `None` where the server does not say.
        seconds: Duration.
        cost: US dollars that its requests cost; `None` where they are unknown.
        error: Why there is no usable answer, or `None`.
    """

    node_id: str
    row_id: int
    item: str
    engine: str
    usage: Usage | None
    seconds: float
    cost: Decimal | None
    error: Exception | None


@dataclass(frozen=True, slots=True)
class NodeFailed:
    """An item failed in a node.

    Attributes:
        node_id: The node; empty for a row that could not be read.
        row_id: The input row; -1 for a group.
        item: Path of the item among its siblings.
        error: Why.
        is_tolerated: Whether the item goes on without the node's output.
        group: Key of the group, for people; `None` for a row.
    """

    node_id: str
    row_id: int
    item: str
    error: Exception
    is_tolerated: bool = False
    group: str | None = None


@dataclass(frozen=True, slots=True)
class RowFinished:
    """A row has reached its end.

    Attributes:
        row_id: The input row.
        state: `ok`, `partial`, `dropped` or `failed`; see `Result`.
        error: The reason why all of it failed, or `None`.
    """

    row_id: int
    state: RowState
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing in it failed, other than what the chain tolerates."""
        return self.state in ("ok", "dropped")


@dataclass(frozen=True, slots=True)
class GroupsStarted:
    """All rows have ended, and the groups of a `reduce` begin.

    Attributes:
        reduce_id: The id of the `reduce`.
        nodes: The nodes that its groups pass through.
        total: Number of groups.
    """

    reduce_id: str
    nodes: tuple[str, ...]
    total: int


@dataclass(frozen=True, slots=True)
class GroupFinished:
    """A group has reached its end.

    Attributes:
        reduce_id: The id of the `reduce`.
        group: Its key, for people.
        state: As in `RowFinished`.
        error: The reason why all of it failed, or `None`.
    """

    reduce_id: str
    group: str
    state: RowState
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing in it failed, other than what the chain tolerates."""
        return self.state in ("ok", "dropped")


@dataclass(frozen=True, slots=True)
class RunClosed:
    """The run is over and everything is written.

    Attributes:
        status: `finished`, `interrupted`, `stopped` or `failed`.
    """

    status: str


@dataclass(frozen=True, slots=True)
class RequestStarted:
    """A request is about to be sent; for telemetry alone, since a client knows nothing of runs.

    Attributes:
        engine: Name of the engine.
        backend: Name of its backend.
        model: Name of the model.
        address: Base URL of the server, or an empty string.
        messages: The conversation.
        sampling: The sampling parameters.
        is_typed: Whether the answer must fit an output type.
    """

    engine: str
    backend: str
    model: str
    address: str
    messages: list[Message]
    sampling: SamplingParams
    is_typed: bool


Event: TypeAlias = (
    RunStarted
    | RowStarted
    | NodeStarted
    | NodeFinished
    | NodeRetried
    | CallFinished
    | NodeFailed
    | RowFinished
    | GroupsStarted
    | GroupFinished
    | RunClosed
)
"""Everything that happens in a run."""
Listener: TypeAlias = Callable[[Event], None]
"""A function that receives events; it must be quick, because the run waits for it."""
