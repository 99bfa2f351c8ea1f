"""The promises of every backend."""

from __future__ import annotations

from typing import ClassVar

from chainette.testing.contract import BackendContract

from fake_acme import FakeAcme


class TestAcme(BackendContract):
    backend = "acme"
    fields: ClassVar = {"model": "small"}
    server_class = FakeAcme
    refusals = False
