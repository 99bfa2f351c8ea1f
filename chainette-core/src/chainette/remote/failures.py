"""What exceptions of file systems mean."""

from __future__ import annotations

import re
from typing import Any

from chainette.errors import InputError
from chainette.remote.address import scheme_of, scrubbed, shown

_STATUS = {
    400: "the server refuses the address (400); a signed link may have expired",
    401: "a login is needed (401)",
    403: "access is denied (403); a signed link may have expired",
    404: "there is no such file (404)",
    407: "the proxy needs a login (407)",
    410: "the file is gone (410)",
    412: "it changed while it was read; start again",
}
_LASTING = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(NotImplementedError, TypeError, ValueError),
)
_SSL = re.compile(r" ssl:(<[^>]*>|\w+)")
"""A part of aiohttp's messages, the name of an object."""
_PASSING = (408, 425, 429)
"""Statuses of clients' errors after which the same request may succeed (RFC 9110, RFC 8470)."""


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception is about."""
    for it in (error, error.__cause__):
        status: Any = getattr(it, "status", None)
        if isinstance(status, int):
            return status
    return None


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed if it is made again."""
    status = status_of(error)
    if status is not None:
        return status >= 500 or status in _PASSING
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        return isinstance(error.__cause__, OSError | TimeoutError) and may_pass(error.__cause__)
    return not isinstance(error, _LASTING) and _kind(error) not in _OWN


_OWN = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "FileExpired"}
_HINTS = {
    "NoCredentialsError": "no credentials were found",
    "FileExpired": "it changed while it was read; start again",
}


def _kind(error: BaseException) -> str:
    return type(error).__name__


def failure(address: str, error: BaseException) -> InputError:
    """The error of an address, for an exception of its file system."""
    return InputError(f"{shown(address)}: {_reason(address, error)}")


def _reason(address: str, error: BaseException) -> str:
    status = status_of(error)
    if status is not None:
        return _STATUS.get(status) or f"the server answered with status {status}"
    if isinstance(error, FileNotFoundError):
        text = scrubbed(str(error.__cause__ or error), address)
        if "bucket" in text.lower().replace(" ", ""):
            return f"there is no such bucket: {text}"
        if isinstance(error.__cause__, OSError | TimeoutError):
            return f"cannot be reached: {_SSL.sub('', text)}"
        return "No such file or directory"
    if _kind(error) in _HINTS:
        anonymous = "; of a public bucket, set FSSPEC_S3_ANON=true"
        is_s3 = scheme_of(address) in ("s3", "s3a") and _kind(error) == "NoCredentialsError"
        return _HINTS[_kind(error)] + (anonymous if is_s3 else "")
    if isinstance(error, PermissionError):
        return f"Permission denied: {scrubbed(str(error), address)}"
    if isinstance(error, TimeoutError):
        return "the server sent nothing in time"
    text = scrubbed(str(error), address)
    return f"{_kind(error)}: {text}" if text else _kind(error)
