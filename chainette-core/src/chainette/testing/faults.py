"""Replies of a fake server with a fault."""

from __future__ import annotations

import json

from chainette.testing.script import Reply


def status(code: int, message: str = "scripted", *, retry_after: str | None = None) -> Reply:
    """An error with an HTTP status.

    Args:
        code: The status.
        message: The server's message.
        retry_after: Value of the header `Retry-After`: seconds, or a date.
    """
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply(status=code, message=message, headers=headers)


def too_long() -> Reply:
    """A refusal of a prompt that is longer than the context (OpenAI docs, "Error codes")."""
    message = (
        "This model's maximum context length is 4096 tokens. However, your messages resulted in "
        "9000 tokens. Please reduce the length of the messages."
    )
    error = {"message": message, "type": "invalid_request_error", "code": "context_length_exceeded"}
    return Reply(status=400, body=json.dumps({"error": error}).encode())


def slow(seconds: float) -> Reply:
    """A valid answer whose first byte is late.

    Args:
        seconds: Time until the first byte.
    """
    return Reply(delay=seconds)


def stalled() -> Reply:
    """Half of an answer, then nothing more on an open connection."""
    return Reply(send=0.5, then="stall")


def dropped(send: float = 0.5) -> Reply:
    """A connection that is closed after a share of the answer's body.

    Args:
        send: The share, from 0 to 1.
    """
    return Reply(send=send, then="drop")


def truncated_json() -> Reply:
    """A body of the announced length that ends in the middle of its JSON."""
    return Reply(body=b'{"id": "1", "choices": [{"mess')


def wrong_schema() -> Reply:
    """JSON that does not fit a model with a required field."""
    return Reply(text='{"unexpected": [1, 2]}')


def cut() -> Reply:
    """An answer that was cut at the token limit."""
    return Reply(text='{"name": "unfin', finish_reason="length")


def refusal() -> Reply:
    """A refusal of the model."""
    return Reply(text="I cannot help with that.", finish_reason="refusal")


def content_filter() -> Reply:
    """An answer that the server's content filter withholds."""
    return Reply(text="", finish_reason="content_filter")


def html_page(code: int = 502) -> Reply:
    """The page of a proxy in front of the server."""
    page = b"<html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"
    return Reply(status=code, body=page, headers={"Content-Type": "text/html"})


def huge(characters: int = 5_000_000) -> Reply:
    """A text far longer than usual.

    Args:
        characters: Its length.
    """
    return Reply(text="x" * characters)
