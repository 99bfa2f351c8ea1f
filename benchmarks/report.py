"""Write tables and a chart into RESULTS.md from the measurements of `compare.py`.

python benchmarks/report.py

`benchmarks/results/` has a file for each run. Verdicts cover all runs; tables show the last run
among those with the most clients.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- compare.py begins -->", "<!-- compare.py ends -->"
NAMES = {
    "aiohttp": "bare aiohttp loop",
    "generate": "Chainette, `agenerate` alone",
    "ollama_api": "Chainette, `agenerate` through `ollama_api`",
    "chainette": "Chainette, whole `Chain.run`",
    "responses": "Chainette, whole `Chain.run`, Responses API",
    "sdk": "Chainette, whole `Chain.run`, Responses API through OpenAI's SDK",
    "httpx": "httpx",
    "openai": "openai SDK, `parse`",
    "pydantic_ai": "pydantic-ai",
    "ray": "Ray Data, HTTP processor",
    "curator": "bespokelabs-curator",
    "langchain": "langchain-openai",
    "httpx_aiohttp": "httpx API over httpx-aiohttp",
    "wreq": "wreq (Rust)",
    "pyreqwest": "pyreqwest (Rust)",
}
FRAMEWORKS = ("instructor", "langchain", "pydantic_ai", "litellm", "curator", "ray")
Setting = tuple[str, int]


class Run:
    """The measurements of one run of `compare.py`, by setting, client and round."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text())
        self.about = content["about"]
        self.failed: dict[str, str] = {}
        self._results: dict[tuple[str, Setting, str], dict[int, Any]] = {}
        for item in content["found"]:
            key = (item["kind"], (item["server"], item["in_flight"]), item["client"])
            if isinstance(item["result"], str):
                self.failed[item["client"]] = item["result"]
            else:
                self._results.setdefault(key, {})[item["round"]] = item["result"]

    def settings(self, kind: str = "client") -> list[Setting]:
        settings = {setting for its_kind, setting, _ in self._results if its_kind == kind}
        return sorted(settings, key=lambda it: (it[0] != "nginx", it[1]))

    def clients(self, kind: str = "client") -> list[str]:
        order = [name for its_kind, _, name in self._results if its_kind == kind]
        cost = {name: self.median(name, ("nginx", 64), "cpu_ms", kind) or 0 for name in {*order}}
        return sorted(cost, key=lambda name: cost[name])

    def rounds(self, name: str, at: Setting, kind: str = "client") -> dict[int, Any]:
        """Measurements of a client by the number of the round."""
        return self._results.get((kind, at, name), {})

    def median(self, name: str, at: Setting, what: str, kind: str = "client") -> float | None:
        rounds = self.rounds(name, at, kind)
        return statistics.median(it[what] for it in rounds.values()) if rounds else None

    def ratio(
        self, name: str, base: str, at: Setting, kind: str = "client"
    ) -> tuple[float, float, float] | None:
        """CPU of a client relative to another one in the same round: median, minimum, maximum."""
        ours, theirs = (self.rounds(it, at, kind) for it in (name, base))
        ratios = [ours[n]["cpu_ms"] / theirs[n]["cpu_ms"] for n in ours.keys() & theirs.keys()]
        return (statistics.median(ratios), min(ratios), max(ratios)) if ratios else None


def table(run: Run, kind: str, cell: Callable[[str, Setting], str]) -> list[str]:
    settings = run.settings(kind)
    heads = [f"{server}, {in_flight}" for server, in_flight in settings]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for name in run.clients(kind):
        cells = " | ".join(cell(name, setting) for setting in settings)
        lines.append(f"| {NAMES.get(name, name)} | {cells} |")
    return lines


def cpu(run: Run, kind: str) -> list[str]:
    def cell(name: str, at: Setting) -> str:
        value = run.median(name, at, "cpu_ms", kind)
        ratio = run.ratio(name, "aiohttp", at, kind)
        if value is None or ratio is None:
            return "-"
        return f"{value:.2f} ms, **{ratio[0]:.1f}** ({ratio[1]:.1f} to {ratio[2]:.1f})"

    return table(run, kind, cell)


