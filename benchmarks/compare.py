"""Compare the cost of a row with Chainette, other libraries and a bare loop, in turns in one run.

python benchmarks/compare.py [--full] [--peers NAME,NAME] [--rounds N]

Every peer gets its own environment in `.bench/`, which is created once. The measurements go to
`benchmarks/results/`, from which `benchmarks/report.py` writes RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servers

HERE = Path(__file__).parent
VENVS = HERE.parent / ".bench"
RESULTS = HERE / "results"
OFFLINE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TELEMETRY_ENABLED": "0",
    "CURATOR_VIEWER": "0",
    "LANGCHAIN_TRACING_V2": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True)
class Client:
    """A script in `clients/` and its requirements.

    Attributes:
        name: `NAME` in the name of the script, `with_NAME.py`.
        packages: Packages of its environment; without any, it runs in this one.
        share: Factor on the number of rows: below 1 where all of them would take too long, above 1
            where the limits are close.
        argument: An additional argument for the script.
        most_in_flight: Maximum of requests in flight; with more it would take too long, or the
            result would be the same.
        only_fast: Whether to leave out the slow server, because the client sends one request after
            another, or speaks a protocol of its own.
    """

    name: str
    packages: tuple[str, ...] = ()
    share: float = 1.0
    argument: str = ""
    most_in_flight: int = 1000
    only_fast: bool = False

    @property
    def label(self) -> str:
        return self.argument or self.name


BARE = Client("aiohttp", share=4.0)
OURS = [
    Client("chainette", share=4.0),
    Client("generate", share=4.0),
    Client("chainette", share=4.0, argument="responses"),
    Client("chainette", share=0.15, argument="sdk"),
    Client("generate", share=4.0, argument="ollama_api", only_fast=True),
]
"""Chat completions, in a chain and alone; the Responses API, which README's example takes, through
our transport and through OpenAI's SDK; and Ollama's own API."""
PEERS = [
    Client("httpx", ("httpx", "pydantic"), 0.15),
    Client("openai", ("openai", "pydantic"), 0.15),
    Client("instructor", ("instructor",), 0.15),
    Client("langchain", ("langchain-openai",), 0.15),
    Client("pydantic_ai", ("pydantic-ai-slim[openai]",), 0.15),
    Client("litellm", ("litellm",), 0.15),
    Client("curator", ("bespokelabs-curator",), 0.15),
    Client("ray", ("ray[data]", "aiohttp", "pydantic", "psutil"), 0.5, only_fast=True),
]
TRANSPORT = ("aiohttp", "httpx", "httpx-aiohttp", "httpx2", "pydantic", "pyreqwest", "wreq")
TRANSPORTS = [
    Client("transport", TRANSPORT, share, name, most)
    for name, share, most in (
        ("aiohttp", 1.0, 1000),
        ("pyreqwest", 1.0, 1000),
        ("wreq", 1.0, 1000),
        ("httpx_aiohttp", 1.0, 1000),
        ("httpx2", 0.15, 64),
        ("httpx", 0.15, 64),
    )
]


def python(client: Client) -> str:
    """Interpreter of a client's environment, which is created if it does not exist."""
    if not client.packages:
        return sys.executable
    folder = VENVS / client.name
    program = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"installing {' '.join(client.packages)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(program), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *client.packages], check=True)
        (folder / "ready").touch()
    return str(program)


def measure(client: Client, url: str, rows: int, in_flight: int, folder: Path) -> Any:
    """Run a client; return its measurements for each row, or the reason why it failed."""
    script = HERE / "clients" / f"with_{client.name}.py"
    output = folder / f"{client.label}.jsonl"
    count = max(in_flight, int(rows * client.share))
    arguments = [url, str(count), str(in_flight), str(folder / "rows.jsonl"), str(output)]
    command = [python(client), str(script), *arguments, client.argument]
    environment = {**os.environ, **OFFLINE}
    # Use and keep compiled modules, as on a user's machine, and do not use a proxy.
    for name in ("PYTHONDONTWRITEBYTECODE", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        environment.pop(name, None)
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=600, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return "took more than 600 s"
    if process.returncode:
        return (process.stderr.strip().splitlines() or [f"ended with {process.returncode}"])[-1]
    return json.loads(process.stdout.splitlines()[-1])


def write_rows(path: Path, count: int) -> None:
    text = "The parcel came in two days, the box was whole and the price was fair. " * 3
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps({"text": f"Order {number}: {text}"}) + "\n")


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure every client in every setting, in rounds, each in a different order."""
    names = options.peers.split(",") if options.peers else None
    peers = [peer for peer in PEERS if names is None or peer.name in names]
    measurements = []
    with tempfile.TemporaryDirectory() as name, servers.nginx() as fast, servers.slow(0.1) as late:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", 20_000)
        settings = [("nginx", fast, 1), ("nginx", fast, 64), ("100 ms", late, 64)]
        settings += [("100 ms", late, 256), ("100 ms", late, 1000)]
        for round_ in range(options.rounds):
            for server, url, in_flight in settings:
                clients = [BARE, *OURS, *peers]
                if in_flight in (64, 1000):
                    clients += TRANSPORTS
                clients = [it for it in clients if in_flight <= it.most_in_flight]
                clients = [it for it in clients if server == "nginx" or not it.only_fast]
                for client in random.sample(clients, len(clients)):
                    rows = options.rows * (4 if in_flight == 1000 else 1)
                    result = measure(client, url, rows, in_flight, folder)
                    entry = {"server": server, "in_flight": in_flight, "client": client.label}
                    kind = "transport" if client in TRANSPORTS else "client"
                    measurements.append(entry | {"kind": kind, "round": round_, "result": result})
                    print(entry, result, file=sys.stderr)
    return measurements


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--full", action="store_true", help="all peers, five rounds")
    parser.add_argument("--peers", help="only these peers")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.full else 3)
    options.rows = options.rows or 1000
    if not options.full and options.peers is None:
        options.peers = "httpx,openai,instructor"
    start = time.time()
    measurements = compare(options)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"compare-{len(list(RESULTS.glob('compare-*.json'))) + 1}.json"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    versions = {peer.name: _versions(peer) for peer in PEERS if (VENVS / peer.name).exists()}
    about = {"machine": machine, "begun": start, "seconds": time.time() - start}
    about |= {"rounds": options.rounds, "rows": options.rows, "versions": versions}
    path.write_text(_lines({"about": about, "found": measurements}))
    print(f"{path}: {len(measurements)} measurements in {about['seconds']:.0f} s")


def _lines(content: dict[str, Any]) -> str:
    """JSON with a line for each measurement."""
    lines = ",\n".join(json.dumps(item) for item in content["found"])
    return f'{{"about": {json.dumps(content["about"])},\n"found": [\n{lines}\n]}}\n'


def _versions(client: Client) -> str:
    name = client.packages[0].split("[")[0]
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    process = subprocess.run([python(client), "-c", code], capture_output=True, text=True)
    return f"{name} {process.stdout.strip()}"


if __name__ == "__main__":
    main()
