"""Writes the Python of the documentation into a folder, as a reader's files, to be type-checked.

python tests/typing/pages.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

from pages import PAGES, ROOT, snippets

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def main(folder: Path) -> None:
    """Write each page's snippets into a folder of its own, and every example."""
    shutil.rmtree(folder, ignore_errors=True)
    for page in PAGES:
        name = str(page.relative_to(ROOT).with_suffix("")).replace("/", "_").replace("-", "_")
        for snippet in snippets([page], "python"):
            path = folder / name / (snippet.file_name or f"line_{snippet.line}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text)
    for example in EXAMPLES:
        (folder / "examples").mkdir(parents=True, exist_ok=True)
        shutil.copy(example, folder / "examples")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
