"""An engine's own server: its start, its address and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainette.engine.config import EngineConfig

if TYPE_CHECKING:
    from chainette.engine.server.docker import Container
    from chainette.engine.server.process import ServerProcess


class ServerOwner:
    """The part of a client that starts the engine's server; a backend names the server.

    Args:
        config: The engine's configuration.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._server: ServerProcess | None = None

    def server(self) -> ServerProcess | None:
        """The server that the engine starts, running or not; a backend may override it.

        Returns:
            The server, from `server_process`, or `None` where the engine starts none.

        Raises:
            EngineStartError: The server cannot be started on this machine.
        """
        return None

    def container(self) -> Container | None:
        """The server as a container, or `None`; a backend may override it.

        `chainette warmup --docker` runs it.
        """
        return None

    def residence(self) -> tuple[str, str] | None:
        """The model in a server's memory, and how it is loaded; a backend may override it.

        Two engines with one model that is loaded in two ways displace each other.

        Returns:
            The server and the model, and the settings in words; or `None` where that is unknown.
        """
        return None

    def is_starting(self) -> bool:
        """Whether requests wait for a download or the like; a backend may override it.

        An interrupt ends a run at once in which nothing else has happened yet.
        """
        return False

    def server_address(self) -> str:
        """Start the engine's server, unless it runs or one of the same options is warm.

        Blocks until the server is healthy: call it with `anyio.to_thread.run_sync`.

        Returns:
            The server's base URL.

        Raises:
            EngineStartError: The server did not start.
        """
        from chainette.engine.server import warm as warm_server

        if self._server is None or not self._server.running:
            if warm := warm_server.find(self.config):
                return warm.url
            self._server = self.server()
            assert self._server is not None
        self._server.users.add(self)
        return self._server.ensure_running()

    def release(self) -> None:
        """Free what the engine holds on this machine; a backend may override it.

        The engine starts again when it is next needed.
        """
        if self._server is not None:
            self._server.users.discard(self)
            if not self._server.users:  # engines of the same options share a server
                self._server.stop()
