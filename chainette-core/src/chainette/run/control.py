"""Control of a run from inside: stop it, fail it, wake it."""

from __future__ import annotations

from collections.abc import Callable

import anyio

GRACE = 30.0
"""Seconds that rows in flight get to finish after a signal such as that of Ctrl-C."""


class RunControl:
    """The state of a run that decides whether it continues.

    Attributes:
        failure: The error that ended the run, to be raised.
        stop_reason: The reason why the run was stopped; it can be resumed.
        is_draining: Whether no more rows are taken.
        is_over: Whether what is still in flight counts for nothing.
        is_spent: Whether functions make no more calls, because `max_cost` is reached.
        signal: The number of the signal that ended the run early, or `None`.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.stop_reason: Exception | None = None
        self.is_draining: bool = False
        self.is_over: bool = False
        self.is_spent: bool = False
        self.signal: int | None = None
        self._scope: anyio.CancelScope | None = None
        self._on_wake: Callable[[], None] | None = None
        self._is_starting: Callable[[], bool] = lambda: False

    def open(self) -> anyio.CancelScope:
        """The scope that the run happens in; cancelling it ends the run."""
        self._scope = anyio.CancelScope()
        if self.is_over:
            self._scope.cancel()
        return self._scope

    def attach(self, on_wake: Callable[[], None]) -> None:
        """Set the function that `wake` calls."""
        self._on_wake = on_wake

    def attach_start(self, is_starting: Callable[[], bool]) -> None:
        """Set the function that says whether everything in flight waits for engines to start."""
        self._is_starting = is_starting

    def wake(self) -> None:
        """Look for rows to begin: there may be room, or nothing left to wait for."""
        if self._on_wake is not None:
            self._on_wake()

    def fail(self, error: Exception) -> None:
        """End the run at once with an error, because no row can continue."""
        self.failure = self.failure or error
        self._end()

    def stop(self, reason: Exception) -> None:
        """End the run at once so that it can be resumed; what is in flight cannot succeed."""
        self.stop_reason = self.stop_reason or reason
        self._end()

    def drain(self, reason: Exception | None = None) -> None:
        """Take no more rows, and give those in flight `GRACE` seconds; the second time, none.

        There is none either while engines are still starting: a download could take hours.

        Args:
            reason: The reason to report; `None` for an interrupt by the user.
        """
        self.stop_reason = self.stop_reason or reason
        if self.is_draining or self._is_starting():
            self.cancel()
        self.is_draining = True
        if self._scope is not None:
            self._scope.deadline = min(self._scope.deadline, anyio.current_time() + GRACE)
        self.wake()

    def interrupt(self, number: int) -> None:
        """Drain, because a signal such as that of Ctrl-C was received."""
        self.signal = self.signal or number
        self.drain()

    def cancel(self) -> None:
        """End what is in flight."""
        if self._scope is not None:
            self._scope.cancel()

    @property
    def status(self) -> str:
        """The status of a run that ended without an error, for the manifest."""
        if self.stop_reason is not None:
            return "stopped"
        return "interrupted" if self.is_draining else "finished"

    def _end(self) -> None:
        self.is_over = True
        self.cancel()
