"""A route: one of several ways, by a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union, overload

from typing_extensions import TypeVar

from chainette.errors import ChainError
from chainette.pipeline.composites.composite import (
    Check,
    Composite,
    Scope,
    Steps,
    checked_flow,
    first_taken,
    last_given,
    main_nodes,
    may_split,
    union_of,
)
from chainette.pipeline.composites.keys import (
    Canonical,
    Key,
    KeyType,
    are_of_two_enums,
    canonical,
    field_type,
    key_type,
    shown,
)
from chainette.pipeline.nodes.annotations import returned_type
from chainette.pipeline.nodes.conditions import Condition, OnError
from chainette.pipeline.nodes.flow import I_, O_, Flow, In, Out, Parallel, Part, Split, flattened
from chainette.pipeline.nodes.options import RouteOptions
from chainette.pipeline.reasoning import REASONING
from chainette.text import did_you_mean, names_keywords

if TYPE_CHECKING:
    from typing_extensions import Unpack

New = TypeVar("New")


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the ways of a route.

    Attributes:
        key: Its key; of the default, nothing.
        nodes: Its nodes; none pass the item on as it is.
    """

    key: Any
    nodes: list[Any]


class Route(Composite[In, Out]):
    """One of several ways: the key of the item says which.

    Later nodes see the value of the way that was taken under the route's id, and never the nodes
    inside.

    Args:
        by: The function or the expression of the key.
        id: Name in templates and files.
        first: The first way.
        on_error: `none` to go on without an output where its way fails.
        options: See `RouteOptions`.

    Attributes:
        by: The function or the expression of the key.
        cases: The ways by their keys, in their order.
        otherwise_arm: The way of all other keys, or `None`.

    Raises:
        ChainError: A key or an option is wrong.
    """

    kind = "route"

    def __init__(
        self, by: Condition, *, id: str, first: Arm, on_error: OnError, options: RouteOptions
    ) -> None:
        super().__init__(
            id=id, input_model=Any, output_model=Any, options=options, on_error=on_error
        )
        self.by = by
        self.cases: list[Arm] = []
        self.otherwise_arm: Arm | None = None
        self._arms: dict[Canonical | None, Arm] = {}
        self._add(first)

    @overload
    def case(self: Route[I_, O_], key: Key, arm: tuple[()] | None) -> Route[I_, O_ | I_]: ...
    @overload
    def case(self: Route[I_, Any], key: Key, arm: Split[I_, Any]) -> Route[I_, Any]: ...
    @overload
    def case(self: Route[I_, O_], key: Key, arm: Flow[I_, New]) -> Route[I_, O_ | New]: ...
    @overload
    def case(
        self: Route[I_, Any], key: Key, arm: Parallel[Any] | Sequence[Any] | Steps
    ) -> Route[I_, Any]: ...
    def case(self, key: Any, arm: Any) -> Any:
        """Add a way.

        Args:
            key: The key: a text, a number, a truth value, a member of an enum, or `None`. An
                enum's member is also the key of its value.
            arm: What runs: a step, a function, a pipe, a chain or a list of them. `None` passes the
                item on as it is.

        Raises:
            ChainError: The key is there already, or is something else.
        """
        self._add(Arm(key, _nodes(arm, f"route {self.id!r}, case {shown(key)}")))
        return self

    @overload
    def default(self: Route[I_, O_], arm: tuple[()] | None) -> Route[I_, O_ | I_]: ...
    @overload
    def default(self: Route[I_, Any], arm: Split[I_, Any]) -> Route[I_, Any]: ...
    @overload
    def default(self: Route[I_, O_], arm: Flow[I_, New]) -> Route[I_, O_ | New]: ...
    @overload
    def default(
        self: Route[I_, Any], arm: Parallel[Any] | Sequence[Any] | Steps
    ) -> Route[I_, Any]: ...
    def default(self, arm: Any) -> Any:
        """Add the way of all other keys.

        Args:
            arm: What runs; see `case`.

        Raises:
            ChainError: There is one already.
        """
        if self.otherwise_arm is not None:
            raise ChainError(f"route {self.id!r} has two defaults")
        self.otherwise_arm = Arm(None, _nodes(arm, f"route {self.id!r}, default"))
        self._set_types()
        return self

    @property
    def arms(self) -> list[Arm]:
        """All ways, the default last."""
        return [*self.cases, *([self.otherwise_arm] if self.otherwise_arm is not None else [])]

    @property
    def flows(self) -> list[list[Any]]:
        """The nodes of each way."""
        return [arm.nodes for arm in self.arms]

    def label(self, arm: Arm) -> str:
        """The name of a way, for people."""
        if arm is self.otherwise_arm:
            return "default"
        key = arm.key.value if hasattr(arm.key, "value") else arm.key
        return str(key)

    def arm(self, key: Any) -> Arm | None:
        """The way of a key, the default where no case has it; `None` if there is none."""
        arm = self._arms.get(canonical(key))
        is_known = arm is not None and not are_of_two_enums(arm.key, key)
        return arm if is_known else self.otherwise_arm

    @property
    def gives_none(self) -> bool:
        """Whether the flow may go on with `None` behind it."""
        last = [main_nodes(flow)[-1:] for flow in self.flows]
        return super().gives_none or any(node.gives_none for nodes in last for node in nodes)

    @property
    def may_split(self) -> bool | None:
        """Whether a way splits its item; `None` if that is not certain."""
        return may_split(self.members())

    def end_needs(self, aliases: Iterable[str]) -> set[str]:
        """Nothing; see `Composite.end_needs`."""
        return set()

    def _uses(self, aliases: set[str]) -> set[str]:
        return self.by.needs(aliases)

    def check(self, scope: Scope, check: Check) -> Any:
        """Check its key and its ways; see `Composite.check`."""
        self.by.check(scope.current, scope.names, scope.elsewhere, scope.source)
        self._check_keys(scope)
        types: list[Any] = []
        for arm in self.arms:
            inner = scope.inner()
            types.append(check(arm.nodes, inner) if arm.nodes else scope.current)
            for name, hint in inner.elsewhere.items():
                scope.elsewhere.setdefault(name, hint)
            for name in inner.names.keys() - {*scope.names, REASONING}:
                hint = f"in route {self.id!r}: the value of the way that was taken is {self.id!r}"
                scope.elsewhere[name] = f" ({hint} here)"
        scope.source = self.id
        if self.output_model is Any:  # of nodes that pass on what comes in
            self.output_model = union_of(types)
        scope.names[self.id] = model = self._with_none(union_of(types))
        return model

    def _with_none(self, model: Any) -> Any:
        may_be_none = super().gives_none and model is not Any
        return Union[model, None] if may_be_none else model  # noqa: UP007

    def _check_keys(self, scope: Scope) -> None:
        """Check the cases against the keys that there can be, as far as they are known.

        Raises:
            ChainError: A case can never be, or a key has none.
        """
        found = key_type(self._key_annotation(scope))
        if found is None:
            return
        for arm in self.cases:
            if not found.allows(arm.key):
                raise ChainError(
                    f"{scope.where}: route {self.id!r}: {self.by.text} is never "
                    f"{shown(arm.key)}{_near(arm.key, found)}; it can be {_list(found)}"
                )
        missing = [key for key in found.known if self.arm(key) is None]
        if missing:
            keys = ", ".join(map(shown, missing))
            one = "it" if len(missing) == 1 else "each"
            raise ChainError(
                f"{scope.where}: route {self.id!r} has no case for {keys}; add one for {one}, or a "
                "default for all other keys; a default of None passes the item on"
            )

    def _key_annotation(self, scope: Scope) -> Any:
        """The type of the key; `Any` where it is not known."""
        if self.by.function is not None:
            return returned_type(self.by.function)
        assert self.by.expression is not None
        if not self.by.expression.path:
            return Any
        name, *path = self.by.expression.path
        if name in scope.names:
            return field_type(scope.names[name], path)
        return field_type(scope.current, [name, *path])

    def _add(self, arm: Arm) -> None:
        if (key := canonical(arm.key)) is None:
            raise ChainError(
                f"route {self.id!r}: the key of a case is {arm.key!r}; give a text, a number, "
                "True, False, None or a member of an enum"
            )
        known = self._arms.get(key)
        if known is not None:
            also = "" if known.key is arm.key else f", and {shown(known.key)} is the same key"
            raise ChainError(f"route {self.id!r} has two cases for {shown(arm.key)}{also}")
        self.cases.append(arm)
        self._arms[key] = arm
        self._set_types()

    def _set_types(self) -> None:
        self.input_model: Any = _input_of(self.flows)
        self.output_model: Any = union_of(last_given(flow, self.input_model) for flow in self.flows)


