"""The format of chains in YAML, as Pydantic models; `chainette schema` prints its JSON Schema."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetPydanticSchema,
    Tag,
    WithJsonSchema,
    create_model,
)
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from chainette import samplers
from chainette.engine.sampling import BY_ATTEMPT
from chainette.loading.inline_models import InlineField
from chainette.run.options import Option, options_of
from chainette.types import SamplingParams


class _Spec(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class _NodeSpec(_Spec):
    """The options of steps and functions."""

    name: str = ""
    yield_output: bool = True
    emoji: str = ""
    when: str | None = None
    otherwise: Any = None
    on_error: Literal["fail", "none"] = "fail"
    default: Any = None


class TurnSpec(_Spec):
    """A turn of a conversation: a role and a template, or the name of a list of messages."""

    role: Literal["system", "user", "assistant"] | None = None
    content: str | None = None
    history: str | None = None


class ExampleSpec(_Spec):
    """An example: an input, or the names that the prompt uses, and the output."""

    input: Any
    output: Any


Examples = Annotated[
    Annotated[str, Tag("<path>")] | Annotated[list[ExampleSpec], Tag("<examples>")],
    Discriminator(lambda value: "<path>" if isinstance(value, str) else "<examples>"),
]
"""Examples, or the path of their file, relative to the YAML file."""


def _is_list(value: Any) -> str:
    """The tag of a value that can also be a list with one for each attempt."""
    return "<list>" if isinstance(value, list) else "<one>"


def _or_list(one: Any) -> Any:
    """A type, or a list of it."""
    several = Annotated[list[one], Field(min_length=1)]
    both = Annotated[one, Tag("<one>")] | Annotated[several, Tag("<list>")]
    return Annotated[both, Discriminator(_is_list)]


def _constrained(field: FieldInfo) -> Any:
    """The type of a field, with its constraints."""
    kind: Any = field.annotation
    for constraint in field.metadata:
        kind = Annotated[kind, constraint]
    return kind


_LISTS: dict[str, Any] = {
    name: (_or_list(_constrained(field)), None)
    for name, field in SamplingParams.model_fields.items()
    if name in BY_ATTEMPT
}
SAMPLING_SPEC: type[BaseModel] = create_model(
    "SamplingSpec",
    __base__=SamplingParams,
    __doc__="Sampling parameters; a list has a value for each attempt, and the last repeats.",
    **_LISTS,
)
"""The sampling of a step, as a model for YAML files."""
SamplingOfFile = Annotated[
    Any,  # a model that is created from the parameters, which no type checker knows
    GetPydanticSchema(lambda _, handler: handler(_or_list(SAMPLING_SPEC) | None)),
]


class StepSpec(_NodeSpec):
    """A prompt: the arguments of `Step`, with types by name."""

    id: str
    input_model: str
    output_model: str | None = None
    engine_name: str
    samples: Annotated[int, Field(ge=1, strict=True)] | None = None
    sampling: SamplingOfFile = None
    reasks: Annotated[int, Field(ge=0, strict=True)] = 1
    keep_reasoning: bool = False
    system_prompt: str = ""
    user_prompt: str | None = None
    messages: list[TurnSpec] | None = None
    examples: Examples = ()  # type: ignore[assignment]
    prefill: str = ""
    output_format_instruction: str | None = None
    constant_prompt: bool = False
    accept_truncated: bool = False


Batch = Annotated[
    Any,  # `apply` describes a mistake in fewer words
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "all"}]}),
]


class ApplySpec(_NodeSpec):
    """A function: the arguments of `apply`; the function is `module:name`."""

    apply: str
    id: str | None = None
    input_model: str | None = None
    output_model: str | None = None
    batch: Batch = None
    threaded: bool = False
    engines: list[str] | None = None


class SplitSpec(_NodeSpec):
    """A list into items: the arguments of `split`; `split` is the field, or null for the item."""

    split: str | None = Field(description="Field with the list; null for the item itself.")
    id: str | None = None
    input_model: str | None = None
    output_model: str | None = None


class FilterSpec(_NodeSpec):
    """Items that go on: the arguments of `filter`, an expression or `module:name`."""

    filter: str = Field(description="Expression, or function as `module:name`.")
    id: str | None = None
    input_model: str | None = None
    yield_output: bool = False


class DistinctSpec(_NodeSpec):
    """The first item of each key: the arguments of `distinct`; null for the whole item."""

    distinct: str | list[str] | None = Field(
        description="Field, fields, expression or function; null for the whole item."
    )
    id: str | None = None
    input_model: str | None = None
    yield_output: bool = False


class VoteSpec(_NodeSpec):
    """One of a list, by majority: the arguments of `vote`; null for the whole item."""

    vote: str | None = Field(description="Field to vote on; null for the whole item.")
    id: str | None = None
    input_model: str | None = None


class BranchSpec(_Spec):
    """Nodes that run beside the others; `join` is the name of the last output."""

    branch: str
    steps: list[NodeSpec] = Field(min_length=1)
    join: str | None = None
    emoji: str = ""
    when: str | None = None
    on_error: Literal["fail", "none"] = "fail"
    default: Any = None


CaseKey = str | bool | int | None


class RouteSpec(_Spec):
    """One of several ways, by a key; `route` is its id, `by` an expression or `module:name`."""

    route: str
    by: str
    cases: dict[CaseKey, list[NodeSpec] | None] = Field(min_length=1)
    default: list[NodeSpec] | None = None
    name: str = ""
    yield_output: bool = True
    emoji: str = ""
    when: str | None = None
    on_error: Literal["fail", "none"] = "fail"


class RepeatSpec(_NodeSpec):
    """Nodes that run again until `until` is good: an expression, `module:name` or a step.

    Without `until`, all of `max_rounds` run.
    """

    repeat: str
    steps: list[NodeSpec] = Field(min_length=1)
    until: Annotated[
        Annotated[str, Tag("<text>")] | Annotated[StepSpec, Tag("<step>")],
        Discriminator(lambda value: "<step>" if isinstance(value, dict) else "<text>"),
    ] = None  # type: ignore[assignment]
    max_rounds: int = Field(default=4, ge=1)
    exhausted: Literal["fail", "last"] = "fail"


class ReduceSpec(_Spec):
    """Nodes that take all rows of a key, as a `Group`; `reduce` is the name of the groups."""

    reduce: str
    by: str | list[str] | None = None
    fold: int | None = Field(default=None, ge=1)
    steps: list[NodeSpec] = Field(min_length=1)


class UseSpec(_Spec):
    """A step, function, branch, pipe or chain from Python, as `module:name`."""

    use: str


KINDS = (
    "apply", "split", "filter", "distinct", "vote", "branch", "route", "repeat", "reduce", "use",
)  # fmt: skip
"""Keys that say what a node is; a step has none of them."""


def _kind(value: Any) -> str | None:
    """The tag of a node's spec, by the keys that the node has; `None` if they are of no kind."""
    if not isinstance(value, dict):
        return None
    tags = [f"<{key}>" for key in KINDS if key in value]
    if len(tags) > 1:
        return None
    return tags[0] if tags else "<step>" if value.keys() & StepSpec.model_fields.keys() else None


