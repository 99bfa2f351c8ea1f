"""A terminal that programs write to in tests."""

from __future__ import annotations

import os
import re
import threading
from typing import Any


class Terminal:
    """A terminal of its own, which is read while programs write to it.

    Attributes:
        end: The file descriptor that they write to.
    """

    def __enter__(self) -> Terminal:
        self._ours, self.end = os.openpty()
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *error: Any) -> None:
        os.close(self.end)
        self._reader.join(timeout=10)
        os.close(self._ours)

    def _read(self) -> None:
        try:
            while block := os.read(self._ours, 4096):
                self._seen.extend(block)
        except OSError:  # the other end is closed
            pass

    @property
    def screen(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._seen.decode())