@names_keywords
class Cases(Part):
    """A route that has no ways yet.

    Args:
        by: The function or the expression of the key.
        id: Name in templates and files.
        on_error: `none` to go on without an output where its way fails.
        **options: See `route`.
    """

    def __init__(
        self,
        by: Callable[..., Any] | str,
        *,
        id: str,
        on_error: OnError = "fail",
        **options: Unpack[RouteOptions],
    ) -> None:
        self._by = Condition(by, f"route {id!r}, by")
        self._id = id
        self._on_error: OnError = on_error
        self._options = options

    @overload
    def case(self, key: Key, arm: tuple[()] | None) -> Route[Any, Any]: ...
    @overload
    def case(self, key: Key, arm: Split[I_, Any]) -> Route[I_, Any]: ...
    @overload
    def case(self, key: Key, arm: Flow[I_, New]) -> Route[I_, New]: ...
    @overload
    def case(self, key: Key, arm: Parallel[Any] | Sequence[Any] | Steps) -> Route[Any, Any]: ...
    def case(self, key: Any, arm: Any) -> Any:
        """Add the first way; see `Route.case`."""
        first = Arm(key, _nodes(arm, f"route {self._id!r}, case {shown(key)}"))
        route: Route[Any, Any] = Route(
            self._by, id=self._id, first=first, on_error=self._on_error, options=self._options
        )
        return route

    def __repr__(self) -> str:
        """The id; it has no ways yet."""
        return f"Cases({self._id!r})"

    def nodes(self) -> Iterator[Any]:
        """Nothing: a route without ways cannot be in a chain.

        Raises:
            ChainError: Always.
        """
        raise ChainError(f"route {self._id!r} has no cases; add .case(key, step)")


