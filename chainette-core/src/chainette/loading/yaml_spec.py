"""The format of chains in YAML, as Pydantic models; `chainette schema` prints its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from chainette.loading.inline_models import FieldSpec
from chainette.types import SamplingParams


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StepSpec(_Spec):
    """A prompt: the arguments of `Step`, with types by name."""

    id: str
    name: str = ""
    input_model: str
    output_model: str
    engine_name: str
    sampling: SamplingParams | None = None
    system_prompt: str = ""
    user_prompt: str
    output_format_instruction: str | None = None
    yield_output: bool = True
    emoji: str = ""


Batch = Annotated[
    Any,  # `apply` says what is wrong with it in fewer words
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}),
]


class ApplySpec(_Spec):
    """A function: the arguments of `apply`; the function is `module:name`."""

    apply: str
    id: str | None = None
    name: str = ""
    input_model: str | None = None
    output_model: str | None = None
    batch: Batch = None
    threaded: bool = False
    yield_output: bool = True
    emoji: str = ""


class BranchSpec(_Spec):
    """Nodes that run beside the others; `join` is the name that its last output gets."""

    branch: str
    steps: list[NodeSpec] = Field(min_length=1)
    join: str | None = None
    emoji: str = ""


class UseSpec(_Spec):
    """A step, function, branch, pipe or chain from Python, as `module:name`."""

    use: str


def _kind(value: Any) -> str:
    """Which of the specs a node of the file is, by the keys it has."""
    keys = value if isinstance(value, dict) else ()
    return next((f"<{key}>" for key in ("apply", "branch", "use") if key in keys), "<step>")


NodeSpec = Annotated[
    Annotated[StepSpec, Tag("<step>")]
    | Annotated[ApplySpec, Tag("<apply>")]
    | Annotated[BranchSpec, Tag("<branch>")]
    | Annotated[UseSpec, Tag("<use>")],
    Discriminator(_kind),
]

InlineField = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[FieldSpec, Tag("<field>")],
    Discriminator(lambda value: "<text>" if isinstance(value, str) else "<field>"),
]
"""A field of an inline model; one that is only a text is its type."""


class EngineSpec(BaseModel):
    """An engine; what else it may have depends on its backend."""

    model_config = ConfigDict(extra="allow")

    name: str
    backend: str
    model: str | None = None
    endpoint: str | None = None


class ChainSpec(_Spec):
    """A chain.

    Attributes:
        name: Name of the chain.
        emoji: Shown in front of the name.
        engines: Engines, as in `engines.yml`.
        inputs: File of input rows, relative to the YAML file.
        output_dir: Folder for the run, relative to the YAML file.
        models: Inline models: fields by name.
        steps: The nodes.
    """

    name: str
    emoji: str = ""
    engines: list[Any] = Field(default_factory=list)
    inputs: str | None = None
    output_dir: str | None = None
    models: dict[str, dict[str, InlineField]] = Field(default_factory=dict)
    steps: list[NodeSpec]


def format_schema() -> dict[str, Any]:
    """The JSON Schema of the format, for editors."""

    class ChainFile(ChainSpec):
        __doc__ = "A chain of Chainette."
        engines: list[EngineSpec] = Field(default_factory=list)

    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | (
        ChainFile.model_json_schema()
    )
