"""Checks of the plugin's record and its configuration."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from chainette.engine.client.base import BaseClient
from chainette.errors import ConfigError
from chainette.plugins import discovery
from chainette.plugins.discovery import survey
from chainette.testing.contract.checks import KEY, Checks, MakeEngine


class ConfigurationChecks(Checks):
    """Checks of the plugin's record and its configuration."""

    def test_the_plugin_is_found_and_whole(self) -> None:
        """Its state is ok, and it has a summary."""
        states = {plugin.name: plugin.state for plugin in survey()}
        assert states.get(self.backend) == "ok"
        assert discovery.load(self.backend).summary

    def test_an_unknown_field_is_refused_with_the_closest_one(
        self, make_engine: MakeEngine
    ) -> None:
        """A typing mistake is not taken for a default."""
        with pytest.raises(ConfigError, match=r"max_concurency.*max_concurrency"):
            make_engine(max_concurency=3)

    @pytest.mark.parametrize(
        "field", [{"timeout": 0}, {"max_concurrency": 0}, {"endpoint": "ftp://nowhere"}]
    )
    def test_a_value_out_of_range_is_refused(
        self, field: dict[str, Any], server: Any, make_engine: MakeEngine
    ) -> None:
        """The error comes when the engine is registered, not with the first row."""
        with pytest.raises(ConfigError, match=next(iter(field))):
            self._register({**self.engine_fields(server), **field})

    def _register(self, fields: dict[str, Any]) -> None:
        from chainette.registry.engines import register_engine

        register_engine("contract", backend=self.backend, **fields)

    def test_a_configuration_is_frozen_and_hides_its_key(
        self, make_engine: MakeEngine, server: Any
    ) -> None:
        """A configuration can be shared and logged."""
        config = make_engine(api_key=KEY).config
        with pytest.raises(ValidationError):
            config.model = "other"
        assert KEY not in repr(config) + str(config) + str(config.public())

    def test_the_models_of_the_server_are_listed(self, engine: BaseClient, server: Any) -> None:
        """The names are texts, where the backend lists them."""

        async def models() -> list[str] | None:
            try:
                return await engine.list_models()
            finally:
                await engine.aclose()

        names = anyio.run(models)
        assert names is None or (names and all(isinstance(name, str) for name in names))