def route(
    by: Callable[..., Any] | str,
    *,
    id: str,
    on_error: OnError = "fail",
    **options: Unpack[RouteOptions],
) -> Cases:
    """One of several ways, by the key of the item: `route("label", id="kind").case("refund", a)`.

    Args:
        by: The key: a function of the item, or of the item and the names; or a template expression,
            such as the name of a field.
        id: Name in templates and files; later nodes see the value of the way that was taken.
        on_error: `none` to go on without an output where its way fails, or there is none.
        **options: `name`, `yield_output`, `emoji` and `when`, as in `Step`.

    Raises:
        ChainError: The key or an option is wrong.
    """
    return Cases(by, id=id, on_error=on_error, **options)


def _nodes(arm: Any, where: str) -> list[Any]:
    """The nodes of a way; of `None`, none."""
    return [] if arm is None else checked_flow(flattened(arm), where)


def _input_of(flows: Iterable[list[Any]]) -> Any:
    """The type that all ways take; where they differ, the one that is all others, or a union."""
    firsts = [first_taken(main) for flow in flows if (main := main_nodes(flow))]
    models = [it for it in dict.fromkeys(firsts) if it is not Any]
    for model in models:
        if all(_is_subclass(model, other) for other in models):
            return model
    return union_of(models)


def _is_subclass(model: Any, other: Any) -> bool:
    if model is other:
        return True
    return isinstance(model, type) and isinstance(other, type) and issubclass(model, other)


def _near(key: Any, found: KeyType) -> str:
    keys = filter(None, map(canonical, found.known))
    return did_you_mean(str(key), [text for kind, text in keys if kind == "text"])


def _list(found: KeyType) -> str:
    kinds = {"text": "any text", "number": "any number"}
    return ", ".join([*map(shown, found.known), *(kinds[kind] for kind in sorted(found.kinds))])
