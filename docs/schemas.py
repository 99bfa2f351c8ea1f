"""The JSON Schemas that the wheel ships, written by `make docs` from the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chainette.loading import yaml_schema
from chainette.plugins.discovery import OURS

FOLDER = Path(yaml_schema.__file__).parent / "schemas"


def texts() -> dict[str, str]:
    """The contents of the files by name: with the backends of this project."""
    backends = sorted(OURS)
    schemas: dict[str, Any] = {
        "chain.schema.json": yaml_schema.chain_schema(backends),
        "engines.schema.json": yaml_schema.engines_schema(backends),
    }
    return {name: json.dumps(it, ensure_ascii=False) + "\n" for name, it in schemas.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
