"""The display of progress that suits the place where a program runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Literal, TypeAlias

from chainette.errors import ConfigError
from chainette.events import Listener

Progress: TypeAlias = Literal["auto"] | bool
"""Whether the progress of a run is shown; `auto` shows it where somebody can see it move."""


def listeners(progress: Progress) -> Sequence[Listener]:
    """The listeners that count a run and show it; none where nothing is to be shown.

    Args:
        progress: True to show lines where there is neither a notebook nor a terminal.

    Raises:
        ConfigError: It is something else.
    """
    if progress is False:
        return ()
    if progress is not True and progress != "auto":
        raise ConfigError(f"progress={progress!r}: expected 'auto', True or False"[:100])
    is_notebook, is_terminal = in_notebook(), _is_terminal()
    if not (is_notebook or is_terminal or progress is True):
        return ()
    from chainette.run.progress.stats import RunStats

    stats = RunStats()
    if is_notebook:
        from chainette.run.progress.notebook import NotebookProgress

        return (stats, NotebookProgress(stats))
    if is_terminal:
        from chainette.run.progress.terminal import LiveProgress

        return (stats, LiveProgress(stats))
    from chainette.run.progress.lines import PlainProgress

    return (stats, PlainProgress(stats))


def in_notebook() -> bool:
    """Whether the code runs in a kernel of Jupyter."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _is_terminal() -> bool:
    """Whether standard error is a terminal; a program may have closed or replaced it."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
