"""A repeat: nodes that run again until their output is good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, get_args, overload

from pydantic import BaseModel

from chainette.errors import ChainError
from chainette.pipeline.composites.composite import (
    ROUND_NAMES,
    Check,
    Composite,
    Scope,
    Steps,
    checked_flow,
    first_taken,
    last_given,
    main_nodes,
)
from chainette.pipeline.composites.feedback import warn_of_unused
from chainette.pipeline.nodes.apply import ApplyNode, sees_all
from chainette.pipeline.nodes.conditions import NOT_GIVEN, Condition, OnError
from chainette.pipeline.nodes.flow import I_, O_, Branch, Flow, In, Out, Parallel, flattened
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.options import RepeatOptions
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.reasoning import REASONING
from chainette.text import names_keywords

if TYPE_CHECKING:
    from typing_extensions import Unpack

Answer: TypeAlias = bool | str | None
"""What `until` returns: `None` or `True` for good, `False` for not, or the feedback."""
Exhausted: TypeAlias = Literal["fail", "last"]
Said: TypeAlias = Answer | Awaitable[Answer]
Until: TypeAlias = (
    Callable[[O_], Said] | Callable[[O_, Mapping[str, Any]], Said] | Step[O_, Any] | str
)
"""Says whether an output is good: a function, a step as judge, or a template expression."""


class Rounds(BaseModel):
    """The rounds of a repeat, for one item.

    Attributes:
        rounds: The number of rounds.
        passed: Whether the last one was good.
        feedback: What was wrong in the last one, if it was not good and that is known.
    """

    rounds: int
    passed: bool
    feedback: str | None = None


@names_keywords
class Repeat(Composite[In, Out]):
    """Nodes that run again, with feedback, until their output is good.

    Every round gets the same input. The prompts, functions and conditions inside see `previous`,
    the output of the round before, `feedback`, what was wrong with it, and `round`, 1 in the first.
    Later nodes see the outputs of the last round, and under the repeat's id its `Rounds`.

    Args:
        body: The nodes.
        until: Says whether the output of a round is good; without it, every round runs.
        id: Name in templates and files.
        otherwise: The output where `when` does not hold, in place of the input itself.
        on_error: `none` to go on without an output where it fails.
        **options: See `repeat`.

    Attributes:
        body: The nodes.
        until: The function or the expression; `None` if there is a judge, or neither.
        judge: The step that judges the output, or `None`.
        max_rounds: The most rounds; where nothing says which is good, their number.
        exhausted: Whether the item fails without a good round, or goes on with the last one.

    Raises:
        ChainError: The nodes cannot be repeated, or an option is wrong.
    """

    kind = "repeat"
    comes_first = False
    repeats = True

    def __init__(
        self,
        body: Any,
        *,
        id: str,
        until: Any = NOT_GIVEN,
        otherwise: Any = NOT_GIVEN,
        on_error: OnError = "fail",
        **options: Unpack[RepeatOptions],
    ) -> None:
        where = f"repeat {id!r}"
        self.body: list[Any] = checked_flow(flattened(body), where)
        if not self.body:
            raise ChainError(f"{where} has no steps")
        main = main_nodes(self.body)
        super().__init__(
            id=id,
            input_model=first_taken(main),
            output_model=last_given(main, Any),
            options=options,
            otherwise=otherwise,
            on_error=on_error,
        )
        self.judge: Step[Any, Any] | None = until if isinstance(until, Step) else None
        is_counted = until is NOT_GIVEN
        if is_counted:
            _check_count(options, where)
        has_condition = self.judge is None and not is_counted
        self.until: Condition | None = _condition(until, where) if has_condition else None
        self.max_rounds: int = _checked_rounds(options.get("max_rounds", 4), where)
        self.exhausted: Exhausted = options.get("exhausted", "fail")
        if self.exhausted not in ("fail", "last"):
            raise ChainError(f"{where}: exhausted is {self.exhausted!r}; give 'fail' or 'last'")
        self._is_checked = False
        _check_body(self.body, where)
        if self.judge is not None:
            _check_judge(self.judge, where)

    @property
    def flows(self) -> list[list[Any]]:
        """The body, and the judge."""
        return [self.body, [self.judge]] if self.judge is not None else [self.body]

    @property
    def is_counted(self) -> bool:
        """Whether all of its rounds run: nothing says whether one is good."""
        return self.judge is None and self.until is None

    @property
    def recorded_model(self) -> Any:
        """Its rounds; see `Node.recorded_model`."""
        return Rounds

    @property
    def last(self) -> Node:
        """The node of the body whose output is that of a round."""
        return main_nodes(self.body)[-1]

    @property
    def gives_none(self) -> bool:
        """Whether the flow may go on with `None` behind it."""
        return super().gives_none or self.last.gives_none

    @property
    def may_be_left(self) -> bool:
        """Whether the flow may go on without outputs of its nodes."""
        return self.condition is not None or self.tolerance is not None

    def end_needs(self, aliases: Iterable[str]) -> set[str]:
        """The joined branches that the end of a round may look at; see `Composite.end_needs`."""
        asked = self.judge or self.until
        return asked.needs(aliases) if asked is not None else set()

    def _uses(self, aliases: set[str]) -> set[str]:
        return set()

    def visible(self) -> list[str]:
        """The names of the body that later nodes see."""
        return _visible(self.body)

    def check(self, scope: Scope, check: Check) -> Any:
        """Check its nodes and its end; see `Composite.check`."""
        if not self._is_checked and self.max_rounds > 1:
            self._is_checked = True
            warn_of_unused(self.id, self.body, self.until, is_counted=self.is_counted)
        previous, feedback = Union[self.output_model, None], Union[str, None]  # noqa: UP007
        inner = scope.inner(previous=previous, feedback=feedback, round=int)
        last = check(self.body, inner)
        at_end = inner.inner()
        at_end.current, at_end.before = last, self.last
        at_end.source = value_node(self).id
        if self.judge is not None:
            check([self.judge], at_end)
        elif self.until is not None:
            self.until.check(last, at_end.names, at_end.elsewhere, at_end.source)
        scope.elsewhere.update(at_end.elsewhere)
        for name in at_end.names.keys() - {*ROUND_NAMES, *scope.names}:
            scope.names[name] = self._or_none(at_end.names[name])
        if REASONING in at_end.names:
            scope.names[REASONING] = at_end.names[REASONING]
        scope.names[self.id] = Union[Rounds, None] if self.condition is not None else Rounds  # noqa: UP007
        scope.source = at_end.source
        may_be_none = super().gives_none and last is not Any
        return Union[last, None] if may_be_none else last  # noqa: UP007

    def _or_none(self, model: Any) -> Any:
        """The type of a value of the body, for later nodes."""
        return Union[model, None] if self.may_be_left and model is not Any else model  # noqa: UP007


@overload
def repeat(
    body: Flow[I_, O_],
    *,
    until: Until[O_] = ...,
    id: str,
    on_error: Literal["none"],
    otherwise: Any = ...,
    **options: Unpack[RepeatOptions],
) -> Repeat[I_, O_ | None]: ...
@overload
def repeat(
    body: Flow[I_, O_],
    *,
    until: Until[O_] = ...,
    id: str,
    on_error: Literal["fail"] = ...,
    otherwise: Any = ...,
    **options: Unpack[RepeatOptions],
) -> Repeat[I_, O_]: ...
@overload
def repeat(
    body: Parallel[Any] | Sequence[Any] | Steps,
    *,
    until: Until[Any] = ...,
    id: str,
    on_error: OnError = ...,
    otherwise: Any = ...,
    **options: Unpack[RepeatOptions],
) -> Repeat[Any, Any]: ...
def repeat(body: Any, **options: Any) -> Any:
    """Run nodes again, with feedback, until their output is good.

    Args:
        body: A step, a function, a pipe, a chain or a list of them; it cannot split its item.
        until: Says whether an output is good: a function of the output, or of the output and the
            names, that returns `None` or `True` if it is, `False` if it is not, or the feedback; a
            step as judge, whose output has `ok` and `feedback`; or a template expression.
            Without it, all of `max_rounds` run.
        id: Name in templates and files.
        max_rounds: Maximum number of rounds; 4 by default.
        exhausted: Whether the item fails without a good round (`fail`), or goes on with the last
            one (`last`).
        **options: These, and `name`, `yield_output`, `emoji`, `when`, `otherwise`, `on_error` and
            `default`, as in `Step`.

    Raises:
        ChainError: The nodes cannot be repeated, or an option is wrong.
    """
    made: Repeat[Any, Any] = Repeat(body, **options)
    return made


def value_node(node: Node) -> Node:
    """The node whose output is the value of a node: of a repeat, one of its body."""
    while isinstance(node, Repeat):
        node = node.last
    return node


def may_give_other(node: Node) -> bool:
    """Whether the value of a node may be something else than the output of its `value_node`."""
    while isinstance(node, Repeat):
        if node.may_be_left:
            return True
        node = node.last
    return False


def _condition(until: Any, where: str) -> Condition:
    if isinstance(until, Node):
        raise ChainError(
            f"{where}: until is the {until.kind} {until.id!r}; give a function itself, without "
            "apply(…), or a step as judge"
        )
    return Condition(until, f"{where}, until")


def _checked_rounds(count: Any, where: str) -> int:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ChainError(f"{where}: max_rounds is {count!r}; give a number from 1")
    return count


def _check_count(options: RepeatOptions, where: str) -> None:
    """Check that a repeat without `until` says how many rounds it has.

    Raises:
        ChainError: It does not, or says what is for one that may be exhausted.
    """
    if "max_rounds" not in options:
        raise ChainError(
            f"{where} has no end: give until=…, or max_rounds=… for exactly that many rounds"
        )
    if "exhausted" in options:
        raise ChainError(
            f"{where}: exhausted is for a repeat with until; without one, all rounds run, and the "
            "last one counts"
        )


def _check_body(body: list[Any], where: str) -> None:
    """Check that nodes can run several times for one item.

    Raises:
        ChainError: They split it, or wait for all rows.
    """
    for node in _functions(body, in_branches=False):
        if node.types.splits:
            raise ChainError(
                f"{where}: {node.kind} {node.id!r} splits its item, and a repeat goes on with one: "
                "let it run in a branch that is joined, or behind the repeat"
            )
    for node in _functions(body, in_branches=True):
        if node.batch == "all":
            raise ChainError(
                f"{where}: {node.kind} {node.id!r} {sees_all(node)}, but rows are not in the same "
                "round at the same time; put it behind the repeat"
            )


def _functions(nodes: Iterable[Any], *, in_branches: bool) -> list[ApplyNode]:
    found: list[ApplyNode] = []
    for node in nodes:
        if isinstance(node, Composite):
            found += _functions(node.members(), in_branches=in_branches)
        elif isinstance(node, Branch):
            found += _functions(node.steps, in_branches=True) if in_branches else []
        elif isinstance(node, ApplyNode):
            found.append(node)
    return found


def _check_judge(judge: Step[Any, Any], where: str) -> None:
    """Check that a step can be a judge.

    Raises:
        ChainError: Its output has no `ok` and `feedback`, or there may be none.
    """
    model = judge.output_model
    fields = model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}
    feedback: Any = fields["feedback"].annotation if "feedback" in fields else None
    texts = {*(get_args(feedback) or (feedback,))} - {type(None)}
    if "ok" not in fields or fields["ok"].annotation is not bool or texts != {str}:
        raise ChainError(
            f"{where}: the judge {judge.id!r} gives {type_name(model)}; give it an output model "
            "that has ok: bool and feedback: str"
        )
    if judge.gives_none or (judge.condition is not None and judge.skipped is None):
        raise ChainError(
            f"{where}: the judge {judge.id!r} may give nothing; give default=… or otherwise=… with "
            "a verdict"
        )


def _visible(nodes: Iterable[Any]) -> list[str]:
    found: list[str] = []
    for node in nodes:
        if isinstance(node, Repeat):
            found += node.visible()
        if isinstance(node, Branch):
            found += [node.alias] if node.alias is not None else []
        else:
            found.append(node.id)
    return found
