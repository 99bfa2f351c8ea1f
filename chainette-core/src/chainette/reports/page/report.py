"""The report of a run: one HTML file that opens from disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from chainette.errors import ConfigError, OutputDirError
from chainette.folder.lock import is_held
from chainette.reports.page.document import Page, Table
from chainette.reports.page.html import write_page
from chainette.reports.page.rows import RunRows
from chainette.reports.page.scan import Scan
from chainette.reports.page.sections import Sections, duration, moment
from chainette.reports.stored.run_folder import StoredRun

ROWS = 100_000
"""Rows that a report shows where nothing else is said; its figures cover all of them."""
REFRESH = 5
"""Seconds after which the report of a run that goes on is written and loaded again."""
_MISSES = 3


def write_report(
    run: str | Path, path: str | Path, *, rows: int = ROWS, refresh: int | None = None
) -> bool:
    """Write the report of a run, finished or not.

    Args:
        run: The run's folder.
        path: The file.
        rows: Maximum number of rows that it shows; its figures cover all.
        refresh: Seconds after which a browser loads it again while the run goes on.

    Returns:
        Whether the run still goes on.

    Raises:
        OutputDirError: The folder is not that of a run, or the file cannot be written.
        ConfigError: The number of rows is below 0.
    """
    if rows < 0:
        raise ConfigError(f"rows={rows}: a page cannot show fewer rows than 0")
    folder = Path(run)
    stored = StoredRun(folder)
    goes_on = stored.manifest.get("ended") is None and is_held(folder)
    try:
        page = _page(stored, rows, goes_on=goes_on, refresh=refresh if goes_on else None)
    except OSError as error:
        raise OutputDirError(f"{folder}: cannot be read: {error.strerror or error}") from None
    write_page(page, Path(path))
    return goes_on


def watch_report(run: str | Path, path: str | Path, *, rows: int = ROWS) -> Iterator[datetime]:
    """Write the report of a run again and again, until the run has ended.

    Args:
        run: The run's folder.
        path: The file, which is replaced as a whole each time.
        rows: Maximum number of rows that it shows.

    Yields:
        The time of each report.

    Raises:
        OutputDirError: The folder is not that of a run, or the file cannot be written.
    """
    misses = 0
    while True:
        try:
            goes_on = write_report(run, path, rows=rows, refresh=REFRESH)
            misses = 0
        except OutputDirError:
            misses += 1
            if misses > _MISSES:
                raise
            goes_on = True  # a run that is resumed just now has begun its tables again
        if not misses:
            yield datetime.now(timezone.utc)
        if not goes_on:
            return
        time.sleep(REFRESH)


def _page(run: StoredRun, rows: int, *, goes_on: bool, refresh: int | None) -> Page:
    scan = Scan(run, rows)
    lines = RunRows(run, scan)
    written = datetime.now(timezone.utc).isoformat(sep=" ", timespec="seconds")[:19] + " UTC"
    table = Table(lines.columns, lines, note=_left_out(scan, lines))
    version = run.manifest.get("chainette", "")
    state = _state(run.manifest, goes_on=goes_on)
    return Page(
        title=_title(run.graph),
        subtitle=_subtitle(run.manifest),
        sections=[*Sections(run, scan, state)],
        table=table,
        state=state,
        written=written,
        refresh=refresh,
        footer=f"Written {written} by Chainette {version} from {run.path}",
    )


def _left_out(scan: Scan, rows: RunRows) -> str:
    """What the table does not show."""
    said = []
    if left := scan.lines - scan.shown:
        said.append(
            f"The first {scan.shown:,} of {scan.lines:,} rows; the other {left:,} are left out. "
            "The figures and charts above cover every row."
        )
    if rows.left_out:
        said.append(f"{rows.left_out:,} more columns are shown only where a row is opened.")
    return " ".join(said)


def _title(graph: Mapping[str, Any]) -> str:
    return " ".join(filter(None, [graph.get("emoji"), str(graph.get("name") or "Run")]))


def _state(manifest: Mapping[str, Any], *, goes_on: bool) -> str:
    status = str(manifest.get("status", ""))
    if status == "running" and not goes_on:
        return "killed"
    return status


def _subtitle(manifest: Mapping[str, Any]) -> str:
    """When the run was, and on which engines."""
    start, end = moment(manifest.get("started")), moment(manifest.get("ended"))
    said = []
    if start is not None:
        said.append(f"{start:%Y-%m-%d %H:%M} UTC" + (f", {duration(start, end)}" if end else ""))
    models = [it.get("model") or it.get("name") for it in manifest.get("engines", [])]
    said += [", ".join(map(str, models))] if models else []
    if path := (manifest.get("inputs") or {}).get("path"):
        said.append(str(path))
    return " · ".join(said)
