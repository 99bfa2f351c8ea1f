"""Runs the programs of recipe pages, each in a folder of its own with a file of engines.

python docs/gallery.py ENGINES FOLDER PAGE …
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```", re.MULTILINE | re.DOTALL)


def main(engines: Path, folder: Path, pages: list[Path]) -> int:
    """Run the program of each page and print what it prints; return how many failed."""
    failed = 0
    for page in pages:
        match = PROGRAM.search(page.read_text())
        assert match is not None, f"{page} has no program"
        place = folder / page.stem
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        shutil.copy(engines, place / "engines.yml")
        (place / match[2]).write_text(match[1])
        print(f"\n{page}\n", flush=True)
        failed += subprocess.run([sys.executable, match[2]], cwd=place, check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), [*map(Path, sys.argv[3:])]))
