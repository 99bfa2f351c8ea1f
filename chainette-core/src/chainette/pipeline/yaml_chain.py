"""Chains that are written in YAML."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chainette.engine.config_file import check_engines, raise_mistakes, register_all
from chainette.errors import ChainError
from chainette.pipeline.chain import Chain
from chainette.pipeline.inline_models import FieldSpec, build_models
from chainette.pipeline.step import Step
from chainette.pipeline.target import load_symbol
from chainette.types import SamplingParams
from chainette.validation import problems
from chainette.yaml_source import Place, YamlSource, expand, read_yaml


class StepSpec(BaseModel):
    """A step in YAML: the arguments of `Step`, with types by name."""

    model_config = ConfigDict(extra="forbid")

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


class ChainSpec(BaseModel):
    """A chain in YAML.

    Attributes:
        name: Name of the chain.
        emoji: Shown in front of the name.
        engines: Engines, as in `engines.yml`.
        inputs: File of input rows, relative to the YAML file.
        output_dir: Folder for the run, relative to the YAML file.
        models: Inline models: fields by name.
        steps: The steps.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    emoji: str = ""
    engines: list[Any] = Field(default_factory=list)
    inputs: str | None = None
    output_dir: str | None = None
    models: dict[str, dict[str, FieldSpec]] = Field(default_factory=dict)
    steps: list[StepSpec]

    @field_validator("models", mode="before")
    @classmethod
    def _short_fields(cls, models: Any) -> Any:
        """A field that is only a text is its type."""
        if not isinstance(models, dict):
            return models
        return {
            name: {
                key: {"type": spec} if isinstance(spec, str) else spec
                for key, spec in fields.items()
            }
            if isinstance(fields, dict)
            else fields
            for name, fields in models.items()
        }


@dataclass(frozen=True, slots=True)
class YamlChain:
    """A chain from YAML with what else its file says.

    Attributes:
        chain: The chain.
        inputs: File of input rows.
        output_dir: Folder for the run.
    """

    chain: Chain
    inputs: Path | None
    output_dir: Path | None


def load_yaml_chain(path: str | Path) -> YamlChain:
    """Load a chain from YAML and register its engines.

    Raises:
        ChainError: The file cannot be read or has mistakes; all that can be found together are
            named at once, with file and line.
    """
    source = read_yaml(path, ChainError)
    found: list[str] = []
    spec = _checked(source, found)
    engines = (
        check_engines(source, source.data["engines"], ("engines",), found)
        if isinstance(source.data, dict) and source.data.get("engines") is not None
        else {}
    )
    raise_mistakes(source, found, ChainError)
    assert spec is not None
    chain = _build(source, spec)
    register_all(engines)
    folder = source.path.parent
    return YamlChain(
        chain,
        inputs=folder / spec.inputs if spec.inputs else None,
        output_dir=folder / spec.output_dir if spec.output_dir else None,
    )


def _checked(source: YamlSource, found: list[str]) -> ChainSpec | None:
    """Check the file's shape; engines are checked apart, by their backends."""
    if not isinstance(source.data, dict):
        found.append(f"{source.place()}: expected a mapping with name and steps")
        return None

    def report(where: Place, message: str) -> None:
        found.append(f"{source.place(where)}: {message}")

    paths = {key: source.data[key] for key in ("inputs", "output_dir") if key in source.data}
    data = source.data | expand(paths, report)
    try:
        return ChainSpec.model_validate(data)
    except ValidationError as error:
        known = {*ChainSpec.model_fields, *StepSpec.model_fields, *FieldSpec.model_fields}
        messages = [message for _, message in problems(error, known)]
        for item, message in zip(error.errors(include_url=False), messages, strict=True):
            report(tuple(item["loc"]), message)
        return None


def _build(source: YamlSource, spec: ChainSpec) -> Chain:
    try:
        models = build_models(spec.models)
    except ValueError as error:
        where = str(error).partition(":")[0].split(".")
        raise ChainError(f"{source.place(('models', *where))}: {error}") from None
    folder = str(source.path.parent.resolve())
    if folder not in sys.path:  # module:Class may stand beside the YAML file
        sys.path.insert(0, folder)
    steps = []
    for index, step in enumerate(spec.steps):
        place = source.place(("steps", index))
        try:
            steps.append(_step(step, models))
        except ChainError as error:
            raise ChainError(f"{place}: {error}") from None
    try:
        return Chain(name=spec.name, steps=steps, emoji=spec.emoji)
    except ChainError as error:
        raise ChainError(f"{source.place(('steps',))}: {error}") from None


def _step(spec: StepSpec, models: dict[str, type[BaseModel]]) -> Step:
    arguments = {key: getattr(spec, key) for key in StepSpec.model_fields}
    for key in ("input_model", "output_model"):
        arguments[key] = _model(arguments[key], models)
    return Step(**arguments)


def _model(name: str, models: dict[str, type[BaseModel]]) -> Any:
    if name in models:
        return models[name]
    if ":" in name:
        return load_symbol(name)
    known = ", ".join(models) or "none"
    raise ChainError(f"unknown model {name!r}; declared under models: {known} (or module:Class)")
