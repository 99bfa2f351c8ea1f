"""Validation of a chain: whether its nodes fit together."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from chainette.engine.structured.text import base_of
from chainette.errors import ChainError
from chainette.pipeline.composites.composite import (
    ROUND_NAMES,
    Composite,
    End,
    Scope,
    given,
    may_split,
    recorded,
)
from chainette.pipeline.composites.fold import forgetful_steps
from chainette.pipeline.composites.group import Group, GroupName, element_of, is_group
from chainette.pipeline.composites.reduce import Reduce
from chainette.pipeline.functions.parameters import ROW_ID
from chainette.pipeline.nodes.annotations import is_several
from chainette.pipeline.nodes.apply import ApplyNode
from chainette.pipeline.nodes.conditions import fallback
from chainette.pipeline.nodes.flow import Branch
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.node import Node
from chainette.pipeline.nodes.step import Step
from chainette.pipeline.reasoning import REASONING, ReasoningType
from chainette.pipeline.words.word import Word

GROUP_HINTS = {
    **{name: f" ({hint.lstrip(': ')})" for name, hint in GroupName.missing.items()},
    "key": " (behind the first node of a reduce, it is group.key)",
    "row_ids": " (behind the first node of a reduce, they are group.row_ids)",
}
"""Hints for names that only the first node of a `reduce` sees."""
_UNIONS = (Union, types.UnionType)


def validate(name: str, nodes: list[Any], input_model: Any) -> None:
    """Check the nodes of a chain.

    Args:
        name: Name of the chain.
        nodes: Its nodes.
        input_model: Type of the input rows.

    Raises:
        ChainError: Names clash, types do not fit, or a prompt uses an unknown name.
    """
    where = f"chain {name!r}"
    if not nodes:
        raise ChainError(f"{where} has no steps")
    _check_places(where, nodes)
    _check_uses(where, nodes)
    _check_names(where, nodes)
    _check_first(where, nodes)
    if not any(node.yield_output or node.passes_on for node in all_nodes(nodes)):
        raise ChainError(f"{where}: no step has yield_output=True")
    hints = dict.fromkeys(ROUND_NAMES, " (only the nodes of a repeat see it)")
    _check_flow(nodes, Scope(where, input_model, {"chain_input": input_model}, hints))


def all_nodes(nodes: Iterable[Any]) -> Iterator[Node]:
    """Steps, functions, routes and repeats, including those in others and in branches."""
    for node in nodes:
        if isinstance(node, Branch | Reduce):
            yield from all_nodes(node.steps)
        elif isinstance(node, Composite):
            yield from (node,) if node.comes_first else ()
            yield from all_nodes(node.members())
            yield from () if node.comes_first else (node,)
        else:
            yield node.composite if isinstance(node, End) else node


def all_branches(nodes: Iterable[Any]) -> Iterator[Branch]:
    """Branches, including nested ones."""
    for node in nodes:
        if isinstance(node, Branch):
            yield node
        if isinstance(node, Branch | Reduce):
            yield from all_branches(node.steps)
        elif isinstance(node, Composite):
            yield from all_branches(node.members())


def all_reduces(nodes: Iterable[Any]) -> Iterator[Reduce[Any, Any]]:
    """The parts that bring rows together, in the chain's order."""
    return (node for node in nodes if isinstance(node, Reduce))


