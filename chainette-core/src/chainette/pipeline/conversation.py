"""The turns of a step's prompt, where they are more than a system and a user message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias, cast, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import TypedDict

from chainette.engine.client.request import check_last, with_instruction
from chainette.errors import ChainError
from chainette.pipeline.examples import Example, View, example_turns
from chainette.pipeline.expression import Expression
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.prompt import PromptTemplate, check_text
from chainette.text import did_you_mean, with_article
from chainette.types import Message

ROLES = ("system", "user", "assistant")
_KEYS = ("role", "content")
_OTHER_ROLES = {
    **dict.fromkeys(("human", "customer", "question"), "user"),
    **dict.fromkeys(("ai", "bot", "model", "gpt", "chatbot", "agent", "answer"), "assistant"),
    **dict.fromkeys(("developer", "instructions"), "system"),
}
"""Names of roles in other tools and data sets."""
_START = "; for the start of the answer, use prefill="


class History(TypedDict):
    """A place in a conversation that a list of messages fills, such as `{"history": "turns"}`."""

    history: str


Turns: TypeAlias = Sequence[Message | History | Mapping[str, object]]
"""The turns of a conversation, as a step is given them."""


class _HistoryTemplate(PromptTemplate):
    """An expression whose value is a list of messages."""

    def __init__(self, expression: str, where: str) -> None:
        check_text(expression, where)
        self.expression: str = expression.strip()
        self._evaluated = Expression(self.expression, where)
        super().__init__("{{ (" + self.expression + ") }}", where)

    def check_type(self, types: Mapping[str, Any]) -> None:
        """Check that a name that is the whole expression can be a list of messages.

        Raises:
            ChainError: Its type says that it is something else.
        """
        model = types.get(self.expression, Any)
        is_list = get_origin(model) in (list, tuple) and get_args(model)
        if _cannot_be_turn(get_args(model)[0]) if is_list else _is_single(model):
            raise ChainError(
                f"{self.where}: {self.expression!r} is {type_name(model)}, not a list of messages, "
                "which have a role and a content"
            )

    def turns(self, values: Mapping[str, Any]) -> list[Message]:
        """The messages of one row.

        Raises:
            ChainError: The value is not a list of messages.
        """
        value = self._evaluated.value(None, values)
        if value is None:
            return []
        if isinstance(value, BaseModel | Mapping | str) or not isinstance(value, Sequence):
            kind = with_article(type(value).__name__)
            raise ChainError(f"{self.where}: {self.expression} is {kind}, not a list of messages")
        place = f"{self.where}, {self.expression}"
        return [_turn(entry, f"{place}[{index}]") for index, entry in enumerate(value)]


def _is_single(model: Any) -> bool:
    """Whether it is certain that no value of a type is a list."""
    return isinstance(model, type) and issubclass(model, str | int | float | BaseModel)


def _cannot_be_turn(model: Any) -> bool:
    """Whether it is certain that no value of a type is a message."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        has_more = model.model_config.get("extra") == "allow"
        return not (has_more or all(hasattr(model, it) or it in model.model_fields for it in _KEYS))
    return isinstance(model, type) and issubclass(model, str | int | float)


def _turn(entry: Any, where: str) -> Message:
    """One message of a history.

    Raises:
        ChainError: It is not one.
    """
    is_mapping = isinstance(entry, Mapping)
    role, content = (entry.get(it) if is_mapping else getattr(entry, it, None) for it in _KEYS)
    role = getattr(role, "value", role)  # of an Enum
    if role is None and content is None:
        kind = with_article(type(entry).__name__)
        raise ChainError(f"{where} is {kind} without a role and a content")
    _check_role(role, where)
    if not isinstance(content, str):
        kind = with_article(type(content).__name__)
        raise ChainError(f"{where}: its content is {kind}, not a text")
    if not content.strip():
        raise ChainError(f"{where}: the turn of the {role} is empty; leave it out of the history")
    return cast(Message, {"role": role, "content": content})


