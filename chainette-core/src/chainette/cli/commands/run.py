"""`chainette run` and its alias `chainette run-yaml`."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainette.cli.engine_file import EnginesOption, provide_engines
from chainette.cli.options import Target, chosen, run_option, with_run_options
from chainette.cli.say import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chainette.loading.yaml_rows import YamlRows
    from chainette.pipeline.nodes.node import Node
    from chainette.reports.run import Run
    from chainette.run.chain import Chain
    from chainette.run.dry_run import Unknown
    from chainette.run.inputs.generated import Rows

_Inputs = run_option(
    "inputs", flag="-i", help="JSON, JSONL, CSV, Parquet; - is stdin; hf:NAME; s3://…."
)
_JsonLogs = run_option("json_logs", help="Write events as JSON lines to stderr.")
_DryRun = run_option("dry_run", help="Show the first prompts and send nothing.")
_Show = run_option(
    "show", min=1, metavar="<int>", help="Number of prompts of a dry run.  [default: 3]"
)
_WithFunctions = run_option(
    "with_functions", help="Call the chain's functions in a dry run; they may send something."
)
_AllowErrors = run_option(
    "allow_errors",
    min=0,
    metavar="<float>",
    help="Failed rows and groups with which the exit code is still 0; below 1, their share of all.",
)


PROMPTS = 3
"""Prompts of a dry run, where nothing else is said."""
STOPPED = 3
"""Exit code of a run that was stopped before its end and can be resumed."""


@with_run_options
def run(
    target: Target,
    inputs: Annotated[str | None, _Inputs] = None,
    engines: EnginesOption = None,
    *,
    json_logs: Annotated[bool, _JsonLogs] = False,
    dry_run: Annotated[bool, _DryRun] = False,
    show: Annotated[int | None, _Show] = None,
    with_functions: Annotated[bool, _WithFunctions] = False,
    allow_errors: Annotated[float | None, _AllowErrors] = None,
    **flags: Any,
) -> None:
    """Run a chain over a file of inputs.

    A YAML file can have its own inputs and options. The environment overrides them (--limit is
    CHAINETTE_LIMIT), and the command line overrides both.

    The exit code is 0 when every row is fine, 1 when some failed, 2 when nothing could start, 3
    when the run was stopped before its end, which --resume continues, and 128 and its number after
    a signal: 130 after Ctrl-C.
    """
    chain, own_inputs, own_options = load(target)
    options = own_options | chosen(flags)
    source = inputs or opened(own_inputs)
    _check(options)
    provide_engines(engines, chain.engine_names, as_json=json_logs)
    if dry_run:
        names = ("limit", "sample", "columns", "encoding", "delimiter", "max_prompt_chars")
        selection = {it: options[it] for it in names if it in options}
        _show_prompts(chain, source, with_functions, selection, show)
    if with_functions or show:
        name = "with-functions" if with_functions else "show"
        raise typer.BadParameter(f"--{name} belongs to --dry-run")
    options.setdefault("output_dir", _new_folder(chain.name))
    if options.get("resume") and not json_logs:
        _say_if_new(Path(options["output_dir"]))
    finished = _run(chain, source, options, json_logs)
    raise typer.Exit(_exit_code(finished, allow_errors or 0))


def opened(inputs: Path | str | YamlRows | None) -> str | Rows:
    """The inputs of a YAML file."""
    if inputs is None:
        raise typer.BadParameter("give the file of input rows", param_hint="--inputs / -i")
    return str(inputs) if isinstance(inputs, Path | str) else inputs.open()


def load(target: str) -> tuple[Chain, Path | str | YamlRows | None, dict[str, Any]]:
    """The chain, and the inputs and options of its YAML file."""
    from chainette.loading.target import YAML, load_chain

    if not target.endswith(YAML):
        return load_chain(target), None, {}
    from chainette.loading.yaml_chain import load_yaml_chain

    loaded = load_yaml_chain(target)
    return loaded.chain, loaded.inputs, loaded.options


def _check(options: dict[str, Any]) -> None:
    """Refuse options that do not fit together."""
    resumes = any(options.get(name) for name in ("resume", "retry_errors", "redo"))
    if resumes and options.get("overwrite"):
        raise typer.BadParameter("--overwrite and --resume exclude each other")
    if resumes and "output_dir" not in options:
        raise typer.BadParameter("name the run to resume", param_hint="--output-dir / -o")


def _say_if_new(folder: Path) -> None:
    """Say that nothing is resumed, since a folder's name that is wrong costs a whole run."""
    from chainette.folder.files import MANIFEST

    if not (folder / MANIFEST).exists():
        say(f"{folder}: holds no run yet; a new one begins", err=True)


