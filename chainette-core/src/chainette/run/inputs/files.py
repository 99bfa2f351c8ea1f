"""Input rows of files: of one, of those that a pattern matches, or of a folder of Parquet."""

from __future__ import annotations

import codecs
import hashlib
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO, cast

from chainette.errors import InputError
from chainette.remote.address import shown
from chainette.remote.files import RemoteFile
from chainette.reports.frames.from_arrow import Origin
from chainette.run.inputs.formats.arrow_values import Wanted
from chainette.run.inputs.formats.compressed import COMPRESSED, DAMAGED, open_file
from chainette.run.inputs.formats.csv_rows import read_csv
from chainette.run.inputs.formats.json_rows import Read, count_lines, read_json
from chainette.run.inputs.formats.tables import (
    ALL,
    count_parquet,
    origin_of_parquet,
    read_parquet,
)
from chainette.run.inputs.paths import FORMATS, TABLES, InputFile, format_of, found_files

BLOCK = 1 << 20
HEAD = 1 << 16
"""Bytes that are looked at of a file at an address."""
TEXT = "utf-8-sig"
_STARTS = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\xd0\xcf\x11\xe0": "a document of an old Office",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "a SQLite database",
    b"%PDF": "a PDF",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"<?xml": "XML",
    b"version https://git-lfs": "a pointer to a file in Git LFS (`git lfs pull` fetches it)",
}
"""How files of other kinds begin, in small letters where they are text."""
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
OPENED = 20
"""Files at addresses that are opened only to count their rows."""
STDIN = ("-", "/dev/stdin")


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


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The format of files, as far as they do not say it themselves.

    Args:
        encoding: Their encoding, or `None` for UTF-8.
        delimiter: The character between the cells of CSV files, or `None` to find it.

    Raises:
        InputError: One of them is none.
    """

    encoding: str | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        """Check that both are what they should be."""
        try:
            "".encode(self.encoding or TEXT)
        except (LookupError, ValueError):
            raise InputError(
                f"unknown encoding {self.encoding!r}; known are utf-8, utf-16, cp1252, latin-1 "
                "and the others of Python"
            ) from None
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise InputError(f"delimiter is {self.delimiter!r}; give one character, or tab")


class Files:
    """The rows of one or more files, or of standard input.

    Args:
        inputs: A path, a pattern such as `data/*.jsonl`, a folder of Parquet files, the address of
            one of these, or `-`.
        format: Their format, as far as they do not say it themselves.
        wanted: The columns of tables that are read; by default all.

    Raises:
        InputError: A file is missing, unreadable, of an unknown format or in another encoding.
        ConfigError: A package is needed to read them.
    """

    def __init__(
        self,
        inputs: str | Path,
        format: FileFormat | None = None,
        wanted: Wanted = ALL,
    ) -> None:
        self.is_stdin: bool = str(inputs) in STDIN
        self.paths: list[InputFile] = [] if self.is_stdin else found_files(inputs)
        self.is_remote: bool = any(isinstance(path, RemoteFile) for path in self.paths)
        self._count: int | None = None
        self._format = format = format or FileFormat()
        self._wanted = wanted
        kinds = {format_of(path) for path in self.paths}
        if format.delimiter and not kinds & {".csv", ".tsv"}:
            raise InputError(f"{shown(inputs)}: delimiter is for CSV files")
        if format.encoding and ".parquet" in kinds:
            raise InputError(f"{shown(inputs)}: encoding is for files of text")
        # Each file costs a request, so those after the first are checked when they are read.
        for path in self.paths[:1] if self.is_remote else self.paths:
            _check(path, format.encoding)

    def rows(self) -> Iterator[InputRow]:
        """Read the rows lazily; their numbers continue from file to file."""
        if self.is_stdin:
            for index, read in enumerate(_read_stdin(self._format.encoding)):
                yield InputRow(index, *read)
            return
        index = 0
        for number, path in enumerate(self.paths):
            if number and self.is_remote:
                _check(path, self._format.encoding)
            is_record = format_of(path) in TABLES
            for read in _read(path, self._format, self._wanted):
                yield InputRow(index, *read, is_record)
                index += 1

    def count(self, *, is_needed: bool = False) -> int | None:
        """The number of rows; `None` where it takes long to count them, or is not possible.

        Args:
            is_needed: Whether to count them all the same: files at addresses are read for it, or
                many of them opened, and formats without one line for each row are parsed.
        """
        is_read = any(format_of(path) != ".parquet" for path in self.paths)
        is_dear = self.is_remote and (is_read or len(self.paths) > OPENED)
        if self.is_stdin or (is_dear and not is_needed):
            return None
        if self.is_remote and self._count is not None:
            return self._count
        counts = [count_rows(path, self._format.encoding) for path in self.paths]
        known = [count for count in counts if count is not None]
        if len(known) == len(counts):
            self._count = sum(known)
        elif is_needed:
            self._count = sum(1 for _ in self.rows())
        return self._count

    def origin(self) -> Origin:
        """What is known of the types of the columns: of Parquet files, those of the first."""
        are_parquet = self.paths and all(format_of(path) == ".parquet" for path in self.paths)
        return origin_of_parquet(self.paths[0]) if are_parquet else Origin()

    def digest(self) -> str | None:
        """SHA-256 of the file, or of the digests of several; `None` for standard input."""
        if self.is_stdin:
            return None
        digests = [_digest(path) for path in self.paths]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def count_rows(path: str | InputFile, encoding: str | None = None) -> int | None:
    """The number of rows in a file; `None` for formats that must be parsed to count them.

    Args:
        path: The file.
        encoding: Its encoding, or `None` for UTF-8.
    """
    path = Path(path) if isinstance(path, str) else path
    if format_of(path) == ".parquet":
        return count_parquet(path)
    if format_of(path) not in (".jsonl", ".ndjson"):
        return None
    text = {"encoding": encoding or TEXT, "errors": "replace", "newline": "\n"}
    try:
        return count_lines(lambda: cast(TextIO, open_file(path, **text)))
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _check(path: InputFile, encoding: str | None) -> None:
    """Check that a file can be read.

    Raises:
        InputError: It cannot.
    """
    is_parquet = format_of(path) == ".parquet"
    if format_of(path) not in FORMATS or (is_parquet and path.suffix.lower() in COMPRESSED):
        known, packed = ", ".join(FORMATS), ", ".join(COMPRESSED)
        raise InputError(
            f"{path}: unknown format {path.suffix!r}; known: {known}, and {packed} of text"
        )
    try:
        with open_file(path) as file:
            block = file.read(HEAD if isinstance(path, RemoteFile) else BLOCK)
            _check_kind(path, block)
            if not is_parquet:
                _check_encoding(path, file, encoding, block)
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _check_kind(path: InputFile, block: bytes) -> None:
    """Check that a file does not begin as one of another kind.

    Raises:
        InputError: It does.
    """
    head = block[:100].lstrip() if format_of(path) != ".parquet" else block[:100]
    for start, kind in _STARTS.items():
        if head.startswith(start) or head.lower().startswith(start):
            if kind == "Parquet" and format_of(path) == ".parquet":
                return
            if kind == "a web page" and isinstance(path, RemoteFile):
                raise InputError(f"{path}: is a web page, perhaps that of a login, and not data")
            raise InputError(f"{path}: is {kind}, whatever its name says")


def _check_encoding(path: InputFile, file: IO[bytes], encoding: str | None, block: bytes) -> None:
    """Check the encoding of a text file: of its beginning, or of a table as a whole.

    One line of JSON that is not UTF-8 fails its own row; in a table, it tells about the others.

    Raises:
        InputError: It is another one.
    """
    head = block[:1000]
    marked = next((kind for mark, kind in _MARKS.items() if head.startswith(mark)), None)
    if encoding is None and (marked or 4 * head.count(0) > len(head)):
        raise _wrong_encoding(path, marked or "UTF-16")
    if encoding is None and format_of(path) not in TABLES and _is_wholly_other(block):
        raise _wrong_encoding(path, "CP1252")
    decoder = codecs.getincrementaldecoder(encoding or "utf-8")()
    line = 1
    while format_of(path) in TABLES:
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            if encoding is not None:
                raise InputError(f"{path}:{line}: not {encoding}: {error.reason}") from None
            raise _wrong_encoding(path, "CP1252", f":{line}") from None
        if not block or isinstance(path, RemoteFile):  # whose rest is checked while it is read
            return
        line += block.count(b"\n")
        block = file.read(BLOCK)


def _wrong_encoding(path: InputFile, encoding: str, line: str = "") -> InputError:
    guess = "Latin-1 or Windows-1252" if encoding == "CP1252" else encoding
    return InputError(
        f"{path}{line}: not UTF-8, probably {guess}; read it with encoding={encoding.lower()!r}, "
        "or save it as UTF-8"
    )


def _is_wholly_other(block: bytes) -> bool:
    """Whether several lines, and every line that could tell, are not UTF-8."""
    telling = [line for line in block.split(b"\n")[:-1] if not line.isascii()]
    return len(telling) > 1 and not any(map(_is_utf_8, telling))


def _is_utf_8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read(path: InputFile, format: FileFormat, wanted: Wanted) -> Iterator[Read]:
    if format_of(path) == ".parquet":
        yield from read_parquet(path, wanted)
        return
    # Undecodable bytes become surrogates, so that they fail their row and not the file.
    is_strict = isinstance(path, RemoteFile) and format_of(path) in TABLES
    errors = "strict" if is_strict else "surrogateescape"
    text = {"encoding": format.encoding or TEXT, "errors": errors, "newline": ""}
    try:
        with open_file(path, **text) as file:
            yield from _parsed(cast(TextIO, file), path, format.delimiter)
    except UnicodeDecodeError as error:
        if format.encoding is None:
            raise _wrong_encoding(path, "CP1252") from None
        raise InputError(f"{path}: not {format.encoding}: {error.reason}") from None
    except DAMAGED as error:
        raise _unreadable(path, error) from None


def _parsed(file: TextIO, path: InputFile, delimiter: str | None) -> Iterator[Read]:
    format = format_of(path)
    if format in TABLES:
        return read_csv(file, str(path), delimiter or ("\t" if format == ".tsv" else None))
    return read_json(file, str(path), is_array=format == ".json")


def _read_stdin(encoding: str | None) -> Iterator[Read]:
    if sys.stdin is None:
        raise InputError("standard input is closed; give a file, or pipe rows into the command")
    name, binary = "standard input", getattr(sys.stdin, "buffer", None)
    if binary is None:  # replaced by a text
        yield from read_json(sys.stdin, name, is_array=False)
        return
    file = io.TextIOWrapper(binary, encoding or TEXT, "surrogateescape", "")
    try:
        yield from read_json(file, name, is_array=False)
    finally:
        file.detach()  # else it would be closed


def _unreadable(path: InputFile, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else None
    return InputError(f"{path}: {reason or f'cannot be decompressed: {error}'}")


def _digest(path: InputFile) -> str:
    if isinstance(path, RemoteFile):
        return path.digest()
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()
