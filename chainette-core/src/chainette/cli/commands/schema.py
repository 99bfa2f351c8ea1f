"""`chainette schema`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from chainette.cli.say import say


class Kind(str, Enum):
    """The kinds of files that have a schema."""

    CHAIN = "chain"
    ENGINES = "engines"


def schema(
    kind: Annotated[Kind, typer.Argument(help="The kind of file.")] = Kind.CHAIN,
) -> None:
    """Print the JSON Schema of chains or engines.

    Editors check and complete YAML files with it.
    """
    import json

    from chainette.loading.yaml_schema import chain_schema, engines_schema

    make = chain_schema if kind is Kind.CHAIN else engines_schema
    say(json.dumps(make(), ensure_ascii=False, indent=2))
