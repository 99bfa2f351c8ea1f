"""What the nodes share that are made of a field or an expression, and not of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from chainette.errors import ChainError
from chainette.pipeline.composites.composite import Scope
from chainette.pipeline.nodes.annotations import FunctionTypes
from chainette.pipeline.nodes.apply import ApplyNode, Batch
from chainette.pipeline.nodes.conditions import NOT_GIVEN, Fallback, OnError, fallback
from chainette.pipeline.nodes.flow import In, Out
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.nodes.options import NodeOptions


class Kept:
    """The output of a node that passes its item on, whatever that is: the item itself."""


KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Raised:
    """The output of a node that sees several items, for one of them that it could not look at.

    Attributes:
        error: The reason.
    """

    error: Exception


@dataclass(frozen=True, slots=True)
class Recorded:
    """The output of a node whose results have more than what goes on.

    Attributes:
        value: What goes on.
        output: What the results have under the node's id.
    """

    value: Any
    output: Any


class Word(ApplyNode[In, Out]):
    """A node whose function is made of what it is given: a field, an expression, a function.

    Without `input_model`, it takes what the node before it gives.

    Args:
        fn: What it does with an item.
        id: Name in templates and files.
        input_model: Type of the input, or `None` for that of what comes in.
        output_model: Type of the output, or `None` for the one that follows from the input.
        options: The options of every node.
        on_error: `none` to go on without an output where it fails.
        otherwise: The output where its condition does not hold, in place of the input.
        batch: See `ApplyNode`.

    Raises:
        ChainError: An option is wrong.
    """

    splits: bool = False
    """Whether it makes several items of one."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        id: str,
        input_model: Any,
        options: NodeOptions,
        output_model: Any = None,
        on_error: OnError = "fail",
        otherwise: Any = NOT_GIVEN,
        batch: Batch = None,
    ) -> None:
        known = Any if output_model is None else output_model
        more = {"input_model": Any, "output_model": known, "otherwise": otherwise}
        super().__init__(fn, id=id, batch=batch, on_error=on_error, **more, **options)
        self.types: FunctionTypes = FunctionTypes(Any, known, self.splits, is_open=False)
        self.is_pure: bool = not self.functions
        self._output_model = output_model
        self._takes_what_comes = input_model is None
        self._bound: Any = None
        if input_model is not None:
            self._take(input_model)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The user's functions that it calls."""
        return []

    def says(self) -> dict[str, Any]:
        """What it is made of, as JSON values."""
        return {}

    @property
    def text(self) -> str:
        """What it is made of, for people; empty for nothing."""
        return ", ".join(f"{value}" for value in self.says().values() if value is not None)

    def bind(self, scope: Scope) -> None:
        """Take the type of what comes in, where none was given.

        Raises:
            ChainError: The type cannot be taken, or it is in another chain with another one.
        """
        current = scope.current
        if not self._takes_what_comes or current is Any or current == self._bound:
            return
        if self._bound is None:
            self._take(current)
        else:
            raise ChainError(
                f"{scope.where}: {self.kind} {self.id!r} takes {type_name(self._bound)} in another "
                f"chain, and {type_name(current)} here; make another one for each chain"
            )

    def check_names(self, scope: Scope) -> None:
        """Check the names that it uses.

        Raises:
            ChainError: A name or a field does not exist, or has two meanings.
        """
        try:
            self._check_names(scope)
        except ChainError as error:
            if self.input_model is not Any:
                raise
            hint = "; the type of what comes in is not known: give it as input_model"
            raise ChainError(f"{error}{hint}") from None

    def _check_names(self, scope: Scope) -> None:
        """Check the names that it uses; by default, it uses none."""

    def _take(self, model: Any) -> None:
        """Take an input type, and the output type that follows from it."""
        self._bound = model
        self.input_model: Any = model
        self.types = self._types(model)
        self.output_model: Any = self.types.output
        where = f"{self.kind} {self.id!r}"
        self.skipped: Fallback | None = self._again(self.skipped, f"{where}, otherwise")
        self.tolerance: Fallback | None = self._again(self.tolerance, f"{where}, default")

    def _again(self, given: Fallback | None, where: str) -> Fallback | None:
        """A fallback of the output type, which was not known when it was given."""
        return given and fallback(given.value, self.output_model, where)

    def _types(self, model: Any) -> FunctionTypes:
        """The types for an input type.

        Raises:
            ChainError: It cannot take that type.
        """
        raise NotImplementedError


class PassingWord(Word[In, Out]):
    """A node that passes its item on as it is, or drops it."""

    passes_on: bool = True

    @property
    def gives_none(self) -> bool:
        """Whether the flow may go on with `None` behind it."""
        return super().gives_none or type(None) in get_args(self.input_model)

    def _types(self, model: Any) -> FunctionTypes:
        return FunctionTypes(model, model, False, is_open=False)