def plain(run: Run, what: str, form: str, kind: str = "client") -> list[str]:
    def cell(name: str, at: Setting) -> str:
        value = run.median(name, at, what, kind)
        return "-" if value is None else format(value, form)

    return table(run, kind, cell)


def latency(run: Run) -> list[str]:
    """Time of a whole request with no other in flight, and its ratio to the bare loop."""
    at = ("nginx", 1)
    lines = ["| | ms | over the bare loop |", "|---|---|---|"]
    bare = 1000 / (run.median("aiohttp", at, "rows_s") or 1)
    for name in run.clients():
        if rate := run.median(name, at, "rows_s"):
            lines.append(
                f"| {NAMES.get(name, name)} | {1000 / rate:.2f} | {1000 / rate / bare:.1f} |"
            )
    return lines


def verdicts(run: Run) -> list[tuple[str, str, str]]:
    """For each limit: its description, the limit, and the result, met or not."""
    rows = []
    for name, most, what in (("chainette", 2.0, "`Chain.run`"), ("generate", 1.5, "`agenerate`")):
        for at in (("nginx", 64), ("100 ms", 64)):
            ratio = run.ratio(name, "aiohttp", at)
            assert ratio is not None
            label = f"CPU of {what} over the bare loop, {at[0]}, {at[1]} in flight"
            rows.append((label, f"≤ {most}", verdict_of(f"{ratio[0]:.2f}", ratio[0] <= most)))
    for at in (("nginx", 64), ("100 ms", 64)):
        ratio = run.ratio("responses", "chainette", at)
        label = f"CPU of the Responses API over chat completions, {at[0]}, {at[1]} in flight"
        verdict = verdict_of(f"{ratio[0]:.2f}", ratio[0] <= 1.2) if ratio else "not measured"
        rows.append((label, "≤ 1.2", verdict))
    for names, least in ((FRAMEWORKS, 6), (("httpx", "openai"), 4)):
        for name in names:
            for label, settings in (
                ("1 in flight", [at for at in run.settings() if at[1] == 1]),
                ("64 and more, the least", [at for at in run.settings() if at[1] > 1]),
            ):
                all_ratios = [run.ratio(name, "chainette", at) for at in settings]
                ratios = [ratio[0] for ratio in all_ratios if ratio]
                worst = min(ratios, default=0.0)
                what = f"CPU of {NAMES.get(name, name)} over ours, {label}"
                verdict = verdict_of(f"{worst:.1f}", worst >= least) if ratios else "not measured"
                rows.append((what, f"≥ {least}", verdict))
    return [*rows, *_at_a_thousand(run)]


def _at_a_thousand(run: Run) -> list[tuple[str, str, str]]:
    """The limits for many requests in flight; each share and each growth is of one round."""
    few, many = (run.rounds("chainette", ("100 ms", in_flight)) for in_flight in (64, 1000))
    bounds = {round_: min(10_000, 1000 / it["cpu_ms"]) for round_, it in many.items()}
    bound = statistics.median(bounds.values())
    which = "the CPU bound" if bound < 10_000 else "the ideal"
    share = statistics.median(it["rows_s"] / bounds[round_] for round_, it in many.items())
    growth = statistics.median(many[n]["cpu_ms"] / few[n]["cpu_ms"] for n in few.keys() & many)
    rate = f"rows/s at 1,000 in flight, 100 ms, over {which} of {bound:,.0f}"
    return [
        (rate, "≥ 0.90", verdict_of(f"{share:.2f}", share >= 0.9)),
        (
            "CPU of a row at 1,000 over 64 in flight",
            "≤ 1.15",
            verdict_of(f"{growth:.2f}", growth <= 1.15),
        ),
    ]


def verdict_of(value: str, is_met: bool) -> str:
    return f"{value}, {'met' if is_met else '**not met**'}"


def bars(runs: list[Run]) -> list[str]:
    lines = ["| | bar | " + " | ".join(f"run {n + 1}" for n in range(len(runs))) + " |"]
    lines.append("|---" * (len(runs) + 2) + "|")
    for row in zip(*(verdicts(run) for run in runs), strict=True):
        lines.append(f"| {row[0][0]} | {row[0][1]} | " + " | ".join(it[2] for it in row) + " |")
    return lines


