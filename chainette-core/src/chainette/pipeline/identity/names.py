"""The names that a function's code reads, and how the values of some were written."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_WRITTEN = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.unaryop, ast.BinOp,
    ast.operator, ast.expr_context, ast.Call, ast.keyword,
)  # fmt: skip
"""The parts of an expression whose text says its value."""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def loaded(code: CodeType) -> Iterator[tuple[str, ...]]:
    """The global names that code reads, each with the attributes that it takes from it."""
    for part in codes(code):
        path: tuple[str, ...] = ()
        for step in dis.get_instructions(part):
            if path and step.opname in _ATTRIBUTES:
                path = (*path, str(step.argval))
                continue
            if path:
                yield path
            path = (str(step.argval),) if step.opname in _LOADS else ()


def imported(code: CodeType) -> Iterator[tuple[int, str]]:
    """The modules that code imports when it runs: dots before the name, and the name."""
    for part in codes(code):
        level = 0
        for step in dis.get_instructions(part):
            if step.opname in ("LOAD_CONST", "LOAD_SMALL_INT") and isinstance(step.argval, int):
                level = step.argval
            elif step.opname == "IMPORT_NAME":
                yield level, str(step.argval)


def stored(code: CodeType) -> set[str]:
    """The names outside of a function that its code sets: its state, not what it depends on."""
    free = set(code.co_freevars)
    return {
        str(step.argval)
        for part in codes(code)
        for step in dis.get_instructions(part)
        if step.opname in _STORES and ("GLOBAL" in step.opname or step.argval in free)
    }


def normal(source: str) -> str:
    """Source code without its comments and layout."""
    try:
        return ast.unparse(ast.parse(textwrap.dedent(source)))
    except (SyntaxError, ValueError):
        return source


def source_of(fn: FunctionType) -> str | None:
    """The source of a function; `None` for a lambda, whose lines hold more, and without a file."""
    if fn.__name__ == "<lambda>":
        return None
    try:
        return normal(inspect.getsource(fn.__code__))
    except (OSError, TypeError):
        return None


def as_written(fn: FunctionType, name: str, module: str, *, is_global: bool) -> str | None:
    """The assignments of a variable of the module or of the function around, as they are written.

    A list or dict changes while a run goes on. Where its text gives the value that it starts with,
    the text is what counts.

    Args:
        fn: The function that reads the variable.
        name: The variable.
        module: The module that has the variable, where it is not the function's.
        is_global: Whether it is one of the module.

    Returns:
        The text, or `None` where more than the text decides on the value.
    """
    found, file = fn.__globals__, fn.__code__.co_filename
    if module not in ("", fn.__module__):
        found = vars(sys.modules[module])
        file = found.get("__file__") or ""
    tree: ast.AST | None = _tree(file)
    scopes = [] if is_global else fn.__qualname__.split(".")[:-1]
    for scope in (it for it in scopes if it != "<locals>"):
        inner = ast.walk(tree) if tree is not None else ()
        tree = next((it for it in inner if _is_scope(it, scope)), None)
    values = list(_assigned(tree, name)) if tree is not None else []
    if tree is None or name in _parameters(tree):
        return None
    if not values or not all(it and _is_written(it, found) for it in values):
        return None
    return "; ".join(ast.unparse(it) for it in values if it)


@lru_cache(maxsize=8)
def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


def _tree(filename: str) -> ast.Module | None:
    linecache.checkcache(filename)
    return _parsed("".join(linecache.getlines(filename)))


def _parameters(scope: ast.AST) -> set[str]:
    found = ast.walk(scope.args) if isinstance(scope, _FUNCTIONS) else ()
    return {it.arg for it in found if isinstance(it, ast.arg)}


def _is_scope(node: ast.AST, name: str) -> bool:
    return isinstance(node, (*_FUNCTIONS[:2], ast.ClassDef)) and node.name == name


def _assigned(scope: ast.AST, name: str) -> Iterator[ast.expr | None]:
    """The values that a scope gives a variable; `None` for one that is not an expression."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            continue
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign):
            targets, value = [node.target], node.value or ast.Constant(None)
        else:
            yield from [None] if _binds(node, name) else _assigned(node, name)
            continue
        if any(isinstance(it, ast.Name) and it.id == name for it in targets):
            yield value
        elif any(_binds(it, name) for it in targets):
            yield None


def _binds(node: ast.AST, name: str) -> bool:
    """Whether a target, an import or a loop sets a variable."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((it.asname or it.name.partition(".")[0]) == name for it in node.names)
    if isinstance(node, ast.stmt):
        node = getattr(node, "target", ast.Pass())
    return any(
        isinstance(it, ast.Name) and it.id == name and isinstance(it.ctx, ast.Store)
        for it in ast.walk(node)
    )


def _is_written(value: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether an expression holds literals and empty or literal collections alone."""
    return all(
        isinstance(node, _WRITTEN)
        or (isinstance(node, ast.Name | ast.Attribute) and _is_collection(node, names))
        for node in ast.walk(value)
    )


def _is_collection(node: ast.expr, names: Mapping[str, Any]) -> bool:
    """Whether a name is that of a type of Python's own, such as `list` or `Counter`."""
    if isinstance(node, ast.Attribute):
        value = getattr(_named(node.value, names), node.attr, None)
    else:
        value = _named(node, names)
    if isinstance(value, ModuleType):
        return value.__name__ == "collections"
    return isinstance(value, type) and value.__module__ in ("builtins", "collections")


def _named(node: ast.expr, names: Mapping[str, Any]) -> Any:
    name = node.id if isinstance(node, ast.Name) else ""
    return names.get(name, getattr(builtins, name, None))
