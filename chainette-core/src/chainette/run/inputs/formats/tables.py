"""Rows of Parquet files and data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chainette.errors import InputError
from chainette.remote.files import RemoteFile
from chainette.reports.frames.chunks import require_pyarrow
from chainette.reports.frames.from_arrow import Origin
from chainette.run.inputs.formats.arrow_values import (
    Wanted,
    broken_in,
    converted,
    readable,
    warn_of_value,
)
from chainette.run.inputs.formats.csv_rows import check_columns
from chainette.run.inputs.formats.json_rows import Read
from chainette.run.inputs.formats.pandas_rows import empty_levels, is_pandas, read_pandas
from chainette.run.inputs.formats.polars_rows import is_lazy, is_polars, read_polars

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
    return not is_dataset and (is_pandas(inputs) or hasattr(inputs, "__arrow_c_stream__"))


def as_frame(inputs: Any, name: str | None = None) -> Any:
    """A lazy data frame as one that is not, and one column that has a name as a frame.

    Args:
        inputs: The inputs.
        name: The name of a column that has none.
    """
    if is_lazy(inputs):
        return inputs.collect()
    if name is not None and is_array(inputs):
        return _arrow().table([inputs], [name])
    if not hasattr(inputs, "to_frame") or hasattr(inputs, "columns"):
        return inputs
    own = getattr(inputs, "name", None)
    name = own if isinstance(own, str) and own else name
    return inputs if name is None else inputs.to_frame(name)


def origin_of(inputs: Any) -> Origin:
    """What is known of the types of inputs, without a hold on their rows."""
    if is_pandas(inputs):
        empty, levels = inputs.iloc[:0], empty_levels(inputs)
        parts = [*levels, *(empty.iloc[:, [it]] for it in range(empty.shape[1]))]
        return Origin("pandas", empty, inputs.index, lambda: _schema_of(parts, _schema_of_pandas))
    if is_polars(inputs):
        empty = inputs.clear()
        series = [it.to_frame() for it in empty.get_columns()]
        return Origin("polars", empty, None, lambda: _schema_of(series, _schema_of_polars))
    features = getattr(inputs, "features", None)  # of a Hugging Face dataset
    schema = getattr(features, "arrow_schema", getattr(inputs, "schema", None))
    if is_query(inputs):
        with blaming_inputs():
            schema = _arrow().table(inputs.limit(0)).schema
    is_schema = type(schema).__module__.startswith("pyarrow")
    return Origin(schema=lambda: schema) if is_schema else Origin()


def origin_of_parquet(path: Path | RemoteFile) -> Origin:
    """What is known of the types of the columns of a Parquet file."""
    return Origin(schema=lambda: _parquet_file(path).schema_arrow)


def _schema_of(columns: Iterable[Any], convert: Callable[[Any], Any]) -> Any:
    """The Arrow schema of columns, each a frame, without those that Arrow does not have."""
    schema = _arrow().schema([])
    for column in columns:
        with suppress(Exception):  # such as for sparse columns, and integers of 128 bits
            schema = schema.append(convert(column).field(0).with_name(str(column.columns[0])))
    return schema


def _schema_of_pandas(empty: Any) -> Any:
    return _arrow().Schema.from_pandas(empty, preserve_index=False)


def _schema_of_polars(empty: Any) -> Any:
    return _arrow().table(empty).schema


def _arrow() -> Any:
    import pyarrow as pa

    return pa


def is_query(inputs: Any) -> bool:
    """Whether inputs are a relation of DuckDB, whose query runs each time that it is read."""
    return "duckdb" in type(inputs).__module__ and hasattr(inputs, "__arrow_c_stream__")


def read_frame(inputs: Any, wanted: Wanted = ALL) -> Iterator[Read]:
    """Read the rows of a data frame, converted in chunks.

    Args:
        inputs: The data frame.
        wanted: The columns that are wanted; by default all.

    Raises:
        InputError: It is one column, has two columns of one name, or a column of a type that
            cannot be read.
    """
    if is_pandas(inputs):
        yield from read_pandas(inputs, wanted)
        return
    if is_polars(inputs):
        yield from read_polars(inputs, wanted)
        return
    require_pyarrow("Data frames other than those of pandas and Polars")
    import pyarrow as pa

    try:
        with blaming_inputs():
            reader = pa.RecordBatchReader.from_stream(inputs)
    except (pa.ArrowException, TypeError) as error:
        raise _not_a_frame(inputs, error) from None
    schema = reader.schema
    check_columns(schema.names, "the data frame")
    names = readable(schema, "the data frame", wanted)
    batches = (part.select(names) for batch in reader for part in _parts(batch))
    try:
        yield from _batches(batches, "input row", wanted)
    except (pa.ArrowException, OSError) as error:  # of the query, or of the stream
        raise InputError(f"the data frame cannot be read to its end: {error}") from error


@contextmanager
def blaming_inputs() -> Iterator[None]:
    """Say of an error of DuckDB that the inputs cannot be read."""
    try:
        yield
    except Exception as error:
        if "duckdb" not in type(error).__module__:
            raise
        raise InputError(f"the relation of DuckDB cannot be read: {error}") from error


def is_array(inputs: Any) -> bool:
    """Whether inputs are one column of Arrow."""
    kind = type(inputs)
    return kind.__module__ == "pyarrow.lib" and kind.__name__.endswith("Array")


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


def _parts(batch: Any) -> Iterator[Any]:
    return (batch.slice(start, ROWS) for start in range(0, batch.num_rows, ROWS))


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

    In a column that the chain does not need, only this value is not kept.
    """
    floats = [field.name for field in batch.schema if str(field.type) in _FLOATS]
    try:
        rows = converted(batch)
    except Exception as error:  # of many kinds, from years after 9999 to unknown time zones
        if batch.num_rows == 1:
            broken = broken_in(batch.schema.names, lambda it: converted(batch.select([it])))
            name = next(filter(wanted.needs, broken), None)
            if broken and name is None:
                warn_of_value(type(error).__name__)
                whole = [it for it in batch.schema.names if it not in broken]
                yield from _values(batch.select(whole), wanted)
                return
            yield None, f"the column {name!r} cannot be converted: {error}"
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
