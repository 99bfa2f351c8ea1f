"""An error in three lines, as notebooks and IPython show it: what, where, and what to do.

IPython asks an exception for the lines to show (`InteractiveShell.showtraceback` calls
`_render_traceback_`, https://ipython.readthedocs.io/en/stable/api/). All frames are still there
for `%debug`, and for `%xmode Verbose`, which shows them.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from chainette.messages.brief import brief_error, cut
from chainette.text import escaped, printable

MAX_LINES, MAX_LINE = 20, 600
"""Lines of a message that lists several mistakes, and characters of each."""
ADVICE = re.compile(
    r"[;:,] (?:or )?(?=(?:to \w+|add|ask|await|call|check|choose|close|declare|define|end|free|"
    r"give|import|install|leave|load|lower|make|name|pass|pip|pipe|put|raise|read|register|remove|rename|"
    r"replace|resume|return|run|save|say|see|set|shorten|start|take|try|use|wait|wrap|write)\b)"
)
"""Where a message goes over to what to do."""


def three_lines(error: Exception) -> list[str]:
    """The lines of an error.

    Args:
        error: The error, which was raised.
    """
    shell = _shell()
    if shell is not None:
        shell.InteractiveTB.tb = error.__traceback__  # for %debug, which IPython sets elsewhere
        if str(getattr(shell.InteractiveTB, "mode", "")) == "Verbose":
            lines: list[str] = shell.InteractiveTB.structured_traceback(
                type(error), error, error.__traceback__
            )
            return lines
    what, advice = _divided(str(error))
    return [f"{type(error).__name__}: {what}", f"  in {_place(error, shell)}", f"  {advice}"]


def _divided(message: str) -> tuple[str, str]:
    """What has happened, and what to do."""
    first, *more = message.splitlines() or [""]
    rest = "%debug shows the frames, and error.__cause__ the cause, if there is one"
    if more:
        lines = [cut(printable(line), MAX_LINE) for line in [first, *more][:MAX_LINES]]
        left = len(more) + 1 - MAX_LINES
        return "\n".join(lines) + (f"\n… and {left} more lines" if left > 0 else ""), rest
    found = ADVICE.search(first)
    what = first[: found.start()] if found else first
    advice = first[found.end() :] if found else ""
    advice = advice[:1].upper() + advice[1:] if advice else rest
    return escaped(cut(what, MAX_LINE)), escaped(cut(advice, MAX_LINE))


def _place(error: BaseException, shell: Any) -> str:
    """The user's line that led to the error: in a function that failed, or the call of ours."""
    cause = error.__cause__
    reason = f" ({escaped(brief_error(cause))})" if isinstance(cause, Exception) else ""
    for traced in (cause, error):
        frames = [*_frames(traced.__traceback__)] if traced is not None else []
        if frames:
            file, line, function = frames[-1]
            code = escaped(cut(linecache.getline(file, line).strip(), 80))
            where = _file(file, shell)
            inside = "" if function == "<module>" else f", {function}"
            return f"{where}, line {line}{inside}: {code}{reason}"
    return f"a thread, or code that is not yours{reason}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    """The frames of the user's own files: not of ours, of libraries, or of Python."""
    for frame, line in traceback.walk_tb(trace):
        file = frame.f_code.co_filename
        if not _is_library(file):
            yield file, line, frame.f_code.co_name


def _is_library(file: str) -> bool:
    ours = Path(__file__).parent.parent
    paths = sysconfig.get_paths()
    roots = {str(ours), *(paths[it] for it in ("stdlib", "platstdlib", "purelib", "platlib"))}
    if file.startswith("<frozen") or {"site-packages", "dist-packages"} & {*Path(file).parts}:
        return True
    return any(file.startswith(f"{root}{os.sep}") for root in roots)


def _file(file: str, shell: Any) -> str:
    """A file's name, or that of a cell."""
    named = getattr(getattr(shell, "compile", None), "format_code_name", None)
    found = named(file) if named is not None else None
    return " ".join(found) if found else file


def _shell() -> Any:
    """The running IPython, or `None`."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None else None
