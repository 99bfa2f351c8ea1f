"""Input rows of files: of one, of those that a pattern matches, or of a folder of Parquet."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from chainette.errors import InputError
from chainette.run.inputs.csv_rows import read_csv
from chainette.run.inputs.json_rows import Read, count_lines, read_json
from chainette.run.inputs.tables import count_parquet, read_parquet
from chainette.text import did_you_mean

TABLES = (".csv", ".tsv", ".parquet")
FORMATS = (".jsonl", ".ndjson", ".json", *TABLES)
COMPRESSED = ".gz"
BLOCK = 1 << 20
_BINARY = {b"PAR1": "Parquet", b"\x1f\x8b": "gzip", b"PK\x03\x04": "a ZIP archive or a spreadsheet"}
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class InputRow:
    """One row as it was read, not yet validated.

    Attributes:
        row_id: 0-based index of the row.
        value: The value, not yet validated.
        place: File and line, or index, for error messages.
        error: The reason why the row could not be read, or `None`.
        is_record: Whether it is from a table, where `None` is an empty cell.
    """

    row_id: int
    value: Any
    place: str
    error: InputError | None = None
    is_record: bool = False


class Files:
    """The rows of one or more files, or of standard input.

    Args:
        inputs: A path, a pattern such as `data/*.jsonl`, a folder of Parquet files, or `-`.

    Raises:
        InputError: A file is missing, unreadable, of an unknown format or not UTF-8.
    """

    def __init__(self, inputs: str | Path) -> None:
        self.is_stdin: bool = str(inputs) == "-"
        self.paths: list[Path] = [] if self.is_stdin else _found(inputs)
        for path in self.paths:
            _check(path)

    def rows(self) -> Iterator[InputRow]:
        """Read the rows lazily; their numbers continue from file to file."""
        if self.is_stdin:
            for index, read in enumerate(read_json(sys.stdin, "standard input", is_array=False)):
                yield InputRow(index, *read)
            return
        index = 0
        for path in self.paths:
            is_record = _format(path) in TABLES
            for read in _read(path):
                yield InputRow(index, *read, is_record)
                index += 1

    def count(self) -> int | None:
        """The number of rows, or `None` if they must be read to be counted."""
        if self.is_stdin:
            return None
        counts = [count_rows(path) for path in self.paths]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def digest(self) -> str | None:
        """SHA-256 of the file, or of the digests of several; `None` for standard input."""
        if self.is_stdin:
            return None
        digests = [_digest(path) for path in self.paths]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def as_path(inputs: str | Path) -> str | Path:
    """A path without what is copied with it, with the user's home in place of `~`.

    A `file:` address is its path (RFC 8089).

    Args:
        inputs: The path, as people write it.
    """
    text = str(inputs)
    if text.startswith("file:"):
        return Path(url2pathname(urlsplit(text).path))
    expanded = os.path.expanduser(text.strip(" \r\n\t\"'"))  # noqa: PTH111
    try:
        is_plain = expanded == text or Path(inputs).exists()
    except OSError:  # a text that is longer than a path can be
        is_plain = True
    return inputs if is_plain or not expanded else type(inputs)(expanded)


def count_rows(path: str | Path) -> int | None:
    """The number of rows in a file; `None` for formats that must be parsed to count them."""
    path = Path(path)
    if _format(path) == ".parquet":
        return count_parquet(path)
    if _format(path) not in (".jsonl", ".ndjson"):
        return None
    try:
        with _open(path) as file:
            return count_lines(file)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def _found(inputs: str | Path) -> list[Path]:
    """The files that a path names.

    Raises:
        InputError: There are none.
    """
    path = Path(inputs)
    try:
        if str(inputs) and path.is_dir():
            return _parquet_files(path)
        if str(inputs) and path.exists():
            return [path]
    except OSError:  # a text that is longer than a path can be
        raise _not_a_row(inputs) from None
    if _looks_like_json(str(inputs)):
        raise InputError(
            f"{str(inputs)[:80]!r}: is JSON, not the path of a file: give json.loads(text)"
        )
    if "://" in str(inputs):
        raise InputError(f"{inputs}: is an address; download the file, or give rows")
    if glob.has_magic(str(inputs)):
        # Unlike that of a path, it takes absolute patterns.
        found = sorted(map(Path, glob.glob(str(inputs), recursive=True)))  # noqa: PTH207
        if files := [it for it in found if it.is_file()]:
            return files
        raise InputError(f"{inputs}: there are no such files")
    if _format(path) not in FORMATS and (" " in str(inputs) or not path.suffix):
        raise _not_a_row(inputs)
    names = [each.name for each in path.parent.glob(f"*{path.suffix}")]
    hint = did_you_mean(path.name, names)
    if "$" in str(inputs):
        hint = "; a variable in it is not replaced: use os.path.expandvars"
    raise InputError(f"{inputs}: No such file or directory{hint}")


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("[", "{") and '"' in text and text.rstrip()[-1:] in ("]", "}")


def _not_a_row(inputs: str | Path) -> InputError:
    return InputError(
        f"{str(inputs)[:80]!r}: there is no such file, and a text is not a row: give rows, "
        "such as [{field: text}], or one row to run_one"
    )


def _parquet_files(folder: Path) -> list[Path]:
    """The Parquet files of a folder and those in it, without the hidden ones that tools add."""
    found = sorted(
        path
        for path in folder.rglob("*.parquet")
        if not any(part[0] in "._" for part in path.relative_to(folder).parts)
    )
    if not found:
        suffix = next((s for s in FORMATS if any(folder.glob(f"*{s}"))), ".jsonl")
        raise InputError(
            f"{folder}: is a directory without Parquet files; name the files in it, such as "
            f"{folder / ('*' + suffix)}"
        )
    return found


def _format(path: Path) -> str:
    """The suffix that tells the format, without that of the compression."""
    is_compressed = path.suffix.lower() == COMPRESSED
    return (Path(path.stem) if is_compressed else path).suffix.lower()


def _check(path: Path) -> None:
    """Check that a file can be read.

    Raises:
        InputError: It cannot.
    """
    if _format(path) not in FORMATS or path.name.lower().endswith(f".parquet{COMPRESSED}"):
        known = ", ".join(FORMATS)
        raise InputError(f"{path}: unknown format {path.suffix!r}; known: {known}, and .gz of text")
    try:
        with _open(path) as file:
            if _format(path) != ".parquet":
                _check_encoding(path, file)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def _check_encoding(path: Path, file: IO[bytes]) -> None:
    """Check that a text file is UTF-8: its beginning, or a table as a whole.

    A line of JSON that is not UTF-8 fails its own row; in a table, it tells about the others.

    Raises:
        InputError: It is not.
    """
    block = file.read(BLOCK)
    if found := next((kind for start, kind in _BINARY.items() if block.startswith(start)), None):
        raise InputError(f"{path}: is {found}, whatever its name says")
    if block.startswith(_MARKS) or b"\0" in block[:1000]:
        raise _wrong_encoding(path, "UTF-16")
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    while _format(path) in TABLES:
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            raise _wrong_encoding(path, "ISO-8859-1", f":{line}") from None
        if not block:
            return
        line += block.count(b"\n")
        block = file.read(BLOCK)


def _wrong_encoding(path: Path, encoding: str, line: str = "") -> InputError:
    guess = "UTF-16" if encoding == "UTF-16" else "Latin-1 or Windows-1252"
    return InputError(
        f"{path}{line}: not UTF-8, probably {guess}; save it as UTF-8, for example with "
        f"iconv -f {encoding} -t UTF-8"
    )


def _read(path: Path) -> Iterator[Read]:
    if _format(path) == ".parquet":
        yield from read_parquet(path)
        return
    try:
        # Undecodable bytes become surrogates, so that they fail their row and not the file.
        with _open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _parsed(cast(TextIO, file), path)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def _parsed(file: TextIO, path: Path) -> Iterator[Read]:
    format = _format(path)
    if format in TABLES:
        return read_csv(file, str(path), "\t" if format == ".tsv" else None)
    return read_json(file, str(path), is_array=format == ".json")


def _open(path: Path, **text: Any) -> IO[Any]:
    """Open a file, compressed or not; as text if an encoding is given."""
    if path.suffix.lower() == COMPRESSED:
        return cast(IO[Any], gzip.open(path, "rt" if text else "rb", **text))
    return path.open("r" if text else "rb", **text)


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else None
    return InputError(f"{path}: {reason or f'cannot be decompressed: {error}'}")


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()
