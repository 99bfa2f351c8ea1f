"""Tools for tests: engines without a network, and a guard against real requests."""

from chainette.testing.fake_engine import FakeClient, fake_engine, forbid_requests
from chainette.testing.script import in_turn

__all__ = ["FakeClient", "fake_engine", "forbid_requests", "in_turn"]
