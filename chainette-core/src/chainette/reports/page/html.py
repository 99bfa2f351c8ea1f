"""A page as one HTML file that needs no network."""

from __future__ import annotations

import hashlib
import html
import shutil
from base64 import b64encode
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from chainette.atomic_file import replacing
from chainette.errors import OutputDirError
from chainette.folder.lines import encoded
from chainette.reports.page.blocks import BLOCK, CHUNK, Blocks, TableBlocks
from chainette.reports.page.document import Page, Table

_SHOW = "showRows();"
_NO_SCRIPT = "<noscript><p>This page needs JavaScript, of which it has all with it.</p></noscript>"


def write_page(page: Page, path: Path) -> None:
    """Write a page as a whole, or not at all.

    Rows are taken one by one, so that memory does not grow with their number.

    Args:
        page: The page.
        path: The file.

    Raises:
        OutputDirError: It cannot be written.
    """
    try:
        with replacing(path) as draft, draft.open("wb") as file:
            with TemporaryFile(dir=path.parent) as rest:
                _write(page, file, rest)
                rest.seek(0)
                shutil.copyfileobj(rest, file, 1 << 20)
            file.write(b"</body>\n</html>\n")
    except OSError as error:
        raise OutputDirError(f"{path}: cannot be written: {error.strerror or error}") from None


def _write(page: Page, file: BinaryIO, rest: BinaryIO) -> None:
    """Write a page up to its whole rows, which go into another file."""
    script = _asset("page.js")
    file.write(_head(page.title, script).encode())
    count = _write_rows(page.table, file, rest) if page.table is not None else 0
    content = _in_script(encoded(_content(page, count)))
    file.write(b'<script type="application/json" id="page">%b</script>\n' % content)
    file.write(f"<script>{script}</script>\n<script>{_SHOW}</script>\n".encode())


def _write_rows(table: Table, file: BinaryIO, rest: BinaryIO) -> int:
    """Write the blocks of a table, and return the number of its rows."""
    with Blocks(file) as columns, Blocks(rest) as rows:
        blocks = TableBlocks(columns, rows)
        for row in table.rows:
            blocks.add(row)
        blocks.end()
    return blocks.count


def _content(page: Page, rows: int) -> dict[str, Any]:
    """What the page's script reads first."""
    sections = [{"id": it.id, "title": it.title, "blocks": [*it.blocks]} for it in page.sections]
    table = page.table
    return {
        "title": page.title,
        "subtitle": page.subtitle,
        "state": {"label": page.state} if page.state else None,
        "written": page.written,
        "refresh": page.refresh,
        "footer": page.footer,
        "sections": sections,
        "table": table
        and {
            "title": table.title,
            "note": table.note,
            "columns": [it.as_dict() for it in table.columns],
            "rows": rows,
            "chunk": CHUNK,
            "block": BLOCK,
        },
    }


def _head(title: str, script: str) -> str:
    """The start of the file; only the scripts that it comes with may run, and nothing is loaded."""
    allowed = " ".join(_digest(it) for it in (script, _SHOW))
    policy = (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="auto">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_asset('page.css')}</style>\n</head>\n"
        f"<body>\n{_NO_SCRIPT}\n"
    )


def _digest(script: str) -> str:
    """The source of a script for the policy (https://www.w3.org/TR/CSP3/#grammardef-hash-source)."""
    return f"'sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _in_script(content: bytes) -> bytes:
    """JSON that cannot end its element, or begin a comment in it."""
    return content.replace(b"<", b"\\u003c")


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text(encoding="utf-8").strip()