def chart(run: Run) -> str:
    """Bars of the CPU of a row, nginx, 64 in flight."""
    rows = [(name, run.median(name, ("nginx", 64), "cpu_ms")) for name in run.clients()]
    bars = [(name, value) for name, value in rows if value]
    longest = max(value for _, value in bars)
    height = 34 + 26 * len(bars)
    style = "font-family='sans-serif' font-size='13'"
    lines = [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 760 {height}' {style}>"]
    lines.append("<rect width='100%' height='100%' fill='white'/>")
    lines.append("<text x='8' y='20'>CPU for each row, ms (nginx, 64 in flight)</text>")
    for index, (name, value) in enumerate(bars):
        y = 34 + 26 * index
        width = 420 * value / longest
        colour = "#1b7f5c" if name in ("chainette", "generate", "responses") else "#9aa5b1"
        label = escape(NAMES.get(name, name).replace("`", ""))
        lines.append(f"<text x='230' y='{y + 14}' text-anchor='end'>{label}</text>")
        lines.append(f"<rect x='240' y='{y}' width='{width:.1f}' height='18' fill='{colour}'/>")
        lines.append(f"<text x='{246 + width:.1f}' y='{y + 14}'>{value:.2f}</text>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def fullest(runs: list[Run]) -> Run:
    """The last of the runs with the most clients; a short run does not shorten the tables."""
    return max(reversed(runs), key=lambda run: len(run.clients()))


def section(runs: list[Run]) -> str:
    run = fullest(runs)
    about = run.about
    versions = ", ".join(sorted({it for it in about["versions"].values() if it}))
    lines = [
        BEGIN,
        f"Machine: {about['machine']}. {about['rounds']} rounds in turns, in random order; cells "
        "are medians, ratios are to the bare loop of the same round (least to most). "
        f"Versions: {versions}.",
        "",
        "### Bars",
        "",
        *bars(runs),
        "",
        "### CPU for each row",
        "",
        "![CPU for each row](results/cpu.svg)",
        "",
        *cpu(run, "client"),
        "",
        "### Rows a second",
        "",
        *plain(run, "rows_s", ",.0f"),
        "",
        "### Milliseconds for one request after another, nginx",
        "",
        *latency(run),
        "",
        "### Peak memory, MB",
        "",
        *plain(run, "peak_mb", ".0f"),
        "",
        "### Seconds to import",
        "",
        *plain(run, "import_s", ".2f"),
        "",
        "### HTTP libraries in the same loop: CPU for each request",
        "",
        *cpu(run, "transport"),
    ]
    if run.failed:
        lines += ["", "Did not end every time:", ""]
        lines += [f"- {name}: `{why}`" for name, why in sorted(run.failed.items())]
    return "\n".join([*lines, END])


def readme(run: Run) -> list[str]:
    """README's table: the way that its example takes, and the libraries relative to it."""
    at, base = ("nginx", 64), "responses"
    lines = ["| CPU per row, 64 in flight | ms | relative to Chainette |", "|---|---|---|"]
    for name in run.clients():
        ratio, value = run.ratio(name, base, at), run.median(name, at, "cpu_ms")
        if ratio and value and name in (base, "httpx", "openai", *FRAMEWORKS):
            label = (
                "Chainette, a whole run with its files" if name == base else NAMES.get(name, name)
            )
            lines.append(f"| {label} | {value:.2g} | {ratio[0]:.2g} |")
    return lines


def main() -> None:
    runs = [Run(path) for path in sorted((HERE / "results").glob("compare*.json"))]
    results = HERE / "RESULTS.md"
    before, _, rest = results.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    results.write_text(before + section(runs) + after)
    (HERE / "results" / "cpu.svg").write_text(chart(fullest(runs)))
    for verdict in zip(*(verdicts(run) for run in runs), strict=True):
        print(*verdict[0][:2], *(it[2] for it in verdict))
    print('\nREADME.md, "Why Chainette":', *readme(fullest(runs)), sep="\n")


if __name__ == "__main__":
    main()
