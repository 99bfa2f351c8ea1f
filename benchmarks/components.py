"""CPU time of a row by component, from py-spy's samples of a whole run.

python benchmarks/components.py [ROWS]

Every sample counts for the innermost function that belongs to a component: for example, time that
aiohttp spends in asyncio counts for aiohttp.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import servers
from compare import write_rows

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
COMPONENTS = {
    "chainette/engine/http/aiohttp.py": "aiohttp: requests and responses",
    "aiohttp/": "aiohttp: requests and responses",
    "chainette/pipeline/": "rendering prompts (Jinja2)",
    "chainette/run/inputs/": "reading and checking rows",
    "chainette/run/output/": "writing results",
    "chainette/engine/structured/": "validating answers (Pydantic)",
    "chainette/json_bytes.py": "JSON of requests, responses and files",
    "chainette/engine/client/limits.py": "limits of the engine",
    "chainette/engine/": "the engine's client: errors, retries, timeouts, the protocol",
    "chainette_openai/": "the engine's client: errors, retries, timeouts, the protocol",
    "chainette/run/": "leading rows through the chain",
}
OTHER = "asyncio: sockets, timers, switching tasks"


def component(stack: str) -> str:
    for frame in reversed(stack.split(";")):
        for part, name in COMPONENTS.items():
            if part in frame:
                return name
    return OTHER


def main() -> None:
    program = shutil.which("py-spy")
    if program is None:
        sys.exit("py-spy is not installed: pip install py-spy")
    client = Path(__file__).parent / "clients" / "with_chainette.py"
    with tempfile.TemporaryDirectory() as name, servers.nginx() as url:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", ROWS)
        arguments = [url, str(ROWS), "64", str(folder / "rows.jsonl"), str(folder / "out")]
        record = [program, "record", "--rate", "500", "--format", "raw", "--full-filenames"]
        command = [*record, "-o", str(folder / "samples"), "--", sys.executable, str(client)]
        process = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True)
        result = json.loads(next(it for it in process.stdout.splitlines() if it.startswith("{")))
        samples: Counter[str] = Counter()
        for line in (folder / "samples").read_text().splitlines():
            stack, count = line.rsplit(" ", 1)
            if "_run_once" in stack:
                samples[component(stack)] += int(count)
    total = sum(samples.values())
    print("| component | share | ms of CPU for each row |\n|---|---|---|")
    for name, count in samples.most_common():
        share = count / total
        print(f"| {name} | {share:.0%} | {share * result['cpu_ms']:.3f} |")
    print(f"| all | | {result['cpu_ms']:.3f} |")


if __name__ == "__main__":
    main()
