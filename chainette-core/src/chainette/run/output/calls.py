"""The journal of the engine calls that functions make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from time import time
from typing import Any

from chainette import errors
from chainette.errors import EngineError, StructuredOutputError
from chainette.folder.call_index import CallIndex
from chainette.folder.files import CALLS
from chainette.folder.lines import LineFile, encodable
from chainette.pipeline.functions.questions import Question
from chainette.reports.codec import OutputCodec
from chainette.reports.snapshot import SnapshotError
from chainette.run.item import Item
from chainette.types import LLMOutput
from chainette.usage import Usage, dollars

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Replay:
    """A call that an earlier run has finished.

    Attributes:
        value: Its answer.
        error: The reason why there was none, or `None`.
        usage: Tokens that it took.
        cost: US dollars that it cost.
    """

    value: Any = None
    error: EngineError | None = None
    usage: Usage | None = None
    cost: Decimal | None = None


class CallJournal:
    """The calls of functions: those of this run, and those that an earlier one left.

    Args:
        files: The files of the run by name, or `None` to keep nothing.
        earlier: The calls of the run that is resumed, or `None`.
        write: Writes a line into a file.
    """

    def __init__(
        self,
        files: Mapping[str, LineFile] | None,
        earlier: CallIndex | None,
        write: Callable[[LineFile, dict[str, Any]], None],
    ) -> None:
        self._files = files
        self._earlier = earlier
        self._write = write

    def attempt(self, node_id: str, item: Item) -> int:
        """The number of failures of a function that were set aside; see `CallIndex.attempt`."""
        return self._earlier.attempt(node_id, item.key) if self._earlier is not None else 0

    def find(
        self,
        node_id: str,
        item: Item,
        question: Question,
        place: Mapping[str, Any],
        names: Mapping[str, Any],
    ) -> Replay | None:
        """The end of a call in an earlier run, or `None`.

        Args:
            node_id: The function.
            item: The item.
            question: The request.
            place: The fields of its line that tell it from others; see `call_fields`.
            names: The values that validators of the answer see.
        """
        if self._earlier is None:
            return None
        found = place.get("attempt", 0), place["call"], place.get("nth", 0)
        line = self._earlier.find(node_id, item.key, *found)
        if line is None:
            return None
        replay = Replay(usage=Usage(**line["usage"]) if line.get("usage") else None)
        replay.cost = None if line.get("cost") is None else Decimal(str(line["cost"]))
        try:
            if "message" in line:
                replay.error = _error(line)
            else:
                replay.value = _value(line, question.output_model, names)
        except Exception as problem:  # an edited line, or a class that is gone
            reason = f"{type(problem).__name__}: {problem}"
            _logger.warning(
                "apply %r: an answer cannot be read back (%s): asked again", node_id, reason
            )
            return None
        return replay

    def done(
        self,
        node_id: str,
        item: Item,
        question: Question,
        output: LLMOutput,
        fields: Mapping[str, Any],
    ) -> None:
        """Write down a call that has ended.

        Args:
            node_id: The function.
            item: The item.
            question: The request.
            output: The answer.
            fields: Further fields of its line; without `call`, only its cost counts.
        """
        if self._files is None:
            return
        end: dict[str, Any] = {}
        if output.error is not None:
            end = _failure(output.error)
        elif "call" in fields:
            end = self._answer(question.output_model, output)
        usage = output.usage and output.usage.as_dict()
        spent = {"usage": usage, "cost": dollars(output.cost), "latency": round(output.latency, 6)}
        line = {**item.key, **fields, "engine": question.engine, **end, **spent}
        if usage is None:
            del line["usage"]
        if output.error is None:
            line["at"] = round(time(), 3)
        if output.requests != 1:
            line["requests"] = output.requests
        if output.cached:
            line["cached"] = True
        if output.prompt_cut:
            line["prompt_cut"] = True
        self._write(self._files[node_id + CALLS], line)

    def close(self) -> None:
        """Forget the earlier run."""
        if self._earlier is not None:
            self._earlier.close()

    def _answer(self, model: Any, output: LLMOutput) -> dict[str, Any]:
        completion = output.outputs[0]
        thoughts = completion.reasoning_content
        more = {"reasoning": thoughts} if thoughts else {}
        value = answer_of(output)
        if type(value) is str:  # as it is: validators could change it a second time
            return {"kind": "text", "output": value, **more}
        text = completion.json_text
        codec = _codec(model)
        try:
            record = codec.record(value, is_validated=text is not None)
        except SnapshotError:
            record = {"output": codec.dump(value)}
        return {**record, **({"text": text} if text is not None else {}), **more}


@lru_cache(maxsize=256)
def _codec(model: Any) -> OutputCodec:
    return OutputCodec(model, is_validated=True)


def _value(line: Mapping[str, Any], model: Any, names: Mapping[str, Any]) -> Any:
    return line["output"] if line.get("kind") == "text" else _codec(model).read(line, names)


def answer_of(output: LLMOutput) -> Any:
    """The answer to a call; a text is as it comes back from a file.

    Args:
        output: The output of the engine.
    """
    value = output.outputs[0].parsed
    return encodable(value) if type(value) is str else value


def _failure(error: EngineError) -> dict[str, Any]:
    fields = {
        "type": type(error).__name__,
        "message": str(error),
        "status": error.status,
        "raw_text": error.raw_text,
        "problem": getattr(error, "problem", None),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _error(line: Mapping[str, Any]) -> EngineError:
    """The error of a line, of the class that it had."""
    cls = getattr(errors, line["type"], EngineError)
    cls = cls if isinstance(cls, type) and issubclass(cls, EngineError) else EngineError
    fields = {name: line.get(name) for name in ("engine", "status", "raw_text")}
    error = cls(line["message"], **fields)
    if isinstance(error, StructuredOutputError):
        error.problem = line.get("problem", "")
    return error
