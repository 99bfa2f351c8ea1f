"""What plugins are told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    Attributes:
        name: `run_started`, `node_started`, `node_finished`, `node_retried`, `node_failed`,
            `row_finished` or `run_closed`.
        fields: What is known of it; the names are those of the arguments of `Observer`'s methods.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
