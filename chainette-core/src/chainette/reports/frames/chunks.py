"""Lines as Arrow tables; needs the extra `chainette[parquet]`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from chainette.errors import ConfigError
from chainette.reports.frames.inferred import Inferred
from chainette.reports.frames.kinds import Kind

ROWS = 10_000
"""Maximum rows of a row group, and of those in memory; objects in lists count as well."""
Lines = Callable[[], Iterator[dict[str, Any]]]
Known = Callable[[str], "Kind | None"]
"""The kind of a column by its name, if it is known before its values."""


def require_pyarrow(what: str = "Parquet files", extra: str = "parquet") -> None:
    """Check that the extra is installed.

    Args:
        what: What needs it.
        extra: Its name.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ConfigError(f'{what} need an extra: pip install "chainette[{extra}]"') from None


def unknown(name: str) -> Kind | None:
    """The kind of a column of which nothing is known."""
    return None


def kinds_of(lines: Lines, known: Known = unknown) -> dict[str, Kind]:
    """The kinds of columns, in the order of their first appearance, once all values were seen.

    Args:
        lines: Reads the lines.
        known: Says what kind a column has.
    """
    kinds: dict[str, Kind | None] = {}
    found: dict[str, Inferred] = {}
    misfits: set[str] = set()
    for line in lines():
        for name, value in line.items():
            if name not in kinds:
                kinds[name] = known(name)
            if (kind := kinds[name]) is None:
                found.setdefault(name, Inferred()).look(value)
            elif value is not None and name not in misfits and not kind.look(value):
                misfits.add(name)
    if misfits:  # outputs that are not of their type: what they are is seen again
        found |= {name: Inferred() for name in misfits}
        for line in lines():
            for name in misfits & line.keys():
                found[name].look(line[name])
    inferred = {name: it.kind() for name, it in found.items()}
    return {name: kind for name, it in kinds.items() if (kind := inferred.get(name, it))}


def chunks(lines: Lines, kinds: Mapping[str, Kind]) -> Iterator[Any]:
    """The lines as one or more Arrow tables of the same schema.

    Args:
        lines: Reads the lines.
        kinds: The kinds of their columns; see `kinds_of`.
    """
    schema = schema_of(kinds)
    source = lines()
    yield _table([], kinds, schema)
    while chunk := list(_first(source)):
        yield _table(chunk, kinds, schema)


def schema_of(kinds: Mapping[str, Kind]) -> Any:
    """The Arrow schema of columns."""
    import pyarrow as pa

    return pa.schema([(name, kind.arrow()) for name, kind in kinds.items()])


def _table(lines: list[dict[str, Any]], kinds: Mapping[str, Kind], schema: Any) -> Any:
    import pyarrow as pa

    columns = [kind.array([line.get(name) for line in lines]) for name, kind in kinds.items()]
    return pa.Table.from_arrays(columns, schema=schema)


def _first(lines: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The next `ROWS` lines, or fewer where they hold lists of objects."""
    left = ROWS
    while left > 0 and (line := next(lines, None)) is not None:
        left -= 1 + sum(map(_objects, line.values()))
        yield line


def _objects(value: Any) -> int:
    """The number of objects in a list of them."""
    return len(value) if isinstance(value, list) and value and isinstance(value[0], dict) else 0