def _check_names(where: str, nodes: list[Any]) -> None:
    ids: dict[str, str] = {}
    for node in all_nodes(nodes):
        if node.id in ids:
            count = sum(other.id == node.id for other in all_nodes(nodes))
            raise ChainError(f"{where}: {count} steps have the id {node.id!r}; give each its own")
        ids[node.id] = f"the id of a {node.kind}"
    for part in all_reduces(nodes):
        if part.id in ids and part.id != part.last.id:
            raise ChainError(f"{where}: reduce {part.id!r} has the name that is {ids[part.id]}")
        ids[part.id] = f"the id of a {part.kind}"
    branch_names: set[str] = set()
    for branch in all_branches(nodes):
        if branch.name in branch_names:
            raise ChainError(f"{where}: two branches have the name {branch.name!r}")
        branch_names.add(branch.name)
        is_own = any(node.id == branch.alias for node in all_nodes(branch.steps))
        if branch.alias in ids and not (is_own and ids[branch.alias].startswith("the id")):
            raise ChainError(
                f"{where}: branch {branch.name!r} is joined as {branch.alias!r}, "
                f"which is {ids[branch.alias]}"
            )
        if branch.alias is not None:
            ids[branch.alias] = f"the alias of branch {branch.name!r}"


def _check_uses(where: str, nodes: list[Any]) -> None:
    """Check that no object is in the chain twice.

    Raises:
        ChainError: One is.
    """
    parts: list[Node | Branch] = [*all_branches(nodes), *all_nodes(nodes)]
    for part in parts:
        uses = sum(it is part for it in parts)
        if uses > 1:
            keyword = "name" if isinstance(part, Branch) else "id"
            raise ChainError(
                f"{where}: the same {part.kind} {getattr(part, keyword)!r} is in it {uses} times; "
                f"make another one, with another {keyword}, for each place"
            )


def _check_flow(nodes: list[Any], scope: Scope) -> Any:
    """Check nodes one after another, and return the output type of the last one.

    Args:
        nodes: The nodes.
        scope: What the first one sees; what the last one gives is noted in it.
    """
    where = scope.where
    for index, node in enumerate(nodes):
        if isinstance(node, Branch):
            _check_branch(node, scope)
            continue
        if isinstance(node, Reduce):
            _check_none(node, scope)
            return _check_groups(nodes[index:], scope)
        if isinstance(node, Word):
            node.bind(scope)
        if not (_fits(scope.current, node.input_model) or isinstance(node, Composite)):
            before = scope.before
            previous = f"{before.kind} {before.id!r}" if before is not None else scope.origin
            raise ChainError(
                f"{where}: {node.kind} {node.id!r} takes {type_name(node.input_model)}, but "
                f"{previous} gives {type_name(scope.current)}{_about_input(node, scope.current)}"
            )
        _check_options(node, scope)
        if isinstance(node, Composite):
            scope.current = node.check(scope, _check_flow)
        else:
            if isinstance(node, Step):
                node.check_prompts(scope.names, scope.elsewhere, source=scope.source)
            if isinstance(node, Word):
                node.check_names(scope)
            scope.current = given(node)
            scope.names[node.id] = recorded(node)
            scope.source = node.id
            if isinstance(node, Step):
                known = scope.names.get(REASONING, ReasoningType())
                scope.names[REASONING] = known.after(node.id)
        scope.before = node
    return scope.current


def _check_branch(branch: Branch, scope: Scope) -> None:
    """Check a branch, and note what later nodes see of it.

    Raises:
        ChainError: Its nodes do not fit together.
    """
    if branch.condition is not None:
        branch.condition.check(scope.current, scope.names, scope.elsewhere, scope.source)
    inner = scope.inner()
    inner.before = None
    last = _check_flow(branch.steps, inner)
    for node in all_nodes(branch.steps):
        joined = f"its last output is {branch.alias!r} here" if branch.alias else "join it"
        scope.elsewhere[node.id] = f" (a step of branch {branch.name!r}: {joined})"
    if branch.alias is not None:
        scope.names[branch.alias] = _joined(branch, last)


