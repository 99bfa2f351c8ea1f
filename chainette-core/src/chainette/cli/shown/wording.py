"""Messages in the words of the command line.

Errors and warnings name the arguments of Python, since most of them can reach a program:
`resume=True`. Here, and nowhere else, they become the flags that mean the same: `--resume`.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Mapping
from functools import cache

from chainette.errors import ApplyError, BudgetError, EngineError
from chainette.registry.engines import NONE
from chainette.run.options import options_of

PHRASES: Mapping[str, str] = {
    NONE: "; name a file of engines with --engines FILE (-e), or write ./engines.yml",
    "a file of engines is for load_engines(FILE)": "a file of engines is given with --engines FILE",
    "load_engines(FILE)": "--engines FILE",
    "give a list, a data frame or a file": "give a file",
    "(on='id')": "(--on id)",
    "(fields=…)": "(--field)",
    "(gold=…)": "(--gold)",
    "(format=…)": "(--format)",
}
"""What has no argument of the same name."""
_VALUE = r"(True|False|'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}|[^\s,;:()]+)"


def worded(error: BaseException) -> str:
    """The message of an error, with flags in the place of arguments.

    The words of servers and of functions are theirs.
    """
    text = str(error)
    is_foreign = isinstance(error, EngineError | ApplyError) and not isinstance(error, BudgetError)
    return text if is_foreign else with_flags(text)


def with_flags(text: str) -> str:
    """A text of ours, with flags in the place of arguments."""
    for phrase, words in PHRASES.items():
        text = text.replace(phrase, words)
    with_value, alone = _patterns()
    text = with_value.sub(lambda match: _flag(match[1], match[2]), text)
    return alone.sub(lambda match: _dashed(match[1]), text)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Options with a value, and names of options that no other word looks like."""
    names = [option.name for option in options_of()]
    long = [name for name in names if "_" in name]
    return (
        re.compile(rf"(?<![\w.-])({'|'.join(names)})={_VALUE}"),
        re.compile(rf"(?<![\w.'\"`-])({'|'.join(long)})(?![\w'\"`=:]|\.\w)"),
    )


def _flag(name: str, value: str) -> str:
    """The flag for an argument."""
    if value in ("True", "False"):
        return _dashed(name) if value == "True" else f"--no-{name.replace('_', '-')}"
    if value == r"'\t'":
        return f"{_dashed(name)} tab"
    try:
        given = ast.literal_eval(value)
    except (SyntaxError, ValueError):  # there is a placeholder in it
        words = re.sub(r"['\"]([^'\"]*)['\"]:\s*", r"\1=", value.strip("{}"))
        return f"{_dashed(name)} {words}"
    if isinstance(given, dict):
        given = ",".join(f"{key}={it}" for key, it in given.items())
    values = given if isinstance(given, list) else [given]
    return " ".join(f"{_dashed(name)} {shlex.quote(str(it))}" for it in values)


def _dashed(name: str) -> str:
    return f"--{name.replace('_', '-')}"
