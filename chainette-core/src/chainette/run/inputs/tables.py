"""Rows of Parquet files and data frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from chainette.errors import InputError
from chainette.reports.frames import require_pyarrow
from chainette.run.inputs.csv_rows import check_columns
from chainette.run.inputs.json_rows import Read

ROWS = 1024
"""Rows that are converted at a time."""


def read_parquet(path: Path) -> Iterator[Read]:
    """Read the rows of a Parquet file lazily.

    Raises:
        InputError: It is not a Parquet file.
    """
    import pyarrow as pa

    file = _parquet_file(path)
    check_columns(file.schema_arrow.names, str(path))
    try:
        yield from _batches(file.iter_batches(batch_size=ROWS), f"{path}, row")
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: is damaged: {error}") from None


def count_parquet(path: Path) -> int:
    """The number of rows in a Parquet file."""
    return int(_parquet_file(path).metadata.num_rows)


def is_frame(inputs: Any) -> bool:
    """Whether inputs are a data frame: of pandas, or anything that speaks Arrow."""
    is_dataset = hasattr(inputs, "_fingerprint")  # of Hugging Face; decodes its rows itself
    return not is_dataset and (_is_pandas(inputs) or hasattr(inputs, "__arrow_c_stream__"))


def read_frame(inputs: Any) -> Iterator[Read]:
    """Read the rows of a data frame, converted in chunks.

    Raises:
        InputError: It is one column, or has two columns of one name.
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

    try:
        reader = pa.RecordBatchReader.from_stream(inputs)
    except (pa.ArrowException, TypeError):
        name = type(inputs).__name__
        raise InputError(f"expected rows, not one column ({name}): give a data frame") from None
    check_columns(reader.schema.names, "the data frame")
    batches = (part for batch in reader for part in _parts(batch))
    yield from _batches(batches, "input row")


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
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _batches(batches: Iterable[Any], place: str) -> Iterator[Read]:
    """The rows of Arrow record batches."""
    index = 0
    for batch in batches:
        for value, error in _values(batch):
            here = f"{place} {index}"
            yield value, here, None if error is None else InputError(f"{here}: {error}")
            index += 1


def _values(batch: Any) -> Iterator[tuple[Any, str | None]]:
    """The rows of one batch; a value that Python does not have fails its row only."""
    floats = [field.name for field in batch.schema if str(field.type) in _FLOATS]
    try:
        rows = _converted(batch)
    except Exception as error:  # of many kinds, from years after 9999 to unknown time zones
        if batch.num_rows == 1:
            yield None, f"cannot be converted: {error}"
            return
        for index in range(batch.num_rows):
            yield from _values(batch.slice(index, 1))
        return
    for row in rows:
        for name in floats:
            if row[name] != row[name]:
                row[name] = None
        yield row, None


_FLOATS = ("double", "float", "halffloat")


def _converted(batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch as dicts."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        target = _readable(field.type)
        if target != field.type:
            column = column.cast(target, safe=False)
        cells = column.to_pylist()
        columns[field.name] = (
            [_without_pairs(cell, target) for cell in cells]
            if (pa.types.is_nested(target))
            else cells
        )
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    names = list(columns)
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def _readable(kind: Any) -> Any:
    """A type whose values Python has: nanoseconds become microseconds, codes become values."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(kind):  # which Arrow cannot decode for every type of value
        values = _readable(kind.value_type)
        return kind if values == kind.value_type else values
    if types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if types.is_time64(kind) and kind.unit == "ns":
        return pa.time64("us")
    if types.is_struct(kind):
        return pa.struct([field.with_type(_readable(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_readable(kind.key_type), _readable(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_readable(kind.value_type)), kind.list_size)
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_readable(kind.value_type)))
    if types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_readable(kind.value_type)))
    return kind


def _without_pairs(value: Any, kind: Any) -> Any:
    """A nested value in which maps are dicts, as in JSON, and not lists of pairs."""
    import pyarrow as pa

    if value is None or not pa.types.is_nested(kind):
        return value
    if pa.types.is_map(kind):
        return {key: _without_pairs(item, kind.item_type) for key, item in value}
    if pa.types.is_struct(kind):
        return {field.name: _without_pairs(value[field.name], field.type) for field in kind}
    if hasattr(kind, "value_type"):
        return [_without_pairs(item, kind.value_type) for item in value]
    return value


def _parquet_file(path: Path) -> Any:
    require_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not a Parquet file: {error}") from None
