"""Replies of a fake server that has something wrong with it."""

from __future__ import annotations

from chainette.testing.script import Reply


def status(code: int, message: str = "scripted", *, retry_after: str | None = None) -> Reply:
    """An error by its HTTP status.

    Args:
        code: The status.
        message: The server's own words.
        retry_after: Value of the header `Retry-After`: seconds, or a date.
    """
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(status=code, message=message, headers=headers)


def slow(seconds: float) -> Reply:
    """A good answer whose first byte takes a while."""
    return Reply(delay=seconds)


def stalled() -> Reply:
    """Half of an answer, and then silence on an open connection."""
    return Reply(send=0.5, then="stall")


def dropped(send: float = 0.5) -> Reply:
    """A connection that is closed after a share of the answer's body."""
    return Reply(send=send, then="drop")


def truncated_json() -> Reply:
    """A body that is complete by its length and ends in the middle of its JSON."""
    return Reply(body=b'{"id": "1", "choices": [{"mess')


def wrong_schema() -> Reply:
    """JSON that fits no model that has a required field."""
    return Reply(text='{"unexpected": [1, 2]}')


def cut() -> Reply:
    """An answer that ended at the limit of tokens."""
    return Reply(text='{"name": "unfin', finish_reason="length")


def refusal() -> Reply:
    """A model that declines to answer."""
    return Reply(text="I cannot help with that.", finish_reason="refusal")


def content_filter() -> Reply:
    """A server that withholds the answer."""
    return Reply(text="", finish_reason="content_filter")


def html_page(code: int = 502) -> Reply:
    """The page of a proxy in front of the server."""
    page = b"<html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"
    return Reply(status=code, body=page, headers={"Content-Type": "text/html"})


def huge(characters: int = 5_000_000) -> Reply:
    """A text far longer than anybody asked for."""
    return Reply(text="x" * characters)
