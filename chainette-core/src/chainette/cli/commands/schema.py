"""`chainette schema`."""

from __future__ import annotations

from chainette.cli.say import say


def schema() -> None:
    """Print the JSON Schema of YAML chains."""
    import json

    from chainette.loading.yaml_spec import format_schema

    say(json.dumps(format_schema(), ensure_ascii=False, indent=2))
