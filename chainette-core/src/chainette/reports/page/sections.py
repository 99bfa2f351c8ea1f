"""The sections of a run's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import islice
from typing import Any

from chainette.engine.config import public_url
from chainette.folder.lines import encoded
from chainette.messages.numbers import digits
from chainette.pipeline.reasoning import REASONING
from chainette.reports.page.document import (
    Block,
    Section,
    bars,
    charts,
    facts,
    graph,
    histogram,
    lines,
    listing,
    note,
)
from chainette.reports.page.fields import Field
from chainette.reports.page.scan import NodeTally, Scan
from chainette.reports.page.tallies import Numbers
from chainette.reports.stored.run_folder import StoredRun

INPUT = "chain_input"
_CHARTS = 200
_GROUPS = 200
_REASONS = 25


class Sections:
    """The sections of a run's report.

    Args:
        run: The run.
        scan: What its lines say.
        state: Its state now; one that says it is running may have been killed.
    """

    def __init__(self, run: StoredRun, scan: Scan, state: str) -> None:
        self._run, self._scan, self._state = run, scan, state
        self._manifest = run.manifest
        self._has_ended = run.manifest.get("ended") is not None
        self._engines = {it.get("name"): it for it in run.manifest.get("engines", [])}

    def __iter__(self) -> Iterator[Section]:
        """The sections that have something to show."""
        yield Section("overview", "Overview", [*self._overview()])
        yield Section("steps", "Steps", [*self._steps()])
        if answers := [*islice(self._answers(), _CHARTS + 1)]:
            more = [note(f"Only the first {_CHARTS} charts are shown.")]
            blocks = [charts(answers[:_CHARTS]), *(more if len(answers) > _CHARTS else [])]
            yield Section("answers", "Answers", blocks)
        if self._scan.failures or self._scan.dropped:
            yield Section("failures", "Failures", [*self._failures()])
        if groups := [*self._groups()]:
            yield Section("groups", "Groups", groups)
        yield Section("record", "Record", [*self._record()])

    def _overview(self) -> Iterator[Block]:
        states, tallies = self._scan.states, self._scan.nodes.values()
        rows = states.total()
        parts = [f"{states[it]:,} {it}" for it in ("ok", "partial", "dropped", "failed")]
        said = ", ".join(it for it in parts if not it.startswith("0 "))
        prompt, answer = self._tokens()
        yield facts([
            ("Rows", f"{rows:,}", said),
            ("Failed", _share(states["failed"] + states["partial"], rows), "of rows, or partial"),
            ("Cost", *self._cost()),
            ("Tokens", f"{prompt + answer:,}", f"{prompt:,} of prompts, {answer:,} of answers"),
            ("Time", *self._time(rows)),
            ("Answers", f"{sum(it.latency.count for it in tallies):,}", "written down"),
        ])  # fmt: skip
        yield self._graph()

    def _tokens(self) -> tuple[int, int]:
        usage = self._manifest.get("usage") if self._has_ended else None
        if usage:
            return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        tallies = self._scan.nodes.values()
        prompt = sum(it.prompt.total for it in tallies)
        return int(prompt), int(sum(it.completion.total for it in tallies))

    def _cost(self) -> tuple[str, str]:
        """The cost of the run, and what it covers."""
        if self._has_ended and "cost_usd" in self._manifest:
            cost = self._manifest["cost_usd"]
            if cost is not None:
                return dollars(cost), "US dollars, with failed requests"
        known = sum(it.cost for it in self._scan.nodes.values())
        unknown = sum(it.unknown for it in self._scan.nodes.values())
        if unknown or self._has_ended:
            about = f"the price of {unknown:,} answers is unknown" if unknown else "not known"
            return ("unknown" if not known else f"at least {dollars(known)}"), about
        return dollars(known), "US dollars so far, of valid answers"

    def _time(self, rows: int) -> tuple[str, str]:
        started, ended = moment(self._manifest.get("started")), moment(self._manifest.get("ended"))
        resumed = self._manifest.get("resumed") or []
        if started is None:
            return "unknown", ""
        if resumed:
            return duration(started, ended), f"from the start on; resumed {len(resumed)} times"
        seconds = ((ended or datetime.now(timezone.utc)) - started).total_seconds()
        rate = f"{rows / seconds:,.1f} rows a second" if seconds > 0 else ""
        return duration(started, ended), rate

    def _graph(self) -> Block:
        nodes: list[Block] = []
        sources = {it["from"] for it in self._run.graph.get("edges", [])}
        if INPUT in sources:
            title = str(self._run.schema(INPUT).get("title") or "input")
            nodes.append({"id": INPUT, "kind": "input", "title": title, "about": ""})
        for id, node in self._run.nodes.items():
            title = " ".join(filter(None, [node.get("emoji"), node.get("name") or id]))
            about = node.get("engine") or node.get("function") or node.get("kind", "")
            kind = "reduce" if node.get("reduce") == id else node.get("kind", "")
            count = self._scan.nodes[id].lines
            noun = "output" if count == 1 else "outputs"
            nodes.append({"id": id, "kind": kind, "title": title,
                          "about": f"{about} → {node.get('output', '')}",
                          "figure": f"{count:,} {noun}" if count else ""})  # fmt: skip
        known = {it["id"] for it in nodes}
        edges = [
            {"from": it["from"], "to": it["to"], "label": _label(it)}
            for it in self._run.graph.get("edges", [])
            if it["from"] in known and it["to"] in known
        ]
        return graph(nodes, edges)

    def _steps(self) -> Iterator[Block]:
        yield listing(
            ["Step", "Engine", "Model", "Answers", "Failed", "Sent again", "Asked again",
             "From the cache", "Prompt tokens", "Answer tokens", "Cost", "Median", "p95"],
            [self._step(id) for id in self._run.node_ids],
            ["Answers", "Failed", "Sent again", "Asked again", "From the cache", "Prompt tokens",
             "Answer tokens", "Cost", "Median", "p95"],
        )  # fmt: skip
        start, seconds, series = self._scan.moments.series()
        drawn: list[Block] = []
        if series and len(series[0][1]) > 1:
            about = f"answers that were written down, in intervals of {seconds:g} s; times are UTC"
            drawn.append(lines("Answers over time", series, start=start, seconds=seconds,
                               unit="answers a second", about=about))  # fmt: skip
        for id, tally in self._scan.nodes.items():
            drawn += _distributions(id, tally)
        costs = self._costs()
        if len(costs) > 1 and any(costs.values()):
            by_engine = self._by_engine(costs)
            drawn.append(_money("Cost by step", costs))
            drawn += [_money("Cost by engine", by_engine)] if any(by_engine.values()) else []
        if drawn:
            yield charts(drawn)

    def _step(self, id: str) -> list[Any]:
        node, tally = self._run.nodes[id], self._scan.nodes[id]
        engine = node.get("engine") or ", ".join(node.get("engines", []))
        failed = sum(count for key, count in self._scan.failures.items() if key[0] == id)
        retries = (self._manifest.get("retries") or {}).get(id, 0)
        usage = (self._manifest.get("usage_by_step") or {}).get(id, {})
        prompt = usage.get("prompt_tokens", int(tally.prompt.total))
        answer = usage.get("completion_tokens", int(tally.completion.total))
        latency = tally.latency
        median, late = (
            (seconds_text(latency.quantile(0.5)), seconds_text(latency.quantile(0.95)))
            if latency.count
            else ("", "")
        )
        model = self._engines.get(engine, {}).get("model") or ""
        numbers = (tally.lines, failed, retries, tally.flags["asked again"], tally.flags["cached"])
        cost = self._costs().get(id, 0.0)
        has_engine = bool(engine)
        return [id, engine or node.get("kind"), model, *(f"{it:,}" for it in numbers),
                *((f"{prompt:,}", f"{answer:,}", dollars(cost)) if has_engine else ("", "", "")),
                median, late]  # fmt: skip

    def _costs(self) -> dict[str, float | None]:
        """US dollars by step; `None` where they are unknown."""
        found = self._manifest.get("cost_usd_by_step") if self._has_ended else None
        if found is not None:
            return {id: None if it is None else float(it) for id, it in found.items()}
        return {
            id: None if it.unknown else it.cost
            for id, it in self._scan.nodes.items()
            if it.latency.count or it.cost or it.unknown
        }

    def _by_engine(self, costs: Mapping[str, float | None]) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for id, cost in costs.items():
            node = self._run.nodes.get(id, {})
            engine = node.get("engine") or ", ".join(node.get("engines", [])) or id
            before = found.get(engine, 0.0)
            found[engine] = None if cost is None or before is None else before + cost
        return found

    def _answers(self) -> Iterator[Block]:
        for name, field in self._scan.fields.items():
            head = name.partition(".")[0].removesuffix("[]")
            if head in self._run.nodes and head != REASONING:
                yield from field.charts(name, name)

    def _failures(self) -> Iterator[Block]:
        failures = self._scan.failures
        if failures:
            rows = [
                [node or "the input", kind + (" (tolerated)" if tolerated else ""), message, count]
                for (node, kind, message, tolerated), count in failures.most_common(_REASONS)
            ]
            kinds: dict[str, int] = {}
            for (node, kind, _, _), count in failures.items():
                label = f"{node or 'the input'}: {kind}"
                kinds[label] = kinds.get(label, 0) + count
            ordered = sorted(kinds.items(), key=lambda it: -it[1])[:12]
            total = failures.total()
            others = total - sum(it for _, it in ordered)
            yield charts([bars("Failures by reason", ordered, total=total, others=others)])
            yield listing(["Where", "Type", "Message", "Count"], rows, ["Count"])
            if len(failures) > _REASONS:
                yield note(f"{len(failures) - _REASONS:,} rarer messages are not shown here.")
        if self._scan.dropped:
            found = self._scan.dropped.most_common(_REASONS)
            rows = [[node, reason, count] for (node, reason), count in found]
            yield listing(["Dropped by", "Reason", "Count"], rows, ["Count"])

    def _groups(self) -> Iterator[Block]:
        for id in dict.fromkeys(
            it["reduce"] for it in self._run.nodes.values() if it.get("reduce")
        ):
            rows: list[list[Any]] = []
            sizes, count = Numbers(), 0
            schema = self._run.schema(self._run.last_of_reduce(id))
            field = Field(schema, schema.get("$defs", {}))
            for line in self._run.groups(id):
                size = line.get("size", len(line["row_ids"]) if "row_ids" in line else None)
                if size is not None:  # else it is a further item of a group
                    count += 1
                    sizes.update([size])
                field.add(line.get("output"))
                if len(rows) < _GROUPS:
                    rows.append([_key(line.get("key")), size, _key(line.get("output"))])
            if not count:
                continue
            bins, is_cut = sizes.bins()
            title, figures = f"{id}: items in a group", sizes.figures()
            drawn = histogram(title, bins, unit="items", figures=figures, is_cut=is_cut)
            yield charts([drawn, *field.charts(id)])
            yield listing(["Group", "Items", f"Output of {id}"], rows, ["Items"])
            if len(rows) == _GROUPS:
                yield note(f"These are the first of {count:,} groups; the charts cover all.")

    def _record(self) -> Iterator[Block]:
        manifest = self._manifest
        inputs = manifest.get("inputs") or {}
        rows = [
            ["Started", manifest.get("started")],
            ["Ended", manifest.get("ended") or ("" if self._state == "killed" else "not yet")],
            *[["Resumed", it] for it in manifest.get("resumed") or []],
            ["Status", self._state],
            ["Stopped", manifest.get("stopped")],
            ["Folder", str(self._run.path)],
            ["Inputs", inputs.get("path")],
            ["SHA-256 of the inputs", inputs.get("sha256")],
            ["Chainette", manifest.get("chainette")],
            *[[name, version] for name, version in (manifest.get("plugins") or {}).items()],
        ]
        yield listing(["", ""], [row for row in rows if row[1] not in (None, "")])
        if self._engines:
            yield listing(
                ["Engine", "Backend", "Model", "Endpoint"],
                [[name, it.get("backend"), it.get("model") or "", _address(it.get("endpoint"))]
                 for name, it in self._engines.items()],
            )  # fmt: skip


def _distributions(id: str, tally: NodeTally) -> Iterator[Block]:
    """The latency and the tokens of a step."""
    for title, numbers, unit in (
        ("latency", tally.latency, "seconds"),
        ("prompt", tally.prompt, "tokens"),
        ("answer", tally.completion, "tokens"),
    ):
        if numbers.count and numbers.range[1] > 0:
            bins, is_cut = numbers.bins()
            yield histogram(f"{id}: {title}", bins, unit=unit, figures=numbers.figures(),
                            about=unit, is_cut=is_cut)  # fmt: skip


def _money(title: str, costs: Mapping[str, float | None]) -> Block:
    """Costs as bars."""
    known = ((id, cost) for id, cost in costs.items() if cost is not None)
    rows = sorted(known, key=lambda it: -it[1])
    unknown = ", ".join(id for id, cost in costs.items() if cost is None)
    about = f"US dollars; not known: {unknown}" if unknown else "US dollars"
    chart = bars(title, [(id, 0) for id, _ in rows], about=about)
    chart["bars"] = [[id, cost] for id, cost in rows]
    chart["total"] = (not unknown and sum(cost for _, cost in rows)) or None
    chart["money"] = True
    return chart


def _label(edge: Mapping[str, str]) -> str:
    found = next((edge[it] for it in ("join", "case", "repeat") if it in edge), None)
    return found or (f"by {edge['by']}" if "by" in edge else "")


def _key(value: Any) -> str:
    text = value if isinstance(value, str) else encoded(value).decode()
    return text[:300] + ("…" if len(text) > 300 else "")


def _address(endpoint: Any) -> str:
    return public_url(endpoint) if isinstance(endpoint, str) else ""


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.{0 if count in (0, total) else 2}f}%" if total else "none"


def dollars(cost: float | None) -> str:
    """A cost for people."""
    if cost is None:
        return "unknown"
    return f"${cost:,.2f}" if cost >= 1 or cost == 0 else f"${digits(cost)}"


def moment(text: Any) -> datetime | None:
    """The time of a text of the manifest."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


def duration(start: datetime, end: datetime | None) -> str:
    """The time between two moments, or until now."""
    seconds = max(0.0, ((end or datetime.now(timezone.utc)) - start).total_seconds())
    if seconds < 1:
        return seconds_text(seconds)
    hours, rest = divmod(int(seconds), 3_600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def seconds_text(seconds: float) -> str:
    """A latency for people."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1_000 * seconds:.1f} ms"
