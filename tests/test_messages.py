"""Messages name the arguments of Python in Python, and the flags of the command line there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chainette.cli.shown.wording import with_flags, worded
from chainette.errors import (
    ApplyError,
    BudgetError,
    ChainetteError,
    InputError,
    OutputDirError,
    RowBudgetError,
    ServerError,
)
from chainette.messages.three_lines import three_lines
from chainette.run.options import options_of

CORE = Path(__file__).parent.parent / "chainette-core/src/chainette"
PROGRAMS = {
    "engine/server/docker.py": "flags of Docker",
    "engine/server/warm.py": "flags of Docker and Ollama",
    "testing/report.py": "flags of pytest, and a report that only `chainette plugins check` makes",
    "testing/ollama/server.py": "the words of a server",
}
"""Modules outside of the command line that have flags, and whose they are."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts in a module that are no docstrings; of texts in parts, each."""
    tree = ast.parse(path.read_text())
    docs = {id(it.value) for it in ast.walk(tree) if isinstance(it, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docs:
            yield node.lineno, node.value


def modules(*, of_command_line: bool) -> list[str]:
    found = (path.relative_to(CORE).as_posix() for path in CORE.rglob("*.py"))
    return sorted(
        it
        for it in found
        if "plugin_template" not in it and it.startswith("cli/") is of_command_line
    )


@pytest.mark.parametrize("module", modules(of_command_line=False))
def test_no_message_of_the_library_names_a_flag(module: str) -> None:
    flags = [(line, text) for line, text in texts(CORE / module) if re.search(r"--[a-z]", text)]
    assert bool(flags) is (module in PROGRAMS), flags


@pytest.mark.parametrize("module", modules(of_command_line=True))
def test_no_message_of_the_command_line_names_an_argument(module: str) -> None:
    if module == "cli/shown/wording.py":
        return
    names = "|".join(option.name for option in options_of())
    found = [it for it in texts(CORE / module) if re.search(rf"\b({names})=(True|\[|\{{)", it[1])]
    assert found == []


def messages() -> Iterator[tuple[str, str, str]]:
    """Every argument that a message of the library names, with its option and value."""
    names = "|".join(option.name for option in options_of())
    for module in modules(of_command_line=False):
        for _, text in texts(CORE / module):
            if " " in text:
                for match in re.finditer(rf"(?<![\w.])({names})=(\S+)", text):
                    yield module, match[1], match[0]


def test_every_argument_in_a_message_becomes_a_flag() -> None:
    found = [*messages()]
    assert {name for _, name, _ in found} >= {"resume", "overwrite", "force", "encoding"}
    for module, name, text in found:
        said = with_flags(text)
        assert re.search(rf"--(no-)?{name.replace('_', '-')}\b", said), (module, text, said)
        assert f"{name}=" not in said, (module, text, said)


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ("resume it (resume=True)", "resume it (--resume)"),
        ("set overwrite=False, or", "set --no-overwrite, or"),
        ("read it with encoding='cp1252', or", "read it with --encoding cp1252, or"),
        ("say delimiter='\\t'", "say --delimiter tab"),
        ("say delimiter=';'", "say --delimiter ';'"),
        ('redo=["a", "b"] runs', "--redo a --redo b runs"),
        ("columns={'text': 'body'} takes", "--columns text=body takes"),
        ("columns={'text': …} takes", "--columns text=… takes"),
        ("(max_prompt_chars=1000): shorten", "(--max-prompt-chars 1000): shorten"),
        ("max_errors lets a run go on", "--max-errors lets a run go on"),
        ("100 (max_errors overrides)", "100 (--max-errors overrides)"),
        ("output_dir='a b'", "--output-dir 'a b'"),
        ("a file of engines is for load_engines(FILE)", "given with --engines FILE"),
        # Not options: fields of engines, of YAML files and of users' data.
        ("timeout=60 s", "timeout=60 s"),
        ("c.yaml:5: run.max_cost: expected", "c.yaml:5: run.max_cost: expected"),
        ("c.yaml:5: max_cost: expected", "c.yaml:5: max_cost: expected"),
        ("the column 'max_cost' is", "the column 'max_cost' is"),
        ("/data/max_errors.jsonl", "/data/max_errors.jsonl"),
        ("my_limit=3", "my_limit=3"),
        ("limits of 3", "limits of 3"),
    ],
)
def test_arguments_are_said_as_flags(python: str, flags: str) -> None:
    assert flags in with_flags(python)


@pytest.mark.parametrize(
    ("error", "is_ours"),
    [
        (OutputDirError("resume=True"), True),
        (InputError("resume=True"), True),
        (BudgetError("resume=True"), True),
        (RowBudgetError("resume=True"), True),
        (ServerError("resume=True"), False),
        (ApplyError("resume=True"), False),
    ],
)
def test_the_words_of_servers_and_functions_are_left_alone(
    error: ChainetteError, is_ours: bool
) -> None:
    assert worded(error) == ("--resume" if is_ours else "resume=True")


@pytest.mark.parametrize(
    ("message", "what", "advice"),
    [
        ("x: expected rows; give [row]", "x: expected rows", "Give [row]"),
        ("no rows: call it, and give what", "no rows", "Call it, and give what"),
        ("no key; to set one, say so", "no key", "To set one, say so"),
        ("it failed", "it failed", "%debug shows"),
        ("x: given; taken", "x: given; taken", "%debug shows"),
        ("", "", "%debug shows"),
        ("\x1b[31m red \u202e", "\\u001b[31m red \\u202e", "%debug shows"),
    ],
)
def test_what_happened_and_what_to_do_are_lines_of_their_own(
    message: str, what: str, advice: str
) -> None:
    try:
        raise InputError(message)
    except InputError as error:
        first, place, last = three_lines(error)
    assert first == f"InputError: {what}"
    assert place.startswith(f"  in {__file__}, line ")
    assert place.endswith("raise InputError(message)")
    assert last.strip().startswith(advice)


def test_all_mistakes_of_a_list_are_shown() -> None:
    lines = three_lines(InputError("\n".join(f"file:{n}: wrong" for n in range(12))))
    assert lines[0].count("wrong") == 12
    assert "80 more lines" in three_lines(InputError("wrong\n" * 100))[0]
    assert max(map(len, three_lines(InputError("x" * 10**6)))) < 1000


def test_the_place_of_a_function_that_failed_is_its_own_line() -> None:
    def broken() -> None:
        raise ValueError("no")

    try:
        try:
            broken()
        except ValueError as cause:
            raise ApplyError("it failed") from cause
    except ApplyError as error:
        place = three_lines(error)[1]
    assert place.endswith("""broken: raise ValueError("no") (ValueError('no'))""")
