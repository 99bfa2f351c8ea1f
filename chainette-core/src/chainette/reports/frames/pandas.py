"""The flattened table of a run as a data frame of pandas, with the index of its inputs."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from chainette.errors import ConfigError
from chainette.reports.frames.chunks import require_pyarrow
from chainette.reports.frames.run_frames import RunFrames

_logger = logging.getLogger(__name__)


def pandas_of(frames: RunFrames, *, explode: bool, inputs: bool | None) -> Any:
    """The table as a data frame of pandas; see `Run.to_pandas`.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise ConfigError(
            'Data frames of pandas need an extra: pip install "chainette[pandas]"'
        ) from None
    require_pyarrow("Data frames of pandas", "pandas")
    table = frames.table(explode=explode)
    index = frames.origin.index
    columns = frames.input_names(table.column_names)
    if inputs is False or (inputs is None and index is not None):
        table, columns = table.drop_columns([*columns]), {}
    row_ids = table["row_id"].to_numpy()
    if index is not None:  # it says what `row_id` and the columns of its levels would say
        named = {str(name) for name in index.names if name is not None}
        named -= {str(name) for name in frames.origin.frame.columns}
        levels = [name for name, column in columns.items() if column in named]
        table = table.drop_columns(["row_id", *levels])
        columns = {name: it for name, it in columns.items() if name not in levels}
    frame = table.to_pandas(types_mapper=_dtype)
    if index is not None:
        frame.index = index.take(row_ids)
        _restore(frame, columns, frames.origin.frame)
        _warn_of_repeated(index)
    else:
        frame["row_id"] = pd.Series(row_ids, dtype="int64")
    return frame


def _dtype(arrow_type: Any) -> Any:
    """The type in pandas that keeps what is missing apart, and numbers as they are.

    Integers stay integers beside missing ones; texts have the type that pandas itself prefers.
    """
    import pandas as pd
    import pyarrow as pa

    types = pa.types
    if types.is_integer(arrow_type):
        return _nullable(arrow_type)
    if types.is_boolean(arrow_type):
        return pd.BooleanDtype()
    if types.is_string(arrow_type):
        return None if int(pd.__version__.partition(".")[0]) > 2 else pd.StringDtype()
    if types.is_nested(arrow_type) or types.is_date(arrow_type) or types.is_time(arrow_type):
        return pd.ArrowDtype(arrow_type)
    return pd.ArrowDtype(arrow_type) if types.is_decimal(arrow_type) else None


def _nullable(arrow_type: Any) -> Any:
    import pandas as pd

    name = str(arrow_type)  # int64, uint8, …
    return pd.api.types.pandas_dtype(name.replace("int", "Int").replace("uInt", "UInt"))


def _restore(frame: Any, columns: dict[str, str], origin: Any) -> None:
    """Give the inputs' columns the types that they came with, where JSON has their values."""
    types = {str(name): kind for name, kind in origin.dtypes.items()}
    for name, column in columns.items():
        if column in types and str(types[column]) != "object":
            with suppress(Exception):  # such as of maps, which are texts here
                restored = frame[name].astype(types[column])
                if restored.isna().equals(frame[name].isna()):  # of categories that are no texts
                    frame[name] = restored


def _warn_of_repeated(index: Any) -> None:
    """Say that a join by an index that repeats itself multiplies rows."""
    if not index.is_unique:
        _logger.warning(
            "to_pandas: the index has the same value more than once, so df.join(…) would multiply "
            "rows; where no row was split, pd.concat([df, run.to_pandas()], axis=1) joins by place"
        )
