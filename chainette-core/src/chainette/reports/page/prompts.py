"""The prompts of a run, rendered again from its folder where every value in them is certain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeAlias

from jinja2 import TemplateError

from chainette.errors import ChainError
from chainette.pipeline.bounds import MAX_PROMPT
from chainette.pipeline.conversation import Conversation, conversation
from chainette.pipeline.prompt import PromptTemplate
from chainette.pipeline.reasoning import REASONING
from chainette.reports.stored.plain_templates import Fill, filling
from chainette.reports.stored.rebuilt import Build, Partial, UncertainError, build, build_fields
from chainette.reports.stored.run_folder import StoredRun
from chainette.reports.stored.schemas import CHAIN_INPUT
from chainette.types import Message

Line: TypeAlias = Mapping[str, Any]
Steps: TypeAlias = Mapping[str, Sequence[Line]]
Render: TypeAlias = Callable[[Mapping[str, Any]], list[Message]]
Read: TypeAlias = Callable[[str, Line, Steps], Any]
_OF_ROUNDS = frozenset({"previous", "feedback", "round", "so_far"})


class Prompts:
    """The prompts of a run.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._values = StoredValues(run)
        self._steps = {
            id: _StepPrompt(node, self._values)
            for id, node in run.nodes.items()
            if node.get("kind") == "step"
        }

    def of(self, id: str, line: Line, row: Line, steps: Steps) -> dict[str, Any] | None:
        """The prompt behind a step's line, as the page shows it.

        Args:
            id: The step.
            line: Its line, or that of its error.
            row: The line of the flattened table that it belongs to, which has the inputs.
            steps: The lines of the row by node.

        Returns:
            Its `messages`; or its `templates`, and `why` it cannot be rendered for certain.
        """
        step = self._steps.get(id)
        if step is None or line.get("kind") == "skipped":
            return None
        try:
            return {"messages": step.render(line, row, steps)}
        except (ChainError, UncertainError, AttributeError, TemplateError) as error:
            return {"templates": step.templates, "why": str(error)}


class _StepPrompt:
    """The prompt of a step.

    Args:
        node: The step in `graph.json`.
        values: The values of the run.
    """

    def __init__(self, node: Mapping[str, Any], values: StoredValues) -> None:
        self._id: str = node["id"]
        self._instruction = node.get("output_format_instruction")
        self._prepared: tuple[Render, Readers] | None = None
        self._problem = ""
        self.templates: list[dict[str, str]] = _templates(node)
        try:
            render, names = self._prepare(node)
            self._prepared = render, values.readers(sorted(names), self._id)
        except (ChainError, KeyError, TypeError, ValueError) as error:
            self._problem = f"its template cannot be read ({error})"

    def _prepare(self, node: Mapping[str, Any]) -> tuple[Render, set[str]]:
        """The function that renders it, and the names that it uses."""
        where = f"step {self._id!r}"
        system = PromptTemplate(node.get("system_prompt") or "", f"{where}, system_prompt")
        user = PromptTemplate(node.get("user_prompt") or "", f"{where}, user_prompt")
        talk = conversation(
            where,
            node.get("messages"),
            system=system if system.source else None,
            user=None if "messages" in node else user,
            prefill=node.get("prefill", ""),
            has_examples=bool(node.get("examples")),
        )
        if talk is None:
            fills = filling(system), filling(user)
            return partial(self._plain, *fills), system.names | user.names
        talk.examples = list(node.get("examples", ()))
        names = {name for it in talk.templates for name in it.names}
        return partial(self._turns, talk), names

    def _plain(self, system: Fill, user: Fill, names: Mapping[str, Any]) -> list[Message]:
        """A system and a user message; see `Step.messages`."""
        first = system(names)
        if self._instruction:
            first = f"{first}\n\n{self._instruction}".strip()
        asked: Message = {"role": "user", "content": user(names)}
        return [{"role": "system", "content": first}, asked] if first else [asked]

    def _turns(self, talk: Conversation, names: Mapping[str, Any]) -> list[Message]:
        return talk.render(names, MAX_PROMPT, self._instruction)

    def render(self, line: Line, row: Line, steps: Steps) -> list[Message]:
        """The messages.

        Raises:
            UncertainError: A value in them is not certain.
            ChainError: They cannot be rendered.
        """
        if self._prepared is None:
            raise UncertainError(self._problem)
        if "round" in line or "part" in line:
            raise UncertainError("it is of a round, whose values are not written down")
        render, readers = self._prepared
        return render(readers.values(line.get("item", ""), row, steps))


