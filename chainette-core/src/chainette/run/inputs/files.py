"""Input rows: from files, from standard input and from any iterable."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, AnyStr, TextIO

from chainette.errors import InputError
from chainette.reports.frames import require_pyarrow
from chainette.text import printable

MAX_CHARACTERS = 100_000_000
"""Maximum length of a line of JSON; a longer one is not a row and would take too much memory."""
FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row as it was read, not yet validated.

    Attributes:
        row_id: 0-based index of the row.
        value: The value, not yet validated.
        place: File and line, or index, for error messages.
        error: The reason why the row could not be read, or `None`.
    """

    row_id: int
    value: Any
    place: str
    error: InputError | None = None


async def read_rows(inputs: Any) -> AsyncGenerator[InputRow, None]:
    """Read rows lazily, one by one.

    Args:
        inputs: A path (`-` is standard input), an iterable or an async iterable.

    Raises:
        InputError: The file cannot be read at all.
    """
    if isinstance(inputs, str | Path):
        for row in _read_file(inputs):
            yield row
    elif isinstance(inputs, AsyncIterable):
        index = 0
        async for value in inputs:
            yield InputRow(index, value, f"input row {index}")
            index += 1
    elif isinstance(inputs, Iterable):
        for index, value in enumerate(inputs):
            yield InputRow(index, value, f"input row {index}")
    else:
        raise InputError(f"inputs is neither an iterable nor a path: {type(inputs).__name__}")


def check_file(path: str | Path) -> None:
    """Check that a file of inputs can be read.

    Raises:
        InputError: It is missing, a directory, unreadable or of an unknown format.
    """
    if str(path) == "-":
        return
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give a file of rows ({', '.join(FORMATS)})")
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: unknown format {path.suffix!r}; known: {', '.join(FORMATS)}")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def count_inputs(inputs: Any) -> int | None:
    """The number of rows, or `None` if it is unknown before they are read."""
    if isinstance(inputs, str | Path):
        return count_rows(inputs)
    return len(inputs) if hasattr(inputs, "__len__") else None


def count_rows(path: str | Path) -> int | None:
    """The number of rows in a file; `None` for formats that must be parsed to count them."""
    if Path(path).suffix.lower() == ".parquet":
        return int(_parquet_file(Path(path)).metadata.num_rows)
    if Path(path).suffix.lower() not in (".jsonl", ".ndjson"):
        return None
    with Path(path).open("rb") as file:
        return sum(1 for line in _lines(file, b"\n") if line.strip())


def digest(inputs: Any) -> str | None:
    """SHA-256 of a file, or the fingerprint of a dataset; `None` for anything else."""
    if not isinstance(inputs, str | Path):
        return getattr(inputs, "_fingerprint", None)
    if str(inputs) == "-":
        return None
    sha = hashlib.sha256()
    with Path(inputs).open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def _read_file(path: str | Path) -> Iterator[InputRow]:
    if str(path) == "-":
        yield from _json_lines(sys.stdin, "standard input")
        return
    check_file(path)
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path)
        return
    readers = {".json": _json_array, ".csv": _csv}
    # Undecodable bytes become surrogates, so that they fail their row and not the file.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from readers.get(path.suffix.lower(), _json_lines)(file, str(path))


def _json_lines(file: TextIO, name: str) -> Iterator[InputRow]:
    index = 0
    for number, line in enumerate(_lines(file, "\n"), start=1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        if len(line) > MAX_CHARACTERS:
            message = f"{place}: longer than {MAX_CHARACTERS // 1_000_000} million characters"
            yield InputRow(index, None, place, InputError(message))
            index += 1
            continue
        try:
            line.encode()
            yield InputRow(index, json.loads(line), place)
        except UnicodeEncodeError:
            yield InputRow(index, None, place, InputError(f"{place}: not UTF-8"))
        except json.JSONDecodeError as error:
            message = f"{place}: not JSON: {error.msg} at column {error.colno}"
            yield InputRow(index, None, place, InputError(message))
        except (ValueError, RecursionError) as error:
            yield InputRow(index, None, place, InputError(f"{place}: not JSON: {error}"))
        index += 1


def _lines(file: IO[AnyStr], newline: AnyStr) -> Iterator[AnyStr]:
    """The lines of a file; only the beginning of a line that is too long."""
    while line := file.readline(MAX_CHARACTERS + 1):
        yield line
        while len(line) > MAX_CHARACTERS and not line.endswith(newline):
            line = file.readline(MAX_CHARACTERS + 1)


def _json_array(file: TextIO, name: str) -> Iterator[InputRow]:
    try:
        rows = json.load(file)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}:{error.lineno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not JSON: {error}") from None
    if not isinstance(rows, list):
        raise InputError(f"{name}: expected a JSON array of rows")
    for index, value in enumerate(rows):
        yield InputRow(index, value, f"{name}, row {index}")


def _csv(file: TextIO, name: str) -> Iterator[InputRow]:
    reader = csv.DictReader(file, restkey="", restval=None)
    try:
        _check_columns(reader.fieldnames or (), name)
        for index, record in enumerate(reader):
            place = f"{name}:{reader.line_num}"
            error = None
            if "" in record:
                error = InputError(f"{place}: more values than the {len(record) - 1} columns")
            # An empty cell is left out, so that the model's default applies, if it has one.
            value = {key: cell for key, cell in record.items() if cell not in ("", None)}
            yield InputRow(index, value, place, error)
    except csv.Error as problem:
        raise InputError(f"{name}:{reader.line_num}: not CSV: {problem}") from None


def _check_columns(names: Sequence[str], source: str) -> None:
    """Refuse two columns of the same name, of which only the last would be read.

    Raises:
        InputError: There are two.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(f"{source}: two columns have the name {printable(repeated[0])[:80]!r}")


def _parquet(path: Path) -> Iterator[InputRow]:
    index = 0
    file = _parquet_file(path)
    _check_columns(file.schema_arrow.names, str(path))
    for batch in file.iter_batches(batch_size=1024):
        for value in batch.to_pylist():
            yield InputRow(index, value, f"{path}, row {index}")
            index += 1


def _parquet_file(path: Path) -> Any:
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not a Parquet file: {error}") from None
