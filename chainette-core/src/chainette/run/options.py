"""What a run can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from chainette.errors import OutputDirError


class RunKeywords(TypedDict, total=False):
    """The options as keywords of `Chain.run`, `arun` and `stream`."""

    output_dir: str | Path | None
    limit: int | None
    sample: int | None
    columns: Mapping[str, str] | None
    overwrite: bool
    resume: bool
    retry_errors: bool
    force: bool
    max_lines_per_file: int
    fmt: Literal["jsonl", "parquet"]
    cache: str | Path | None
    max_cost: float | None
    max_errors: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of a run; `Chain.arun` says what they mean to its users.

    Attributes:
        output_dir: Folder for the run's files.
        limit: Most input rows to take.
        sample: Rows to take at random, in their order; the same ones every time.
        columns: Columns of the input by the field that each becomes; the others are left out.
        overwrite: Replace an earlier run.
        resume: Go on with an earlier run.
        retry_errors: When resuming, try again what failed.
        force: Resume although chain, engines or inputs changed.
        max_lines_per_file: Lines of a file before a new one begins.
        fmt: `parquet` adds the tables as Parquet files when the run ends.
        cache: Folder of answers that were given before.
        max_cost: US dollars after which the run is stopped, as far as prices are known.
        max_errors: Failed rows after which the run is stopped; below 1 their share of all rows.

    Raises:
        OutputDirError: There is nothing to resume without an output directory.
    """

    output_dir: str | Path | None = None
    limit: int | None = None
    sample: int | None = None
    columns: Mapping[str, str] | None = None
    overwrite: bool = False
    resume: bool = False
    retry_errors: bool = False
    force: bool = False
    max_lines_per_file: int = 100_000
    fmt: Literal["jsonl", "parquet"] = "jsonl"
    cache: str | Path | None = None
    max_cost: float | None = None
    max_errors: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.resumes and self.output_dir is None:
            raise OutputDirError("to resume, give the output directory of the run")

    @property
    def resumes(self) -> bool:
        """Whether an earlier run is gone on with, if there is one."""
        return self.resume or self.retry_errors
