"""What can be watched while a run goes on."""

from __future__ import annotations

from chainette.pipeline.chain import Chain
from chainette.types import Usage


class Observer:
    """Is told what happens in a run; override what is of interest."""

    def run_started(self, chain: Chain, total: int | None) -> None:
        """The first row is about to be taken; `total` rows are expected, if that is known."""

    def step_finished(self, step_id: str, ok: bool, usage: Usage | None) -> None:
        """One row is done with one step."""

    def row_finished(self, ok: bool) -> None:
        """One row is done."""

    def run_closed(self) -> None:
        """The run is over, however it ended, and everything is written."""
