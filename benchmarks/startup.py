"""How long the command line takes to start, as ratios against importing its libraries.

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

BASES = {
    "import typer": [PYTHON, "-c", "import typer"],
    "import pydantic": [PYTHON, "-c", "import pydantic"],
    "import typer, pydantic": [PYTHON, "-c", "import typer, pydantic"],
}
OURS = {
    "chainette engines list": ([CHAINETTE, "engines", "list"], "import typer, pydantic"),
    "chainette --help": ([CHAINETTE, "--help"], "import typer"),
    "import chainette": ([PYTHON, "-c", "import chainette"], "import pydantic"),
}


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    commands = BASES | {name: command for name, (command, _) in OURS.items()}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command in commands.values():
        seconds(command)  # compiles what is not compiled yet
    for _ in range(RUNS):  # in turn, so that a slow moment hits all of them
        for name, command in commands.items():
            times[name].append(seconds(command))
    print(f"{'what':<26}{'seconds':>9}   ratio (min to max)   against")
    for name, (_, base) in OURS.items():
        ratios = [a / b for a, b in zip(times[name], times[base], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        middle, took = statistics.median(ratios), statistics.median(times[name])
        print(f"{name:<26}{took:>9.3f}   {middle:.2f} ({spread})   {base}")


if __name__ == "__main__":
    main()
