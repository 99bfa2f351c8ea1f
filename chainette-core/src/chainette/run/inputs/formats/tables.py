"""Rows of Parquet files and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chainette.errors import InputError
from chainette.remote.files import RemoteFile
from chainette.reports.frames import require_pyarrow
from chainette.run.inputs.formats.arrow_values import Wanted, converted, readable
from chainette.run.inputs.formats.csv_rows import check_columns
from chainette.run.inputs.formats.json_rows import Read

ROWS = 1024
"""Rows that are converted at a time."""
ALL = Wanted()


def read_parquet(path: Path | RemoteFile, wanted: Wanted = ALL) -> Iterator[Read]:
    """Read the rows of a Parquet file lazily.

    Args:
        path: The file.
        wanted: The columns that are wanted; by default all.

    Raises:
        InputError: It is not a Parquet file, or a column has a type that cannot be read.
    """
    import pyarrow as pa

    file = _parquet_file(path)
    schema = file.schema_arrow
    check_columns(schema.names, str(path))
    names = readable(schema, str(path), wanted)
    try:
        batches = file.iter_batches(batch_size=ROWS, columns=names)
        yield from _batches(batches, f"{path}, row", wanted)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is damaged: {error}") from None


def count_parquet(path: Path | RemoteFile) -> int:
    """The number of rows in a Parquet file."""
    return int(_parquet_file(path).metadata.num_rows)


def is_frame(inputs: Any) -> bool:
    """Whether inputs are a data frame: of pandas, or anything that speaks Arrow."""
    is_dataset = hasattr(inputs, "_fingerprint")  # of Hugging Face; decodes its rows itself
    return not is_dataset and (_is_pandas(inputs) or hasattr(inputs, "__arrow_c_stream__"))


def read_frame(inputs: Any, wanted: Wanted = ALL) -> Iterator[Read]:
    """Read the rows of a data frame, converted in chunks.

    Args:
        inputs: The data frame.
        wanted: The columns that are wanted; by default all.

    Raises:
        InputError: It is one column, has two columns of one name, or a column of a type that
            cannot be read.
    """
    if _is_pandas(inputs):
        names = [str(name) for name in inputs.columns]
        check_columns(names, "the data frame")
        for start in range(0, len(inputs), ROWS):
            columns = inputs.iloc[start : start + ROWS].to_dict("split", index=False)
            for index, cells in enumerate(columns["data"], start):
                row = dict(zip(names, map(_plain, cells), strict=True))
                yield row, f"input row {index}", None
        return
    require_pyarrow()
    import pyarrow as pa

    _check_objects(inputs)
    try:
        reader = pa.RecordBatchReader.from_stream(inputs)
    except (pa.ArrowException, TypeError) as error:
        raise _not_a_frame(inputs, error) from None
    schema = reader.schema
    check_columns(schema.names, "the data frame")
    names = readable(schema, "the data frame", wanted)
    batches = (part.select(names) for batch in reader for part in _parts(batch))
    yield from _batches(batches, "input row", wanted)


def _check_objects(inputs: Any) -> None:
    """Refuse objects of Python in Polars, which passes their addresses as if they were bytes.

    Raises:
        InputError: A column holds them.
    """
    columns = getattr(inputs, "columns", ())
    kinds = getattr(inputs, "dtypes", ()) if len(columns) else ()  # one column has one
    for name, kind in zip(columns, kinds, strict=False):
        if str(kind) == "Object":
            raise InputError(f"the data frame: the column {name!r} cannot be read: it has objects")


def _not_a_frame(inputs: Any, error: Exception) -> InputError:
    """The exception for something that Arrow does not take as a table."""
    import pyarrow as pa

    if not hasattr(inputs, "columns"):
        name = type(inputs).__name__
        return InputError(f"expected rows, not one column ({name}): give a data frame")
    for name in map(str, inputs.columns):
        try:
            pa.RecordBatchReader.from_stream(inputs.select([name]))
        except Exception as reason:  # of the library of the data frame
            return InputError(f"the data frame: the column {name!r} cannot be read: {reason}")
    return InputError(f"the data frame cannot be read: {error}")


def _is_pandas(inputs: Any) -> bool:
    kinds = {kind.__module__.partition(".")[0] for kind in type(inputs).__mro__}
    return "pandas" in kinds and hasattr(inputs, "columns") and hasattr(inputs, "iloc")


def about_index(inputs: Any) -> str:
    """The advice about a data frame of pandas whose index or columns hide a column, or nothing."""
    if not _is_pandas(inputs):
        return ""
    if inputs.columns.nlevels > 1:
        return "; its columns have several levels: join them, as in df.columns.map('_'.join)"
    is_counted = type(inputs.index).__name__ == "RangeIndex"
    return "" if is_counted else "; its index is not a column: give df.reset_index()"


def _parts(batch: Any) -> Iterator[Any]:
    return (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))


def _plain(cell: Any) -> Any:
    """A cell of pandas as a value of Python; `None` for NaN, NaT and NA."""
    kind = type(cell)
    if kind is str or kind is int or kind is bool:
        return cell
    if kind.__name__ in ("NaTType", "NAType") or (isinstance(cell, float) and cell != cell):
        return None
    if hasattr(cell, "to_pydatetime"):
        return cell.to_pydatetime(warn=False)
    if hasattr(cell, "to_pytimedelta"):
        return cell.to_pytimedelta()
    if kind.__name__ in ("Period", "Interval"):
        return str(cell)
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _batches(batches: Iterable[Any], place: str, wanted: Wanted) -> Iterator[Read]:
    """The rows of Arrow record batches."""
    index = 0
    for batch in batches:
        for value, error in _values(batch, wanted):
            here = f"{place} {index}"
            yield value, here, None if error is None else InputError(f"{here}: {error}")
            index += 1


def _values(batch: Any, wanted: Wanted) -> Iterator[tuple[Any, str | None]]:
    """The rows of one batch; a value that Python does not have fails its row only.

    In a column that the chain does not need, it only is not kept.
    """
    floats = [field.name for field in batch.schema if str(field.type) in _FLOATS]
    try:
        rows = converted(batch)
    except Exception as error:  # of many kinds, from years after 9999 to unknown time zones
        if batch.num_rows == 1:
            needed = [name for name in batch.schema.names if wanted.needs(name)]
            if len(needed) < batch.num_columns:
                yield from _values(batch.select(needed), wanted)
                return
            yield None, f"cannot be converted: {error}"
            return
        for index in range(batch.num_rows):
            yield from _values(batch.slice(index, 1), wanted)
        return
    for row in rows:
        for name in floats:
            if row[name] != row[name]:
                row[name] = None
        yield row, None


_FLOATS = ("double", "float", "halffloat")


def _parquet_file(path: Path | RemoteFile) -> Any:
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path.open_anywhere() if isinstance(path, RemoteFile) else path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not a Parquet file: {error}") from None
