"""Feeds files to the loaders of engines and chains; see `make fuzz`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chainette", "yaml"]):
    from chainette.errors import ChainetteError
    from chainette.loading.yaml_chain import load_yaml_chain
    from chainette.registry.config_file import load_engines

FOLDER = Path(tempfile.mkdtemp())
FILE = FOLDER / "file.yml"


def check(data: bytes) -> None:
    """Check that any file is loaded or is an error that names it."""
    FILE.write_bytes(data)
    for loader in (load_engines, load_yaml_chain):
        try:
            loader(FILE)
        except ChainetteError as error:
            message = str(error)
        else:
            continue
        assert str(FILE) in message


atheris.Setup(sys.argv, check)
atheris.Fuzz()
