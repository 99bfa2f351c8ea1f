"""Addresses of files, and how they are shown: without what opens them."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z][A-Za-z0-9+.-]*)*://")
_COLLAPSED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
_ONE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/?#]*)(?P<path>.*)", re.DOTALL)
WEB: tuple[str, ...] = ("http", "https")
_CONTAINERS = ("abfs", "abfss", "az", "adl", "wasb", "wasbs")
"""Schemes of Azure, where the part before `@` is a container (Microsoft Learn, "Use the Azure
Data Lake Storage Gen2 URI")."""


def is_address(inputs: Any) -> bool:
    """Whether a text is an address, such as `s3://bucket/key`; a `file:` address is a path."""
    is_text = isinstance(inputs, str) and not inputs.startswith("file:")
    return is_text and _ADDRESS.match(inputs) is not None


def address_of(inputs: Any) -> str | None:
    """The address that a text is, or a path that was made of one; `None` for others."""
    text = str(inputs).strip(" \r\n\t\"'")
    if isinstance(inputs, PurePath):
        text = _COLLAPSED.sub(r"\1://", text, count=1)  # a path has no doubled slashes
    return text if is_address(text) else None


def scheme_of(address: str) -> str:
    """The scheme of an address, such as `s3`."""
    return address.partition("://")[0].partition("::")[0].lower()


def is_web(address: str) -> bool:
    """Whether an address is one of HTTP."""
    return scheme_of(address) in WEB and "::" not in address


def shown(inputs: Any) -> str:
    """An address without user, password, query and fragment; another text as it is."""
    text = str(inputs)
    return "::".join(map(_one_shown, text.split("::"))) if is_address(text) else text


def _one_shown(address: str) -> str:
    found = _ONE.fullmatch(address)
    if found is None:
        return address
    scheme, host, path = found["scheme"], found["host"], found["path"]
    user, _, machine = host.rpartition("@")
    if user and (scheme.lower() not in _CONTAINERS or ":" in user):
        host = machine
    if scheme.lower() in WEB:
        path, mark, _ = path.partition("#")[0].partition("?")
        path += "?…" if mark else ""
    elif "?" in path and re.search(r"[?&][\w.-]+=", path):  # of parameters, and not of a pattern
        path = path.partition("?")[0] + "?…"
    return f"{scheme}://{host}{path}"


def scrubbed(text: str, address: str) -> str:
    """A text of a library about an address, in which the address is shown as we show it."""
    text = text.replace(address, shown(address))
    for part in _secrets(address):
        text = text.replace(part, "…")
    return re.sub(r"\b[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>]+", lambda it: shown(it[0]), text)


def _secrets(address: str) -> list[str]:
    """The parts of an address that open it, longest first."""
    parts: set[str] = set()
    for one in address.split("::"):
        found = _ONE.fullmatch(one)
        if found is None or shown(one) == one:
            continue
        parts.update(found["host"].rpartition("@")[0].split(":", 1))
        query = found["path"].partition("?")[2]
        parts.add(query)
        parts.update(it.partition("=")[2] for it in re.split("[&#]", query))
    parts |= {unquote(part) for part in parts}
    return sorted((part for part in parts if len(part) > 3), key=len, reverse=True)