def _check_options(node: Node, scope: Scope) -> None:
    """Check that a node's condition can be asked, and that what goes on without it fits.

    Raises:
        ChainError: It cannot, or does not.
    """
    title = f"{scope.where}: {node.kind} {node.id!r}"
    _check_none(node, scope)
    if node.condition is None:
        return
    model = scope.current if isinstance(node, Composite) else node.input_model
    node.condition.check(model, scope.names, scope.elsewhere, scope.source)
    if node.skipped is None and not _fits(node.input_model, node.output_model):
        raise ChainError(
            f"{title} gives {type_name(node.output_model)}, but where `when` is false, its input "
            f"goes on, which is {type_name(node.input_model)}; give otherwise=… with a value in "
            "its place, or put it into a branch that has the condition"
        )


def _check_none(node: Node | Reduce[Any, Any], scope: Scope) -> None:
    """Check that a node takes `None` where the one before it may give that.

    Raises:
        ChainError: It does not.
    """
    before = scope.before
    if before is not None and before.gives_none and not _fits(type(None), node.input_model):
        raise ChainError(
            f"{scope.where}: {node.kind} {node.id!r} takes {type_name(node.input_model)}, but "
            f"{before.kind} {before.id!r} may give None; give it default=… or otherwise=… with a "
            "value, or let it run in a branch"
        )


def _check_groups(nodes: list[Any], scope: Scope) -> Any:
    """Check a `reduce` and the nodes behind it, as `_check_flow` checks those of a row.

    Raises:
        ChainError: They do not fit together, or use what belongs to a row.
    """
    reduce, *rest = nodes
    where, title = scope.where, f"reduce {reduce.id!r}"
    for node in all_nodes(reduce.steps):
        if reduce.fold is not None and isinstance(node, ApplyNode) and node.types.splits:
            raise ChainError(
                f"{where}: {title} has fold={reduce.fold}, and {node.kind} {node.id!r} returns "
                "several items; with fold it must give one output for all parts of a group"
            )
        if is_group(node.input_model) and (more := _needed(node.input_model)):
            raise ChainError(
                f"{where}: {node.kind} {node.id!r} takes {type_name(node.input_model)}, whose "
                f"{', '.join(more)} no group has; give the fields defaults, or make them properties"
            )
    for node in all_nodes(nodes):
        if isinstance(node, ApplyNode) and node.parameters.takes(ROW_ID):
            raise ChainError(
                f"{where}: {node.kind} {node.id!r} takes {ROW_ID}, which a group does not have; "
                "it has row_ids"
            )
    hint = f" (it belongs to a row, and {title} makes groups of them: its nodes see `group`)"
    unseen = GROUP_HINTS | dict.fromkeys([*scope.names, *scope.elsewhere], hint)
    current, seen = scope.current, {"group": GroupName}
    kind = Group.__class_getitem__(current)
    groups = Scope(where, kind, seen, unseen, "group", origin=title)
    last = _check_flow([*reduce.steps, *rest], groups)
    reduce.key.check(scope.current, scope.names, scope.elsewhere, scope.source)
    _check_parts(reduce, where)
    return last


def _check_parts(reduce: Reduce[Any, Any], where: str) -> None:
    """Check that a part of a group sees what came of the parts before it.

    Raises:
        ChainError: A step does not look at it.
    """
    if reduce.fold is not None and (forgetful := forgetful_steps(reduce.steps)):
        raise ChainError(
            f"{where}: reduce {reduce.id!r} has fold={reduce.fold}, but the prompt of step "
            f"{forgetful[0].id!r} does not use so_far: its output for a part would take the place "
            "of that for the parts before; put {{ so_far }} into the prompt, or leave fold out"
        )


def _needed(model: Any) -> list[str]:
    """The fields of a kind of group that are not those of every group, and have no default."""
    fields = model.model_fields.items()
    return [it for it, field in fields if field.is_required() and it not in Group.model_fields]


