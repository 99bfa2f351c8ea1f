"""API keys: where an engine's comes from, and what is copied with it."""

from __future__ import annotations

import re
from pathlib import Path

from chainette.errors import MissingAPIKeyError

_LONGEST = 64 * 2**10  # bytes; keys and tokens are far shorter
_COPIED = re.compile(r"^(bearer|authorization:)\s+", re.IGNORECASE)
_NOT_A_KEY = re.compile(r"\s|^\$\{|^\$[A-Z_]+$|^<.*>$")
_ASSIGNED = re.compile(r"(export\s+)?[A-Z][A-Z0-9_]*=\S")


def clean_key(text: str, engine: str, source: str) -> str:
    """A key without what is copied with it: quotes, the word before it, a line break.

    A key that was read from a file ends with a line break, which a header cannot hold.

    Args:
        text: The key as it is written.
        engine: Name of the engine, for messages.
        source: Where the key is written, for messages.

    Raises:
        MissingAPIKeyError: The text is not a key.
    """
    key = _COPIED.sub("", text.strip(" \t\r\n\"'"))
    if _NOT_A_KEY.search(key):
        raise _missing(engine, f"{source} holds white space or a placeholder")
    if not (key.isascii() and key.isprintable()):
        raise _missing(engine, f"{source} holds a character that no key has")
    return key


def read_key(file: Path, engine: str) -> str:
    """The key in a file, such as a secret that Kubernetes or Docker mounts.

    Args:
        file: The file; `~` is the home folder.
        engine: Name of the engine, for messages.

    Raises:
        MissingAPIKeyError: The file cannot be read, or holds something other than a key.
    """
    path = file.expanduser().absolute()
    source = f"api_key_file {path}"
    try:
        if path.exists() and not path.is_file():  # a pipe could be read only once
            raise _missing(engine, f"{source} is not a file")
        with path.open("rb") as stream:
            text = stream.read(_LONGEST + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _missing(engine, f"{source} is not text in UTF-8") from None
    except OSError as error:
        raise _missing(engine, f"{source} cannot be read: {error.strerror}") from None
    if not text.strip():
        raise _missing(engine, f"{source} is empty")
    if len(text) > _LONGEST:
        raise _missing(engine, f"{source} is too long to be a key")
    if _ASSIGNED.match(text.strip()):
        raise _missing(engine, f"{source} holds NAME=value; write the value alone")
    return clean_key(text, engine, source)


def _missing(engine: str, reason: str) -> MissingAPIKeyError:
    return MissingAPIKeyError(f"engine {engine!r}: no API key: {reason}")
