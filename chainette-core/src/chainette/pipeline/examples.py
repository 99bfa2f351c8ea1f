"""Examples of a step: inputs and answers, as turns in front of a row's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import AliasChoices, AliasPath, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from chainette.engine.structured.schema import output_schema
from chainette.engine.structured.text import TextOutput, fence_of, is_text
from chainette.errors import ChainError, InputError, ValidatorError
from chainette.pipeline.nodes.naming import fields_of, type_name, values_of
from chainette.pipeline.prompt import PromptTemplate
from chainette.pipeline.reasoning import ReasoningType
from chainette.remote.address import shown
from chainette.remote.files import RemoteFile, file_of
from chainette.text import did_you_mean, with_article
from chainette.types import Completion, Message
from chainette.validation import summary, type_adapter

if TYPE_CHECKING:
    from chainette.yaml_source import YamlSource

Examples: TypeAlias = Iterable[tuple[Any, Any] | Mapping[str, Any]] | str | PathLike[str]
"""Pairs of an input and an output, or a file of them.

They have no types of their own: a pair that does not fit would only widen those of its step.
"""
_SHAPE = "an input and its output, as in {input: …, output: …}"
_FORMATS = (".jsonl", ".ndjson", ".json", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Example:
    """An input and its answer.

    Attributes:
        input: The input, or a mapping of what the user's turn uses.
        output: The answer.
        place: The place in messages, such as `examples[2]` or `few.jsonl:3`.
        is_json: Whether it comes from a file, so that dates and the like are texts.
    """

    input: Any
    output: Any
    place: str
    is_json: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """What the user's turn of a step sees.

    Attributes:
        input_model: Type of the step's input.
        output_model: Type of its answer.
        names: Types of the chain's values by name.
        source: The one of these names whose value is the step's input.
    """

    input_model: Any
    output_model: Any
    names: Mapping[str, Any]
    source: str


def read_examples(examples: Any, where: str) -> list[Example]:
    """Read examples.

    Args:
        examples: Pairs of an input and an output, or the path of a file of them.
        where: The step, for messages.

    Raises:
        ChainError: They are something else, or the file cannot be read.
    """
    if isinstance(examples, str | PathLike):
        try:
            found = list(_of_file(file_of(examples), where))
        except InputError as error:  # of an address
            raise ChainError(f"{where}, examples: {error}") from None
        if not found:
            raise ChainError(f"{where}, examples: {shown(examples)} has none")
        return found
    if isinstance(examples, Mapping | BaseModel) or not isinstance(examples, Iterable):
        kind = with_article(type(examples).__name__)
        raise ChainError(
            f"{where}, examples: give a list of pairs (input, output) or the path of a file, "
            f"not {kind}"
        )
    return [_example(pair, f"examples[{i}]", where) for i, pair in enumerate(examples)]


def _example(pair: Any, place: str, where: str, *, is_json: bool = False) -> Example:
    """One example.

    Raises:
        ChainError: It is not an input and its output.
    """
    if isinstance(pair, Example):
        return pair
    if isinstance(pair, Mapping) and pair.keys() == {"input", "output"}:
        return Example(pair["input"], pair["output"], place, is_json)
    if isinstance(pair, tuple | list) and len(pair) == 2:
        return Example(pair[0], pair[1], place, is_json)
    shape = _SHAPE if is_json or isinstance(pair, Mapping) else "a pair (input, output)"
    what = f"keys {', '.join(map(str, pair))}" if isinstance(pair, Mapping) else _kind(pair)
    raise ChainError(f"{where}, {place}: it is not {shape}, but has {what}")


def _kind(pair: Any) -> str:
    kind = f"the type {type(pair).__name__}"
    return f"{kind} and {len(pair)} values" if isinstance(pair, tuple | list) else kind


def _of_file(path: Path | RemoteFile, where: str) -> Iterator[Example]:
    """The examples of a file.

    Raises:
        ChainError: It cannot be read, or is of another form.
    """
    suffix = path.suffix.lower()
    formats = _FORMATS if isinstance(path, Path) else _FORMATS[:3]
    if suffix not in formats:
        names = ", ".join(formats)
        raise ChainError(f"{where}, examples: {path}: a file of examples ends in {names}")
    if isinstance(path, Path) and suffix in (".yaml", ".yml"):
        from chainette.yaml_source import read_yaml

        source = read_yaml(path, lambda message: ChainError(f"{where}, examples: {message}"))
        pairs = _of_yaml(source)
    else:
        pairs = _of_json(path, where, is_lines=suffix != ".json")
    if pairs is None:
        raise ChainError(f"{where}, examples: {path}: it is not a list of examples")
    for index, (line, value) in enumerate(pairs):
        yield _example(value, f"examples[{index}] ({line})", where, is_json=True)


def _of_yaml(source: YamlSource) -> Iterator[tuple[str, Any]] | None:
    values = source.data if source.data is not None else []
    if not isinstance(values, list):
        return None
    return ((source.place((index,)), value) for index, value in enumerate(values))


def _of_json(
    path: Path | RemoteFile, where: str, *, is_lines: bool
) -> Iterator[tuple[str, Any]] | None:
    """The values of a file, each with its place; `None` where it is not a list."""
    try:
        with path.open("rb") if isinstance(path, Path) else path.open() as file:
            text = file.read().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ChainError(f"{where}, examples: {path}: cannot be read: {reason}") from None
    if not is_lines and text.lstrip()[:1] != "[":
        return None
    return _lines(text, path, where) if is_lines else _elements(text, path, where)


def _lines(text: str, path: Path | RemoteFile, where: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _not_json(f"{path}:{number}", where, error) from None


def _elements(text: str, path: Path | RemoteFile, where: str) -> Iterator[tuple[str, Any]]:
    """The elements of a list, each with the line that it begins in."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        number = getattr(error, "lineno", 1)
        raise _not_json(f"{path}:{number}", where, error) from None
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    while True:
        while text[place].isspace() or text[place] == ",":
            place += 1
        if text[place] == "]":
            return
        number = text.count("\n", 0, place) + 1
        value, place = decoder.raw_decode(text, place)
        yield f"{path}:{number}", value


