"""Help pages: a command to copy, then the usage, the words, and the options in groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, str] = {
    "": "chainette run chain.yaml -i rows.jsonl -o runs/first",
    "run": "chainette run chain.yaml -i rows.jsonl -o runs/first --limit 10",
    "estimate": "chainette estimate chain.yaml -i rows.jsonl -o runs/first --sample 50",
    "report": "chainette report runs/first -o report.html",
    "export": "chainette export runs/first table.xlsx",
    "diff": "chainette diff runs/first runs/second --html page.html",
    "run-yaml": "chainette run-yaml chain.yaml -i rows.jsonl -o runs/first --limit 10",
    "ask": 'chainette ask gpt "Name three rivers." -e engines.yml',
    "inspect": "chainette inspect chain.yaml",
    "schema": "chainette schema > chain.schema.json",
    "warmup": "chainette warmup chain.yaml -e engines.yml",
    "engines": "chainette engines list -e engines.yml",
    "engines list": "chainette engines list -e engines.yml",
    "engines check": "chainette engines check gpt -e engines.yml",
    "engines warmup": "chainette engines warmup ollama --model llama3.2",
    "engines stop": "chainette engines stop --all",
    "plugins": "chainette plugins new acme",
    "plugins new": "chainette plugins new acme --protocol http",
    "plugins check": "chainette plugins check chainette-acme",
}
"""The first line of each help page, by the words of the command."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Rows": ("inputs", "limit", "sample", "columns", "encoding", "delimiter"),
    "Results": ("output_dir", "overwrite", "keep", "fmt", "max_lines_per_file"),
    "Engines": ("engines", "cache"),
    "Look before": ("dry_run", "show", "with_functions"),
    "Resume": ("resume", "retry_errors", "redo", "force"),
    "Limits": (
        "max_cost",
        "max_errors",
        "allow_errors",
        "max_requests_per_row",
        "max_cost_per_row",
        "max_prompt_chars",
    ),
}
"""The options of `chainette run` in groups; all others are in the last one."""
OTHERS = "Others"


def format_help(command: Any, context: Any, formatter: Any) -> None:
    """Write the help page of a command.

    Args:
        command: The command.
        context: Its context, as Click makes it.
        formatter: What the page is written with.
    """
    if example := EXAMPLES.get(words_of(context)):
        formatter.write(f"{example}\n\n")
    command.format_usage(context, formatter)
    command.format_help_text(context, formatter)
    names = {it.name for it in command.get_params(context)}
    if names >= {"resume", "max_cost"}:
        _format_groups(command, context, formatter)
    else:
        command.format_options(context, formatter)
    command.format_epilog(context, formatter)


def words_of(context: Any) -> str:
    """The words of a command behind the name of the program."""
    words: list[str] = []
    while context.parent is not None:
        words.insert(0, str(context.info_name))
        context = context.parent
    return " ".join(words)


def _format_groups(command: Any, context: Any, formatter: Any) -> None:
    """Write the arguments, then the options of each group."""
    group_of = {name: title for title, names in GROUPS.items() for name in names}
    groups: dict[str, list[tuple[str, str]]] = {it: [] for it in ("Arguments", *GROUPS, OTHERS)}
    order = [name for names in GROUPS.values() for name in names]
    parameters = [(it.name, it) for it in command.get_params(context)]
    parameters.sort(key=lambda it: order.index(it[0]) if it[0] in order else -1)
    for name, parameter in parameters:
        record = parameter.get_help_record(context)
        is_argument = parameter.param_type_name == "argument"
        title = "Arguments" if is_argument else group_of.get(name, OTHERS)
        if record is not None:
            groups[title].append(record)
    for title, records in groups.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
