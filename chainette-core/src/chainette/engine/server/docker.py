"""Servers in Docker containers."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from chainette.engine.client.secrets import Secrets
from chainette.engine.config import EngineConfig
from chainette.engine.server.health import is_healthy
from chainette.engine.server.progress import announce
from chainette.engine.server.warm import WarmServer, docker, record
from chainette.errors import EngineStartError
from chainette.text import names_keywords


@names_keywords
@dataclass(frozen=True, slots=True)
class Container:
    """A server as a `docker run` line.

    Attributes:
        name: Name of the container.
        options: Options of `docker run`.
        image: The image.
        arguments: The words after the image.
        url: Base URL of the server.
        env: Environment variables; their values never appear on the line.
        health_path: Path that answers 200 once the server is ready.
        startup_timeout: Maximum seconds until then.
    """

    name: str
    options: list[str]
    image: str
    arguments: list[str]
    url: str
    env: Mapping[str, str] = field(default_factory=dict)
    health_path: str = "/health"
    startup_timeout: float = 600.0

    @property
    def words(self) -> list[str]:
        """The command line without the program."""
        env = [word for name in sorted(self.env) for word in ("--env", name)]
        start = ["run", "--detach", "--name", self.name]
        return [*start, *self.options, *env, self.image, *self.arguments]

    @property
    def line(self) -> str:
        """The command line, quoted for a shell."""
        return shlex.join(["docker", *self.words])

    def start(self, config: EngineConfig) -> WarmServer:
        """Run the container, wait until its server is healthy and record it.

        Raises:
            EngineStartError: Docker is missing or refuses, or the server ended or was not healthy
                in time; the message quotes the container's log.
        """
        import os

        program = docker()
        run = subprocess.run(  # noqa: S603  words that no shell reads
            [program, *self.words],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, **self.env},
        )
        if run.returncode != 0:
            message = run.stderr.strip() or f"exit code {run.returncode}"
            raise EngineStartError(f"docker run failed: {message}\ncommand: {self.line}")
        container = run.stdout.strip().splitlines()[-1][:12]
        server = WarmServer(
            config.name, config.backend, config.server_key, self.url, container=container
        )
        try:
            self._wait(server, program)
        except BaseException:
            server.stop()
            raise
        finally:
            announce(f"starting {self.name}", over=True)
        return record(server)

    def _wait(self, server: WarmServer, program: str) -> None:
        start = time.monotonic()
        while not is_healthy(self.url, self.health_path):
            seconds = time.monotonic() - start
            reason = "the container ended" if not server.alive else ""
            if seconds > self.startup_timeout:
                reason = f"not healthy after {self.startup_timeout:g} s"
            if reason:
                secrets = Secrets(*self.env.values())
                logs = subprocess.run(  # noqa: S603
                    [program, "logs", "--tail", "20", server.container],
                    check=False,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
                raise EngineStartError(
                    f"{self.name} did not start: {reason}\ncommand: {self.line}\n"
                    f"last lines of its log:\n{secrets.scrub(logs.stdout)}"
                )
            announce(f"starting {self.name}", f"docker logs {server.container}")
            time.sleep(0.5)