class Readers:
    """The functions that find what a step's template sees.

    Args:
        named: Those of single names.
        names: The names of fields of the step's direct input.
        direct: Finds that input.
        fields: Finds these fields, if that can be done without the whole.
    """

    def __init__(
        self, named: dict[str, Read], names: Sequence[str], direct: Read, fields: Read | None
    ) -> None:
        self._named, self._names, self._direct, self._fields = named, names, direct, fields

    def values(self, path: str, row: Line, steps: Steps) -> dict[str, Any]:
        """The values by name.

        Raises:
            UncertainError: One is not certain.
        """
        found = {name: read(path, row, steps) for name, read in self._named.items()}
        if self._fields is not None:
            found.update(self._fields(path, row, steps))
        elif self._names:
            direct = self._direct(path, row, steps)
            for name in self._names:
                found[name] = _field(direct, name)
        return found


def _field(direct: Any, name: str) -> Any:
    """A field of a step's direct input.

    Raises:
        UncertainError: It is not known.
    """
    if isinstance(direct, Partial) or name in getattr(type(direct), "__pydantic_fields__", ()):
        return getattr(direct, name)
    raise UncertainError(f"{name!r} is not a field that is known")


class StoredValues:
    """The values that prompts saw, made again of a run's lines.

    Args:
        run: The run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._names = run.names
        self._nodes = run.nodes
        self._builds: dict[str, Build] = {}
        self._shape = run.shape
        self._sources: dict[str, list[str]] = {}
        self._aliases: dict[str, str] = {}
        edges = [*run.graph.get("edges", [])]
        routes = {it["from"]: it["from"] for it in edges if "case" in it}
        for edge in edges:
            if "join" in edge:
                self._aliases[edge["join"]] = edge["from"]
            elif "repeat" not in edge:
                self._sources.setdefault(edge["to"], []).append(edge["from"])
        self._routes = routes
        columns = (run.manifest.get("selection") or {}).get("columns") or {}
        self._renamed: dict[str, str] = {column: field for field, column in columns.items()}
        self._is_renamed = bool(columns)
        self._inputs: dict[str, str] = {}
        self._known: set[str] = set()
        self._last: dict[str, tuple[Any, Any]] = {}

    def readers(self, names: Sequence[str], id: str) -> Readers:
        """The functions that find the values that a step's template sees.

        Args:
            names: The names that the template uses.
            id: The step.
        """
        found = {name: self._reader(name) for name in names}
        named = {name: read for name, read in found.items() if read is not None}
        fields = [name for name, read in found.items() if read is None]
        return Readers(named, fields, *self._direct(id, fields))

    def _reader(self, name: str) -> Read | None:
        """The function that finds the value of a name; `None` if it is a field of the input.

        It takes the path of the item, the row's line in the flattened table, and the lines of the
        row by node, and raises `UncertainError` where the value is not certain.
        """
        if name in _OF_ROUNDS:
            return _refusing(f"{name!r} is not written down")
        if name == REASONING:
            return _refusing("it uses the reasoning of earlier steps")
        if name == CHAIN_INPUT:
            return self._input
        if name in self._nodes or name in self._aliases:
            return partial(self._output, self._aliases.get(name, name), name)
        return None

    def _direct(self, id: str, names: Sequence[str]) -> tuple[Read, Read | None]:
        """The functions that find the direct input of a step, and some of its fields alone."""
        sources = self._sources.get(id, [])
        while len(sources) == 1 and sources[0] in self._routes:
            sources = self._sources.get(sources[0], [])
        if len(sources) != 1:
            return _refusing("its input may come from several nodes"), None
        (source,) = sources
        is_input = source == CHAIN_INPUT
        direct = self._input if is_input else partial(self._output, source, source)
        make = build_fields(self._shape(source), names, is_input=is_input) if names else None
        return direct, make and partial(self._fields, source, make)

    def _fields(
        self, id: str, make: Callable[[Any], Any], path: str, row: Line, steps: Steps
    ) -> Any:
        """Some fields of a step's direct input."""
        value = self._columns(row) if id == CHAIN_INPUT else self._found(id, id, path, steps)[1]
        if type(value) is not dict:
            raise UncertainError(f"{id}: it is not an object")
        return make(value)

    def _input(self, path: str, row: Line, steps: Steps) -> Any:
        """The row that the chain was given."""
        last, value = self._last.get(CHAIN_INPUT, (None, None))
        if last is not row:
            value = self._built(CHAIN_INPUT, self._columns(row), "chain_input")
            self._last[CHAIN_INPUT] = row, value
        return value

    def _columns(self, row: Line) -> dict[str, Any]:
        """The columns of an input row, by the fields that they became."""
        if not row.keys() <= self._known:
            self._know(row)
        found = {field: row[name] for name, field in self._inputs.items() if name in row}
        if not found:
            raise UncertainError("the run has not kept its inputs")
        return found

    def _know(self, row: Line) -> None:
        """Find out which columns of a row are from the inputs."""
        for name in row.keys() - self._known:
            column = self._names.input_column(name)
            if column in self._renamed:
                self._inputs[name] = self._renamed[column]
            elif column is not None and not self._is_renamed:
                self._inputs[name] = column
        self._known.update(row)

    def _output(self, id: str, name: str, path: str, row: Line, steps: Steps) -> Any:
        """The output of a node for an item, or for what it was split from."""
        line, value = self._found(id, name, path, steps)
        last, built = self._last.get(id, (None, None))
        if last is not line or line.get("kind") == "split":
            built = self._built(id, value, name)
            self._last[id] = line, built
        return built

    def _found(self, id: str, name: str, path: str, steps: Steps) -> tuple[Line, Any]:
        """The line of a node's output, and its JSON value."""
        found = steps.get(id, ())
        if path or len(found) != 1 or "item" in found[0]:
            found = [it for it in found if _is_before(it.get("item", ""), path)]
        if len(found) != 1:
            raise UncertainError(f"the output of {name!r} is not written down once")
        (line,) = found
        kind, value = line.get("kind", "one"), line.get("output")
        if "snapshot" in line or "round" in line or kind not in ("one", "split"):
            raise UncertainError(f"the output of {name!r} is not certain")
        if kind == "split":
            own = line.get("item", "")
            rest = path[len(own) :].lstrip(".").partition(".")[0]
            if not rest:
                raise UncertainError(f"the output of {name!r} was split")
            value = value[int(rest)] if value is not None else None
        return line, value

    def _built(self, id: str, value: Any, name: str) -> Any:
        if id not in self._builds:
            self._builds[id] = build(self._shape(id), is_input=id == CHAIN_INPUT)
        try:
            return self._builds[id](value)
        except UncertainError as error:
            raise UncertainError(f"{name}: {error}") from None


def _refusing(why: str) -> Read:
    def refuse(path: str, row: Line, steps: Steps) -> NoReturn:
        raise UncertainError(why)

    return refuse


def _is_before(item: str, path: str) -> bool:
    """Whether an item is another, or one that it was split from."""
    return not item or item == path or path.startswith(f"{item}.")


def _templates(node: Mapping[str, Any]) -> list[dict[str, str]]:
    """The templates of a step, as messages."""
    found = [("system", node.get("system_prompt"))]
    for turn in node.get("messages") or []:
        found.append((turn.get("role", "history"), turn.get("content") or turn.get("history")))
    found += [("user", node.get("user_prompt")), ("prefill", node.get("prefill"))]
    return [{"role": role, "content": str(text)} for role, text in found if text]