def _show_prompts(
    chain: Chain,
    inputs: str | Rows,
    with_functions: bool,
    selection: dict[str, Any],
    show: int | None,
) -> None:
    """Print the first prompts, and where they stop; exit code 1 if a row failed."""
    import anyio

    from chainette.cli.shown.wording import worded
    from chainette.run.dry_run import Rendered, Unknown, dry_run

    if "limit" not in selection and "sample" not in selection:
        selection, show = selection | {"limit": show or PROMPTS}, show or PROMPTS
    call = partial(dry_run, chain, inputs, with_functions=with_functions, **selection)
    failed, unknown, left = False, [], show
    for prompt in anyio.run(call):
        if isinstance(prompt, Unknown):
            unknown.append(prompt)
            continue
        if not isinstance(prompt, Rendered):
            failed = True
            say(f"failed: {worded(prompt)}", err=True)
            continue
        if left == 0:
            continue
        left = None if left is None else left - 1
        say(f"--- row {prompt.row_id}, step {prompt.step_id}, engine {prompt.engine}")
        for message in prompt.messages:
            say(f"[{message['role']}]\n{message['content']}")
    for line in _stops(unknown, with_functions=with_functions):
        say(line, err=True)
    if not chain.engine_names:
        say("the chain prompts no engine", err=True)
    raise typer.Exit(1 if failed else 0)


def _stops(unknown: list[Unknown], *, with_functions: bool) -> Iterator[str]:
    """A line for each node that a dry run stopped at, with the nodes that follow it."""
    from chainette.pipeline.composites.reduce import Reduce

    followers: dict[Node | Reduce[Any, Any], list[str]] = {}
    for it in unknown:
        ids = followers.setdefault(it.after, [])
        if it.step_id != it.after.id or isinstance(it.after, Reduce):
            ids.append(repr(it.step_id))
    for node, ids in followers.items():
        noun = "step" if len(ids) == 1 else "steps"
        follows = f"the prompt of {noun} {', '.join(ids)} depends on" if ids else ""
        if isinstance(node, Reduce):
            yield f"stopped at reduce {node.id!r}, which needs all rows: {follows} them"
        elif node.kind == "step":
            yield f"stopped at step {node.id!r}: {follows} its answer"
        elif with_functions:
            yield f"stopped at function {node.id!r}, which calls an engine: {follows} its output"
        else:
            own = f"it calls {' and '.join(node.engines)} itself" if node.engines else ""
            reasons = ", and ".join(filter(None, [own, f"{follows} it" if follows else ""]))
            yield (
                f"stopped at function {node.id!r}, which was not called (it may send something): "
                f"{reasons}; to call it, add --with-functions"
            )


def _run(chain: Chain, inputs: str | Rows, options: dict[str, Any], json_logs: bool) -> Run:
    import anyio

    from chainette.cli.progress import progress
    from chainette.cli.shown.ending import show_end
    from chainette.cli.shown.wording import worded
    from chainette.cli.startup import startups_shown
    from chainette.errors import OutputDirError
    from chainette.run.api import run_until_interrupted
    from chainette.run.executor import Executor
    from chainette.run.progress.stats import RunStats

    if os.environ.get("CHAINETTE_OTEL", "").lower() in ("1", "true", "yes"):
        from chainette.engine.telemetry.otel import instrument

        instrument()
    stats = RunStats()
    listeners = (stats, progress(stats, as_json=json_logs))

    async def call() -> Run:
        executor = Executor(chain, inputs, listeners=listeners, **options)
        if executor.is_estimated and not json_logs:
            say("using the answers of the estimate in this folder", err=True)
        elif executor.resumed_from == "killed" and not json_logs:
            say("resuming a run that was killed", err=True)
        try:
            return await run_until_interrupted(executor)
        except OutputDirError as error:  # it had started: the disk is full, or the folder is gone
            say(f"error: {worded(error)}", err=True)
            raise typer.Exit(STOPPED) from None

    with nullcontext() if json_logs else startups_shown():
        finished = anyio.run(call)
    show_end(finished, chain, stats, as_json=json_logs)
    return finished


def _new_folder(name: str) -> Path:
    """`runs/NAME/DATE-TIME`."""
    import re
    from datetime import datetime

    safe = re.sub(r"[^\w.-]+", "_", name).strip("._") or "chain"
    return Path("runs") / safe / f"{datetime.now():%Y%m%d-%H%M%S}"


def _exit_code(run: Run, allowed: float) -> int:
    if run.interrupted:
        return 128 + (run.signal or SIGINT)
    if run.stopped is not None:
        return STOPPED
    most = allowed * run.counts.rows if allowed < 1 else allowed
    if run.counts.unfinished + run.counts.failed_groups <= most:
        return 0
    if run.counts.failed_groups:
        return 1
    # When no row of the input could be read, nothing could start.
    is_unreadable = all(
        result.error is not None and getattr(result.error, "type", "") == "InputError"
        for result in run.results
    )
    return 2 if is_unreadable else 1
