"""`chainette inspect`."""

from __future__ import annotations

from typing import Annotated

import typer

from chainette.cli.options import Target
from chainette.cli.say import say


def inspect(
    target: Target,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid chart.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print nodes and edges.")] = False,
    icons: Annotated[bool, typer.Option("--icons/--no-icons", help="Show emojis.")] = True,
    max_branches: Annotated[
        int | None,
        typer.Option(
            "--max-branches", min=0, metavar="<int>", help="Maximum number of branches at a place."
        ),
    ] = None,
) -> None:
    """Show the nodes of a chain."""
    import json

    from chainette.loading.target import load_chain
    from chainette.pipeline.graph import graph, mermaid

    chain = load_chain(target)
    for step in chain.prompted:
        step.check_output()
    if as_json:
        say(json.dumps(graph(chain), ensure_ascii=False, indent=2))
    elif as_mermaid:
        say(mermaid(chain))
    else:
        from rich.console import Console

        from chainette.cli.tree import tree

        Console().print(tree(chain, icons=icons, max_branches=max_branches), highlight=False)