def _not_json(place: str, where: str, error: Exception) -> ChainError:
    reason = getattr(error, "msg", "nested too deeply")
    return ChainError(f"{where}, examples: {place}: not valid JSON: {reason}")


def example_turns(
    examples: Sequence[Example], user: PromptTemplate | None, view: View, where: str
) -> list[Message]:
    """The turns of examples: the step's own prompt, and the answer as a model writes it.

    Args:
        examples: The examples.
        user: The template of the user's turn.
        view: What it sees.
        where: The step, for messages.

    Raises:
        ChainError: An example does not fit the step.
    """
    turns: list[Message] = []
    for example in examples:
        place = f"{where}, {example.place}"
        if user is None:
            raise ChainError(f"{place}: messages has no turn of the user to show its input in")
        values, context = _names(example, user, view, place)
        turns.append({"role": "user", "content": _question(user, values, place)})
        turns.append({"role": "assistant", "content": _answer(example, view, context, place)})
    return turns


def _question(user: PromptTemplate, values: Mapping[str, Any], place: str) -> str:
    try:
        return user.render(values)
    except ChainError as error:
        raise ChainError(f"{place}: {error}") from None


def _names(
    example: Example, user: PromptTemplate, view: View, place: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values that the user's turn sees, and those of them that are the chain's.

    An example's input is the step's input; or a mapping of its fields and, beside them, of other
    names that the turn uses. Where it has the name of the input itself, it holds names alone.

    Raises:
        ChainError: A value does not fit its type, or a name is missing.
    """
    given, more = _split(example, user, view)
    known = {
        name: _valid(value, view.names[name], example, f"{place}: {name}")
        for name, value in more.items()
    }
    own: dict[str, Any] = {}
    if given is not _MISSING:
        value = _valid(given, view.input_model, example, f"{place}: its input")
        known[view.source] = value
        own = values_of(value)
    if missing := sorted(user.names - own.keys() - known.keys()):
        names = ", ".join(map(repr, missing))
        raise ChainError(
            f"{place}: the turn of the user uses {names}; give the input as a mapping that has "
            "the names, too"
        )
    return {**own, **known}, known


_MISSING: Any = object()


def _split(example: Example, user: PromptTemplate, view: View) -> tuple[Any, dict[str, Any]]:
    """The step's input, and the values of the chain's other names."""
    given = example.input
    if not isinstance(given, Mapping):
        return given, {}
    if view.source in given and given.keys() <= view.names.keys():
        others = {name: value for name, value in given.items() if name != view.source}
        return given[view.source], others
    own = dict(fields_of(view.input_model))
    names = (user.names & view.names.keys()) - own.keys()
    others = {name: value for name, value in given.items() if name in names}
    rest = {name: value for name, value in given.items() if name not in names}
    return (rest if rest or not others else _MISSING), others


def _valid(value: Any, model: Any, example: Example, what: str) -> Any:
    """The value as an instance of a type.

    Raises:
        ChainError: It does not fit.
    """
    if isinstance(model, ReasoningType):
        model = dict[str, str]
    adapter = type_adapter(model)
    _check_keys(value, model, what)
    try:
        return _validated(adapter, value, example)
    except ValidationError as error:
        raise ChainError(f"{what} is not a valid {type_name(model)}: {summary(error)}") from None
    except Exception as error:  # of a validator
        raise ChainError(f"{what}: {type(error).__name__}: {error}") from None


def _validated(adapter: Any, value: Any, example: Example, context: Any = None) -> Any:
    if example.is_json:
        return adapter.validate_json(to_json(value), context=context)
    return adapter.validate_python(value, context=context)


def _check_keys(value: Any, model: Any, what: str) -> None:
    """Check that a mapping has no key that its model would ignore.

    Raises:
        ChainError: It has one.
    """
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    if not is_model or not isinstance(value, Mapping) or model.model_config.get("extra") == "allow":
        return
    known = {key for name, field in model.model_fields.items() for key in _keys(name, field)}
    for key in value:
        if str(key) not in known:
            hint = did_you_mean(str(key), known)
            raise ChainError(
                f"{what} has an unknown field {key!r}{hint}; {type_name(model)} has: "
                f"{', '.join(model.model_fields)}"
            )


def _keys(name: str, field: FieldInfo) -> Iterator[str]:
    """The keys under which a field is given."""
    for alias in (name, field.alias, field.validation_alias):
        for choice in alias.choices if isinstance(alias, AliasChoices) else [alias]:
            if choice is not None:
                yield str(choice.path[0] if isinstance(choice, AliasPath) else choice)


def _answer(example: Example, view: View, context: Mapping[str, Any], place: str) -> str:
    """The answer as a model writes it.

    Raises:
        ChainError: The output does not fit its type, or could not be read back.
    """
    model, output = view.output_model, example.output
    if is_text(model):
        return _text(model, output, context, place)
    _check_keys(output, model, f"{place}: its output")
    adapter = output_schema(model).adapter
    name = type_name(model)
    try:
        value = _validated(adapter, output, example, context)
    except ValidationError as error:
        message = f"{place}: its output is not a valid {name}: {summary(error)}"
        raise ChainError(message) from None
    except Exception as error:  # of a validator
        message = f"{place}: a validator of its output failed: {type(error).__name__}: {error}"
        raise ChainError(message) from None
    return _written(adapter, value, context, f"{place}: its output, written as JSON,")


def _text(model: Any, output: Any, context: Mapping[str, Any], place: str) -> str:
    """A text as it is, and code in a fence.

    Raises:
        ChainError: It is something else, or not an answer of the type.
    """
    if not isinstance(output, str):
        kind = with_article(type(output).__name__)
        raise ChainError(f"{place}: its output is {kind}, not a text")
    text, fence = str(output), fence_of(model)
    if fence is not None:
        text = f"```{fence.language or ''}\n{text.strip()}\n```"
    completion: Completion[Any] = Completion(text)
    if problem := _problem(TextOutput(model), completion, context):
        raise ChainError(f"{place}: its output: {problem}")
    if fence is not None and completion.json_text != output.strip():
        raise ChainError(f"{place}: its output is not code that can stand in a fence")
    return text


def _problem(form: TextOutput, completion: Completion[Any], context: Mapping[str, Any]) -> str:
    try:
        return form.read(completion, 3, context)
    except ValidatorError as error:
        return str(error)


def _written(adapter: Any, value: Any, context: Mapping[str, Any], what: str) -> str:
    """The JSON that a model would have written for a value.

    Raises:
        ChainError: The type does not read what it writes.
    """
    problem = ""
    for by_alias in (True, False):
        text: bytes = adapter.dump_json(value, by_alias=by_alias, round_trip=True)
        try:
            again = adapter.validate_json(text, context=context)
        except Exception as error:  # of Pydantic, or of a validator
            reason = summary(error) if isinstance(error, ValidationError) else str(error)
            problem = problem or reason
            continue
        if again == value or adapter.dump_json(again, by_alias=by_alias, round_trip=True) == text:
            return text.decode()
        problem = problem or "it is another value"
    raise ChainError(f"{what} cannot be read back: {problem}")
