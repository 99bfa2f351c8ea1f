"""Startup time of the command line, relative to importing its libraries.

make bench
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 11
CHAINETTE = str(Path(sys.executable).with_name("chainette"))
PYTHON = sys.executable

TYPER_APP = """
import typer
app = typer.Typer(rich_markup_mode=None)
@app.command()
def command(flag: bool = False) -> None: ...
app()
"""
BASES = {
    "import typer": [PYTHON, "-c", "import typer"],
    "a Typer command with one option": [PYTHON, "-c", TYPER_APP],
    "import pydantic": [PYTHON, "-c", "import pydantic"],
}
OURS = {
    "chainette engines list": [CHAINETTE, "engines", "list"],
    "chainette --help": [CHAINETTE, "--help"],
    "import chainette": [PYTHON, "-c", "import chainette"],
}
COMPARED = [
    ("chainette --help", "import typer", 1.5),
    ("chainette engines list", "import typer", 2.0),
    ("chainette engines list", "a Typer command with one option", None),
    ("import chainette", "import pydantic", 1.2),
]


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    commands = BASES | OURS
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)  # compiles modules that are not compiled yet
    for _ in range(RUNS):  # in turns, so that a slow moment affects all of them
        for name, command in commands.items():
            times[name].append(seconds(command))
    print("| what | s | ratio | over | bar |\n|---|---|---|---|---|")
    for name, base, bar in COMPARED:
        ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
        spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
        middle, took = statistics.median(ratios), statistics.median(times[name])
        print(f"| `{name}` | {took:.3f} | **{middle:.2f}** {spread} | {base} | {bar or '-'} |")


if __name__ == "__main__":
    main()
