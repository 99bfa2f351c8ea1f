"""The health check of a server on this machine."""

from __future__ import annotations

import http.client
from contextlib import closing
from urllib.parse import urlsplit

TIMEOUT = 2
"""Seconds that a server gets to answer."""


def is_healthy(url: str, path: str) -> bool:
    """Whether a server answers 200.

    Args:
        url: Base URL of the server.
        path: Path to ask for.
    """
    try:
        # Not urllib: the request must never go through a proxy.
        with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)) as server:
            server.request("GET", path)
            return server.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