NodeSpec = Annotated[
    Annotated[StepSpec, Tag("<step>")]
    | Annotated[ApplySpec, Tag("<apply>")]
    | Annotated[SplitSpec, Tag("<split>")]
    | Annotated[FilterSpec, Tag("<filter>")]
    | Annotated[DistinctSpec, Tag("<distinct>")]
    | Annotated[VoteSpec, Tag("<vote>")]
    | Annotated[BranchSpec, Tag("<branch>")]
    | Annotated[RouteSpec, Tag("<route>")]
    | Annotated[RepeatSpec, Tag("<repeat>")]
    | Annotated[ReduceSpec, Tag("<reduce>")]
    | Annotated[UseSpec, Tag("<use>")],
    Discriminator(_kind),
]

SAMPLERS = ("function", *(name for name in samplers.__all__ if name != "Sampler"))
"""Samplers by the keys that they have; `function` is one of Python, as `module:name`."""
COLUMN: JsonDict = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "object", "properties": {name: {} for name in SAMPLERS}, "minProperties": 1},
    ]
}
"""The JSON Schema of a column of rows from nothing."""


class EngineSpec(BaseModel):
    """An engine; more fields depend on its backend."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")

    name: str
    backend: str
    model: str | None = None
    endpoint: str | None = None


_IN_YAML: dict[str, Any] = {"keep": Literal["all", "none"] | list[str]}
"""Types of options whose mistakes are said better of a list than of any sequence."""


def _field(option: Option) -> Any:
    """The type and default of an option, for `create_model`."""
    text = f"{option.help.text} {option.help.more}".strip()
    kind = str | None if option.is_path else _IN_YAML.get(option.name, option.type)
    return kind, Field(default=option.default, description=text, ge=option.help.minimum)


class RowsSpec(BaseModel):
    """Rows from nothing: the arguments of `rows`; further keys are columns.

    A column is a value, a template, or a mapping whose key is a sampler, such as
    `{choice: [dry, warm]}`; further keys are its options.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", json_schema_extra={"additionalProperties": COLUMN}
    )
    rows: int = Field(ge=0)
    seed: int = 0
    given: str | None = None


Inputs = Annotated[
    Annotated[str, Tag("<file>")] | Annotated[RowsSpec, Tag("<rows>")],
    Discriminator(lambda value: "<rows>" if isinstance(value, dict) else "<file>"),
]

RUN_SPEC: type[BaseModel] = create_model(
    "RunSpec",
    __base__=_Spec,
    __doc__="The options of a run, as in `RunOptions`; paths are relative to the YAML file.",
    **{option.name: _field(option) for option in options_of()},
)
"""The options of a run, as a model for YAML files."""
RunOptionsOfFile = Annotated[
    Any,  # a model that is created from the options, which no type checker knows
    GetPydanticSchema(lambda _, handler: handler(RUN_SPEC)),
]


class ChainSpec(_Spec):
    """A chain.

    Attributes:
        name: Name of the chain.
        emoji: Shown in front of the name.
        engines: Engines, as in `engines.yml`.
        inputs: File of input rows, relative to the YAML file; or rows from nothing.
        output_dir: Folder for the run, relative to the YAML file.
        run: Options of the run, which the command line overrides.
        models: Inline models: fields by name.
        steps: The nodes.
    """

    name: str
    emoji: str = ""
    engines: list[Any] = Field(default_factory=list)
    inputs: Inputs | None = None
    output_dir: str | None = None
    run: RunOptionsOfFile = Field(default_factory=RUN_SPEC)
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
