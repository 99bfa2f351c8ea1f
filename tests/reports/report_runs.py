"""Runs to report on, and what a page has in it."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64decode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chainette.reports.page.report import write_report
from chainette.reports.stored.run_folder import StoredRun


def keep_inputs(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the inputs into the flattened table, as a run that keeps them does."""
    names = StoredRun(folder).names
    for path in folder.glob("flattened/*.jsonl"):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        for index, line in enumerate(lines):
            kept = {names.of_input(name): value for name, value in rows[line["row_id"]].items()}
            head = {name: line.pop(name) for name in ("row_id", "item") if name in line}
            lines[index] = {**head, **kept, **line}
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


class WrittenPage:
    """The content of a page.

    Attributes:
        text: The file.
        content: What the page's script reads first.
    """

    def __init__(self, path: Path) -> None:
        self.text = path.read_text(encoding="utf-8")
        found = re.search(r'<script type="application/json" id="page">(.*?)</script>', self.text)
        assert found is not None
        self.content: dict[str, Any] = json.loads(found[1])
        self._blocks = dict(
            re.findall(r'<script type="text/plain" id="(\w+)">(\S*)</script>', self.text)
        )

    def block(self, id: str) -> Any:
        return json.loads(zlib.decompress(b64decode(self._blocks[id])))

    @property
    def columns(self) -> dict[str, list[Any]]:
        """The values that the table shows, by column."""
        names = [it["name"] for it in self.content["table"]["columns"]]
        chunks = [self.block(id) for id in self._blocks if id.startswith("c")]
        return {
            name: [value for chunk in chunks for value in chunk["columns"][index]]
            for index, name in enumerate(names)
        }

    @property
    def rows(self) -> list[list[dict[str, Any]]]:
        """What every row shows where it is opened."""
        return [row for id in self._blocks if id.startswith("d") for row in self.block(id)]

    def section(self, id: str) -> list[dict[str, Any]]:
        return next((it["blocks"] for it in self.content["sections"] if it["id"] == id), [])

    def charts(self, section: str) -> dict[str, dict[str, Any]]:
        found = (it for block in self.section(section) for it in block.get("charts", ()))
        return {f"{it['title']} ({it['kind']})": it for it in found}

    def listing(self, section: str, first: str) -> list[dict[str, Any]]:
        """The lines of the list whose first column has a name."""
        for block in self.section(section):
            if block["kind"] == "list" and block["columns"][0] == first:
                return [dict(zip(block["columns"], row, strict=True)) for row in block["rows"]]
        return []

    @property
    def facts(self) -> dict[str, str]:
        (found,) = (it for it in self.section("overview") if it["kind"] == "facts")
        return {it["label"]: it["value"] for it in found["items"]}


def report(folder: Path, **options: Any) -> WrittenPage:
    """Write the report of a run beside its folder, and read it."""
    path = folder.with_suffix(".html")
    write_report(folder, path, **options)
    return WrittenPage(path)
