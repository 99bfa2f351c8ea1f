"""Finding chains and models by name: `file.py:name`, `module:name`, `chain.yaml`."""

from __future__ import annotations

from pathlib import Path

from chainette.errors import ChainError
from chainette.loading.importing import load_module, split_target
from chainette.run.chain import Chain
from chainette.text import did_you_mean

YAML = (".yaml", ".yml")


def load_chain(target: str | Path) -> Chain:
    """Load a chain and register the engines that come with it.

    Args:
        target: `file.py:name`, `module:name` (`:name` may be left out where there is one chain),
            or the path of a chain in YAML.

    Raises:
        ChainError: There is no such file, module or chain, or it does not load.
        ConfigError: An engine of a YAML chain is wrongly configured.
    """
    if Path(target).suffix in YAML:
        from chainette.loading.yaml_chain import load_yaml_chain

        return load_yaml_chain(target).chain
    source, _, name = split_target(str(target))
    module = load_module(source)
    chains = {key: value for key, value in vars(module).items() if isinstance(value, Chain)}
    if name:
        if name not in chains:
            known = ", ".join(chains) or "none"
            hint = did_you_mean(name, chains)
            raise ChainError(f"{source}: no chain named {name!r}{hint}; there are: {known}")
        return chains[name]
    if len(set(map(id, chains.values()))) != 1:
        known = ", ".join(chains) or "none"
        raise ChainError(f"{source}: say which chain, as {source}:NAME; there are: {known}")
    return next(iter(chains.values()))
