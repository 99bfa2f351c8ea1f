"""The answers of an estimate, taken over by the run that follows it in the same folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chainette.errors import OutputDirError
from chainette.folder.files import ERRORS, ESTIMATE, MANIFEST, REDONE, RETRIED, STEPS, has_rows
from chainette.folder.lines import unwritable
from chainette.folder.manifest import read_manifest
from chainette.run.options import RunOptions

READING = "estimate.json"
"""File in the folder of an estimate: the options that decide on what its rows are."""
_logger = logging.getLogger(__name__)


def reading(options: RunOptions) -> dict[str, Any]:
    """The options that decide on what the rows are, and which prompts can be sent."""
    columns = dict(options.columns) if options.columns is not None else None
    return {
        "columns": columns,
        "encoding": options.encoding,
        "delimiter": options.delimiter,
        "max_prompt_chars": options.max_prompt_chars,
    }


def with_estimate(path: Path, fields: Mapping[str, Any], options: RunOptions) -> RunOptions:
    """The options of a run that goes on from the estimate in its folder, where there is one.

    The estimate must be that of the same chain, engines and inputs. Its failed rows are run again.

    Args:
        path: The run's folder.
        fields: The start of the run's manifest.
        options: The run's options.

    Returns:
        The options themselves, where there is no estimate that fits, or a run has begun already.

    Raises:
        OutputDirError: The lines of the estimate cannot be copied.
    """
    folders = [it.parent for it in sorted((path / ESTIMATE).glob(f"*/{MANIFEST}"))]
    if not folders or options.overwrite or has_rows(path):
        return options
    fitting = next((it for it in folders if _fits(it, fields, options)), None)
    if fitting is None:
        _logger.warning(
            "%s: the estimates in it are of another chain, engine or input, so their answers are "
            "not used",
            path / ESTIMATE,
        )
        return options
    try:
        _copy(fitting, path)
    except OSError as error:
        raise unwritable(path, error) from None
    return replace(options, retry_errors=True)


def _fits(folder: Path, fields: Mapping[str, Any], options: RunOptions) -> bool:
    """Whether an estimate asked what the run would ask."""
    try:
        found = read_manifest(folder)
        read = json.loads((folder / READING).read_text(encoding="utf-8"))["reading"]
    except (OSError, ValueError, LookupError, TypeError, OutputDirError):
        return False
    digest = fields["inputs"]["sha256"]
    return (
        digest is not None
        and found.get("inputs", {}).get("sha256") == digest
        and found.get("fingerprint") == fields["fingerprint"]
        and read == reading(options)
    )


def _copy(folder: Path, path: Path) -> None:
    """Copy the journal of an estimate; the manifest comes first, so that a resume finds the rest.

    Rows that are not copied yet when this is killed are asked again.
    """
    for name in (STEPS, RETRIED, REDONE):
        shutil.rmtree(path / name, ignore_errors=True)
    (path / ERRORS).unlink(missing_ok=True)
    shutil.copyfile(folder / MANIFEST, path / MANIFEST)
    for name in (RETRIED, REDONE, STEPS):
        if (folder / name).exists():
            shutil.copytree(folder / name, path / name)
    if (folder / ERRORS).exists():
        shutil.copyfile(folder / ERRORS, path / ERRORS)