def _check_places(where: str, nodes: list[Any]) -> None:
    """Check that rows are brought together in the main flow alone.

    Raises:
        ChainError: A branch would do so, or a group of a group.
    """
    for holder, inner in _held(nodes):
        name = holder.name if isinstance(holder, Branch) else holder.id
        raise ChainError(
            f"{where}: reduce {inner.id!r} is in {holder.kind} {name!r}; it ends the flow of "
            "the rows, so it must be in the chain itself"
        )
    at = next((i for i, node in enumerate(nodes) if isinstance(node, Reduce)), len(nodes))
    taken = [
        f"{node.kind} {node.name!r} another id"
        for node in all_nodes(nodes[at:])
        if node.id == "group"
    ]
    taken += [
        f"branch {it.name!r} another alias"
        for it in all_branches(nodes[at:])
        if it.alias == "group"
    ]
    if taken:
        raise ChainError(
            f"{where}: the name 'group' is taken behind a reduce: it is the group; give {taken[0]}"
        )


def _held(nodes: list[Any]) -> Iterator[tuple[Any, Reduce[Any, Any]]]:
    """The parts that bring rows together inside of other parts, with what they are in."""
    for part in nodes:
        inside: Iterable[Any] = ()
        if isinstance(part, Branch | Reduce):
            inside = part.steps
        elif isinstance(part, Composite):
            inside = part.members()
        yield from ((part, inner) for inner in inside if isinstance(inner, Reduce))
        yield from _held([it for it in inside if not isinstance(it, Reduce)])


def _check_first(where: str, nodes: list[Any]) -> None:
    """Check that the first function does not take a list of what are probably rows.

    Raises:
        ChainError: Its annotation says that it does, and nothing says that each row is a list.
    """
    node = next((node for node in nodes if isinstance(node, Node)), None)
    if not isinstance(node, ApplyNode) or node.input_model is not node.types.input:
        return
    element = next(iter(get_args(node.input_model)), None)
    if isinstance(element, type) and issubclass(element, BaseModel) and _about_batch(node):
        raise ChainError(
            f"{where}: apply {node.id!r} takes {type_name(node.input_model)}{_about_batch(node)}; "
            "if each row is a list, give it as input_model"
        )


def _about_input(node: Node, current: Any) -> str:
    """A hint at what a node could take."""
    if is_group(current) and not is_group(node.input_model):
        return f"; give it input_model={type_name(current)}"
    return _about_batch(node)


def _about_batch(node: Node) -> str:
    """A hint at batches, for a function that takes a list of what there is."""
    takes_one = not isinstance(node, ApplyNode) or node.batch is not None
    if takes_one or not is_several(node.input_model):
        return ""
    return (
        "; items come one at a time: to take several, say how many with "
        f'apply({node.id}, batch=8), or batch="all" for those of all rows'
    )


def _joined(branch: Branch, last: Any) -> Any:
    """The type of a joined branch, from that of its last output.

    Raises:
        ChainError: Its default is a mapping that does not fit.
    """
    splits = may_split(branch.steps)
    if splits:
        joined: Any = list if last is Any else types.GenericAlias(list, last)
    else:
        joined = last if splits is False else Any
    default = branch.tolerance.value if branch.tolerance is not None else None
    if isinstance(default, Mapping):  # another value may stand for an output that there is not
        branch.tolerance = fallback(default, joined, f"branch {branch.name!r}, default")
    may_be_none = branch.condition is not None or branch.tolerance is not None
    return Union[joined, None] if may_be_none and joined is not Any else joined  # noqa: UP007


def _fits(source: Any, target: Any) -> bool:
    """Whether a value of one type can be the input of a node that takes another."""
    source, target = base_of(source), base_of(target)
    if source == target or Any in (source, target) or object in (source, target):
        return True
    if get_origin(target) in _UNIONS:
        return any(_fits(source, option) for option in get_args(target))
    if get_origin(source) in _UNIONS:  # each value is checked by the node that it comes to
        return any(_fits(option, target) for option in get_args(source))
    if is_group(source) and is_group(target):
        return _fits(element_of(source), element_of(target))
    if isinstance(source, type) and isinstance(target, type):
        return issubclass(source, target)
    return False
