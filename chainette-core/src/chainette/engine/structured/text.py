"""Plain text as an answer: the types that are one, and its reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from chainette.engine.structured.code import Code, CodeBlockError, Fence, fence_in
from chainette.engine.structured.extract import split_thoughts
from chainette.errors import ChainError
from chainette.types import Completion
from chainette.validation import summary, validator_error

EMPTY = "the answer is empty"


class TextOutput:
    """An output type whose answers are plain text: no schema is sent, and no JSON is read.

    Args:
        output_type: A type for which `is_text` holds.
        accept_truncated: Whether a text that was cut at the token limit counts.

    Attributes:
        type: The type.
        adapter: Pydantic's adapter of the type.
        name: The type's name, for messages.
        fence: The fence to take code out of, or `None`.
        accept_truncated: Whether a text that was cut at the token limit counts.
    """

    def __init__(self, output_type: Any, *, accept_truncated: bool = False) -> None:
        self.type: Any = output_type
        self.adapter: TypeAdapter[Any] = TypeAdapter(output_type)
        self.fence: Fence | None = fence_of(output_type)
        self.name: str = "code" if self.fence else "text"
        self.accept_truncated: bool = accept_truncated

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the text; it is not sent."""
        return self.adapter.json_schema()

    def spoken(self, text: str) -> str:
        """What the model says, without its thoughts."""
        return split_thoughts(text)[1].strip()

    def keeps(self, text: str) -> bool:
        """Whether a text that was cut counts: there must be something of the answer in it."""
        if not self.accept_truncated:
            return False
        try:
            return bool(self._text(self.spoken(text), is_cut=True))
        except CodeBlockError:  # the model is told so
            return True

    def read(
        self, completion: Completion, max_problems: int, context: Mapping[str, Any] | None
    ) -> str:
        """Set `parsed` of a completion from its text, and return the problem, or an empty text.

        Thoughts in front of the text become its reasoning, unless the server has told it.

        Args:
            completion: The completion.
            max_problems: Problems that are named.
            context: What validators see as `info.context`.

        Raises:
            ValidatorError: A validator failed for a reason of its own.
        """
        thoughts, text = split_thoughts(completion.text)
        try:
            text = self._text(text, is_cut=completion.finish_reason == "length")
            value = self._validated(text, context) if text else None
        except CodeBlockError as error:
            return str(error)
        except ValidationError as error:
            return f"the answer is not a valid {self.name}: {summary(error, max_problems)}"
        if not text:
            return EMPTY
        completion.parsed, completion.json_text = value, text
        if thoughts and completion.reasoning_content is None:
            completion.reasoning_content = thoughts
        return ""

    def _text(self, text: str, *, is_cut: bool) -> str:
        text = text.strip() if self.fence is None else self.fence.code(text, is_cut=is_cut)
        return text if text.isascii() else _whole_characters(text)

    def _validated(self, text: str, context: Mapping[str, Any] | None) -> Any:
        if self.type is str:
            return text
        try:
            return self.adapter.validate_python(text, context=context)
        except ValidationError:
            raise
        except Exception as error:
            raise validator_error(self.name, error) from error


def _whole_characters(text: str) -> str:
    """The text with the replacement character for each half of a surrogate pair, as in JSON."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def is_text(output_type: Any) -> bool:
    """Whether a type's answers are plain text: `str`, and what is one for type checkers, too.

    That is `Annotated[str, …]`, `Code(…)`, a `NewType` of `str`, and a class that Pydantic
    validates as a text; not an enumeration, a `Literal`, or a union.
    """
    base = base_of(output_type)
    if base is str or not isinstance(base, type) or issubclass(base, Enum | BaseModel):
        return base is str
    if issubclass(base, str):
        return True
    return hasattr(base, "__get_pydantic_core_schema__") and _is_text_schema(base)


def _is_text_schema(cls: type) -> bool:
    try:
        schema: Any = TypeAdapter(cls).core_schema
    except Exception:  # it is not for Pydantic, or lacks a package: its output schema says so
        return False
    while str(schema["type"]).startswith("function-") and "schema" in schema:
        schema = schema["schema"]
    return bool(schema["type"] == "str")


def base_of(model: Any) -> Any:
    """A type without what `Annotated`, `NewType` and an alias put around it."""
    while True:
        if get_origin(model) is Annotated:
            model = get_args(model)[0]
        elif hasattr(model, "__supertype__"):
            model = model.__supertype__
        elif hasattr(model, "__value__"):
            model = model.__value__
        else:
            return model


def fence_of(model: Any) -> Fence | None:
    """The fence of a type from `Code`, or `None`."""
    return next(_fences(model), None)


def _fences(model: Any) -> Iterator[Fence]:
    while model is not base_of(model):
        if get_origin(model) is Annotated:
            model, *metadata = get_args(model)
            yield from filter(None, map(fence_in, metadata))
        else:
            model = getattr(model, "__supertype__", None) or model.__value__


def check_answer(output_type: Any, where: str, *, accept_truncated: bool) -> None:
    """Check that what a step says about text and code fits its output type.

    Args:
        output_type: The type.
        where: The step, for messages.
        accept_truncated: Whether a text that was cut counts.

    Raises:
        ChainError: It does not.
    """
    if output_type is Code:
        raise ChainError(
            f'{where}: output_model is the function Code; call it: Code("python"), or Code() for '
            "any language"
        )
    if not isinstance(accept_truncated, bool):
        raise ChainError(f"{where}: accept_truncated is {accept_truncated!r}; give True or False")
    if is_text(output_type):
        return
    if accept_truncated:
        raise ChainError(
            f"{where}: accept_truncated=True is for text and code; of an answer in JSON, a part is "
            "not valid: raise max_tokens in sampling"
        )
    if (fence := next(_inner_fences(output_type, set()), None)) is not None:
        raise ChainError(
            f"{where}: {fence!r} is an answer of its own, as output_model={fence!r}; inside "
            "another type it would have no effect"
        )


def _inner_fences(model: Any, seen: set[int]) -> Iterator[Fence]:
    """The fences inside a type, in its arguments and the fields of its models."""
    if id(model) in seen:
        return
    seen.add(id(model))
    yield from _fences(model)
    base = base_of(model)
    for argument in get_args(base):
        yield from _inner_fences(argument, seen)
    fields: Mapping[str, Any] = getattr(base, "__pydantic_fields__", {})
    for info in fields.values():
        yield from filter(None, map(fence_in, info.metadata))
        yield from _inner_fences(info.annotation, seen)
