"""The JSON schemas of what a run writes."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from chainette.pipeline.pipeline import Pipeline
from chainette.validation import type_adapter

CHAIN_INPUT = "chain_input"


class _TableSchema(GenerateJsonSchema):
    """The schemas of what tables have, where decimals are told apart from other texts."""

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        """The schema of decimals."""
        return super().decimal_schema(schema) | {"format": "decimal"}


def schemas(pipeline: Pipeline) -> dict[str, dict[str, Any] | None]:
    """The schemas of the rows and of each node's outputs, as `graph.json` has them.

    `None` for a type that has no schema, such as one with a serializer of its own.
    """
    models = {CHAIN_INPUT: pipeline.input_model}
    models |= {id: node.recorded_model for id, node in pipeline.nodes.items()}
    return {id: _schema(model) for id, model in models.items()}


def _schema(model: Any) -> dict[str, Any] | None:
    try:
        return type_adapter(model).json_schema(
            by_alias=False, schema_generator=_TableSchema, mode="serialization"
        )
    except Exception:  # of the type's own code, or since a part of it has no schema
        return None
