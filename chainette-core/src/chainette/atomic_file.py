"""Files that are written as a whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """A draft that takes the place of a file when the block ends without an error.

    Args:
        path: The file. Other processes see its old content or its new one, never a part.
        mode: Permissions of the file, before the user's mask.

    Yields:
        The path of the draft, an empty file.

    Raises:
        OSError: The draft cannot be written.
    """
    if not path.name:  # such as "."
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode))
    try:
        yield draft
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
