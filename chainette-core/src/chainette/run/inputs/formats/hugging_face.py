"""Hugging Face datasets as inputs; needs the extra `chainette[datasets]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chainette.errors import ConfigError, InputError
from chainette.remote.address import is_address

PREFIX = "hf:"
"""Start of a dataset's name: `hf:NAME`, `hf:NAME:SPLIT` or `hf:NAME:CONFIGURATION:SPLIT`.

`NAME@REVISION` is the dataset at a commit, a branch or a tag."""
_SAVED = ("dataset_info.json", "dataset_dict.json")
_FRAMES = ("arrow", "pandas", "polars")
"""Formats in which a dataset gives each row as a frame."""


def is_dataset(inputs: Any) -> bool:
    """Whether inputs are the name of a dataset, or a folder written by `save_to_disk`."""
    if not isinstance(inputs, str | Path):
        return False
    folder = Path(inputs)
    try:
        if is_address(str(inputs)):
            return False
        return str(inputs).startswith(PREFIX) or any((folder / name).is_file() for name in _SAVED)
    except OSError:  # a text that is longer than a path can be
        return False


def open_dataset(inputs: str | Path) -> Any:
    """Load a dataset, from disk or by its name.

    Returns:
        A `datasets.Dataset`; its rows are dicts.

    Raises:
        ConfigError: The extra is not installed.
        InputError: The dataset does not exist, or has several splits and the name picks none.
    """
    try:
        import datasets
    except ImportError:
        raise ConfigError(
            'Hugging Face datasets need an extra: pip install "chainette[datasets]"'
        ) from None
    datasets.disable_progress_bars()
    try:
        if str(inputs).startswith(PREFIX):
            name, *rest = str(inputs).removeprefix(PREFIX).split(":")
            *configuration, split = rest or ["train"]
            name, _, revision = name.partition("@")
            dataset = datasets.load_dataset(
                name, *configuration, split=split, revision=revision or None
            )
        else:
            dataset = datasets.load_from_disk(inputs)
    except Exception as error:  # of any kind, from the network to the files' formats
        raise InputError(f"{inputs}: {type(error).__name__}: {error}") from None
    if isinstance(dataset, datasets.DatasetDict):
        splits = ", ".join(dataset)
        raise InputError(f"{inputs}: has the splits {splits}; give the folder of one of them")
    return dataset


def with_plain_rows(inputs: Any) -> Any:
    """A dataset that gives its rows as frames as one that gives dicts; other inputs as they are."""
    known = getattr(inputs, "format", None)
    if isinstance(known, dict) and known.get("type") in _FRAMES:
        return inputs.with_format(None, columns=known.get("columns"))
    streamed = getattr(inputs, "_formatting", None)  # of a dataset that is streamed
    if getattr(streamed, "format_type", None) in _FRAMES:
        return inputs.with_format(None)
    return inputs
