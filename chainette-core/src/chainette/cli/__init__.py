"""The command line."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO, cast


def main() -> None:
    """Run the command line; an error of Chainette ends it with one message."""
    _occupy_descriptors()
    output, errors = LastingOutput(sys.stdout), LastingOutput(sys.stderr)
    with redirect_stdout(cast(TextIO, output)), redirect_stderr(cast(TextIO, errors)):
        code = _call()
        output.flush()
        if output.error is not None and output.error.errno != errno.EPIPE:
            print(f"error: standard output: {output.error.strerror}", file=sys.stderr)  # noqa: T201
            code = code or 1
    sys.exit(code)


def _call() -> Any:
    """The exit code of the command."""
    import typer

    from chainette.cli.app import app_for
    from chainette.cli.light import command
    from chainette.errors import ChainetteError
    from chainette.text import escaped

    try:
        return command(app_for(sys.argv[1:]))(standalone_mode=False) or 0
    except ChainetteError as error:
        logging.getLogger("chainette").debug("raised here", exc_info=True)
        from chainette.cli.shown.wording import worded

        print(f"error: {escaped(worded(error))}", file=sys.stderr)  # noqa: T201
        return 2
    except typer.Abort:  # the end of standard input, where something was asked for
        print("aborted", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return 130
    except SystemExit as end:
        return end.code
    except Exception as error:
        show = getattr(error, "show", None)  # of Typer's errors of usage, which quote arguments
        if show is None:
            raise
        text = io.StringIO()
        show(text)
        print(escaped(text.getvalue()), file=sys.stderr, end="")  # noqa: T201
        return getattr(error, "exit_code", 2)


class LastingOutput:
    """An output that may go away, as a pipe to `head` or a closed terminal does.

    What is written after that is lost, and the command goes on: the rows are in files.

    Args:
        stream: The output; `None` if the process was started without it.

    Attributes:
        error: The reason why it has gone, or `None`.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream: Any = stream if stream is not None else _Nowhere()
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, if the output is still there."""
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, if the output is still there."""
        if self.error is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.error = error
        with suppress(OSError, ValueError):  # what is buffered is written when the process ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        """Lose a text."""
        return len(text)


def _occupy_descriptors() -> None:
    """Open closed standard descriptors, which else the first files of a run would get."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
