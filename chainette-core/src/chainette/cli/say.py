"""Texts for people, in which nothing controls the terminal."""

from __future__ import annotations

import logging

import typer

from chainette.text import escaped


def say(text: str, *, err: bool = False) -> None:
    """Print a text or JSON; names, paths and words of servers in it cannot control the terminal.

    Args:
        text: The text.
        err: Whether it goes to stderr.
    """
    typer.echo(escaped(text), err=err)


class PlainFormatter(logging.Formatter):
    """A format of logs in which nothing controls the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; ours names flags."""
        text = super().format(record)
        if record.name.partition(".")[0] == "chainette":
            from chainette.cli.shown.wording import with_flags

            text = with_flags(text)
        return escaped(text)