def _check_role(role: Any, where: str) -> None:
    """Check the role of a message.

    Raises:
        ChainError: There is no such role.
    """
    if role not in ROLES:
        hint, known = _meant(str(role)), ", ".join(ROLES)
        raise ChainError(f"{where}: unknown role {role!r}{hint}; roles are {known}")


def _meant(role: str) -> str:
    """A hint at the role that is probably meant."""
    known = _OTHER_ROLES.get(role.strip().lower())
    return f" (did you mean {known!r}?)" if known else did_you_mean(role, ROLES)


@dataclass(frozen=True, slots=True)
class _Turn:
    """A turn of every row: its role, and the template of its content."""

    role: str
    template: PromptTemplate

    def render(self, values: Mapping[str, Any], max_chars: int) -> list[Message]:
        text = self.template.render(values, max_chars)
        if self.role == "system" and not text:
            return []
        if self.role == "assistant" and not text.strip():
            raise ChainError(f"{self.template.where}: the turn of the assistant is empty")
        return [cast(Message, {"role": self.role, "content": text})]


@dataclass(frozen=True, slots=True)
class _Past:
    """A place that the messages of a row fill."""

    template: _HistoryTemplate

    def render(self, values: Mapping[str, Any], max_chars: int) -> list[Message]:
        return self.template.turns(values)


class Conversation:
    """The turns of a step.

    Args:
        where: The step, for messages, such as `step 'a'`.
        turns: Its turns, as they were given to it.
        system: The template of a system message in front of them, or `None`.
        user: The template of a single user message, in the place of turns.
        prefill: The template of the start of the answer, or an empty text.

    Attributes:
        templates: All templates, the last one of a user first.
        user: The template of the user's last turn, or `None` where there is only history.
        examples: The turns of the examples, which follow the system message.

    Raises:
        ChainError: The turns are not a conversation that can be sent.
    """

    def __init__(
        self,
        where: str,
        turns: Turns | None,
        *,
        system: PromptTemplate | None,
        user: PromptTemplate | None,
        prefill: str,
    ) -> None:
        self._where = where
        self._parts: list[_Turn | _Past] = [_Turn("system", system)] if system else []
        if user is not None:
            self._parts.append(_Turn("user", user))
        if turns is not None:
            self._parts += _parts_of(turns, where, has_system=system is not None)
        self._prefill = PromptTemplate(prefill, f"{where}, prefill") if prefill else None
        users = [it.template for it in self._parts if isinstance(it, _Turn) and it.role == "user"]
        self.user: PromptTemplate | None = users[-1] if users else None
        rest = [it.template for it in self._parts if it.template is not self.user]
        more = [self._prefill] if self._prefill else []
        self.templates: list[PromptTemplate] = [*users[-1:], *rest, *more]
        self.examples: list[Message] = []

    def check_types(self, types: Mapping[str, Any]) -> None:
        """Check the types of histories.

        Raises:
            ChainError: One is certainly not a list of messages.
        """
        for part in self._parts:
            if isinstance(part, _Past):
                part.template.check_type(types)

    def show(self, examples: Sequence[Example], view: View) -> None:
        """Render the examples, which are the same for every row.

        Raises:
            ChainError: One does not fit the step.
        """
        self.examples = example_turns(examples, self.user, view, self._where)

    def render(
        self, values: Mapping[str, Any], max_chars: int, instruction: str | None
    ) -> list[Message]:
        """The messages of one row.

        Args:
            values: The values that templates see, by name.
            max_chars: Maximum characters of all messages together.
            instruction: Text at the end of the system message.

        Raises:
            ChainError: A template fails on these values, a history is not one, or the conversation
                is too long or does not end with the user's turn.
        """
        messages = [turn for it in self._parts for turn in it.render(values, max_chars)]
        if instruction:
            messages = with_instruction(messages, instruction)
        first = _lead(message["role"] for message in messages)
        messages[first:first] = self.examples
        check_last(self._where, messages)
        # Templates of models cut white space at the end, which the model then writes itself.
        if self._prefill and (start := self._prefill.render(values, max_chars).rstrip()):
            messages.append({"role": "assistant", "content": start})
        self._check_size(sum(len(message["content"]) for message in messages), max_chars)
        return messages

    def _check_size(self, size: int, most: int) -> None:
        if size > most:
            raise ChainError(
                f"{self._where}: its messages have {size:,} characters, more than {most:,} "
                f"(max_prompt_chars={most}): shorten them, or raise the limit"
            )

    def outline(self) -> Iterator[tuple[str, str]]:
        """The turns for people: a role or `history`, and the text or template."""
        parts = [(_role_of(part), _text_of(part)) for part in self._parts]
        first = _lead(role for role, _ in parts)
        shown = [(f"example, {turn['role']}", turn["content"]) for turn in self.examples]
        yield from (*parts[:first], *shown, *parts[first:])
        if self._prefill is not None:
            yield "prefill", self._prefill.source


def conversation(
    where: str,
    turns: Turns | None,
    *,
    system: PromptTemplate | None,
    user: PromptTemplate | None,
    prefill: str,
    has_examples: bool,
) -> Conversation | None:
    """The turns of a step; `None` where they are only a system and a user message.

    Raises:
        ChainError: It has none, or both a user message and turns; see `Conversation`.
    """
    if (user is not None) == (turns is not None):
        said = "user_prompt and messages are both given; put all turns into messages"
        missing = "give user_prompt, or messages for a conversation"
        raise ChainError(f"{where}: {said if turns is not None else missing}")
    check_text(prefill, f"{where}, prefill")
    if user is not None and not (has_examples or prefill):
        return None
    return Conversation(where, turns, system=system, user=user, prefill=prefill)


def _lead(roles: Iterable[str]) -> int:
    """The number of system messages at the beginning."""
    return len([*takewhile(lambda role: role == "system", roles)])


def _role_of(part: _Turn | _Past) -> str:
    return part.role if isinstance(part, _Turn) else "history"


def _text_of(part: _Turn | _Past) -> str:
    return part.template.source if isinstance(part, _Turn) else part.template.expression


def _parts_of(turns: Any, where: str, *, has_system: bool) -> list[_Turn | _Past]:
    """The parts of a conversation.

    Raises:
        ChainError: They are not turns, or not in an order that can be sent.
    """
    if isinstance(turns, str | Mapping | BaseModel) or not isinstance(turns, Sequence):
        raise ChainError(
            f"{where}, messages: give a list of messages, such as "
            f'[{{"role": "user", "content": "…"}}], not {with_article(type(turns).__name__)}'
        )
    if not turns:
        raise ChainError(f"{where}, messages: the list is empty; it needs the turn of the user")
    parts = [_part(turn, f"{where}, messages[{index}]") for index, turn in enumerate(turns)]
    if has_system and any(_role_of(part) == "system" for part in parts):
        raise ChainError(
            f"{where}: the system message is in system_prompt and in messages; give it once"
        )
    last = _role_of(parts[-1])
    if last in ("system", "assistant"):
        raise ChainError(
            f"{where}, messages: the last message is that of the {last}; a conversation ends with "
            "the turn of the user" + (_START if last == "assistant" else "")
        )
    return parts


def _part(turn: Any, where: str) -> _Turn | _Past:
    if not isinstance(turn, Mapping):
        raise ChainError(
            f'{where}: give {{"role": "user", "content": "…"}} or {{"history": "…"}}, '
            f"not {with_article(type(turn).__name__)}"
        )
    keys = {"history"} if "history" in turn else {"role", "content"}
    if turn.keys() != keys:
        extra, missing = sorted(map(str, turn.keys() - keys)), sorted(keys - turn.keys())
        said = [f"unknown key {key!r}" for key in extra]
        said += [f"{key!r} is missing" for key in missing]
        raise ChainError(
            f"{where}: {', '.join(said)}; a message has a role and a content, or only a history"
        )
    if "history" in turn:
        return _Past(_HistoryTemplate(turn["history"], where))
    _check_role(turn["role"], where)
    return _Turn(turn["role"], PromptTemplate(turn["content"], where))
