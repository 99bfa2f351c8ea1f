"""A chain as a picture, which needs no script and brings its own colours for light and dark.

It is an image in HTML, since GitHub leaves SVG elements out of the HTML of notebooks and shows
images (https://github.com/IRkernel/IRkernel/issues/145).
"""

from __future__ import annotations

import base64
from html import escape
from itertools import pairwise
from typing import Any

from chainette.messages.brief import cut
from chainette.pipeline.drawing.layout import BOX, Layout, Point, layout
from chainette.pipeline.drawing.markup import QUIET, div, text
from chainette.pipeline.graph import graph
from chainette.pipeline.nodes.naming import type_name
from chainette.pipeline.pipeline import Pipeline
from chainette.text import escaped, printable

MAX_NODES = 24
"""Nodes that are drawn; what follows is counted."""
TITLE, WORDS, LABEL = 24, 30, 16
"""Characters of the two lines in a box, and of an edge's label."""
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1f2328;text-anchor:middle}"
    ".w{font-size:10px;fill:#59636e}.l{stroke:#fff;stroke-width:3;paint-order:stroke}"
    ".p{fill:#fff;stroke:#d1d9e0}"
    ".e{fill:none;stroke:#818b98;stroke-width:1.3}.h{fill:#818b98}"
    ".b{fill:#f6f8fa;stroke:#818b98}.step{stroke:#0969da;fill:#ddf4ff}"
    ".route,.repeat{stroke:#9a6700;fill:#fff8c5}.reduce{stroke:#1a7f37;fill:#dafbe1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.w{fill:#9198a1}.l{stroke:#0d1117}"
    ".p{fill:#0d1117;stroke:#3d444d}.b{fill:#21262d}.step{fill:#0c2d6b;stroke:#4493f8}"
    ".route,.repeat{fill:#3b2300;stroke:#d29922}.reduce{fill:#033a16;stroke:#3fb950}}"
)


def drawing_of(chain: Pipeline) -> str:
    """The drawing of a chain, as HTML for a notebook."""
    picture, left = svg(chain), max(len(chain.nodes) - MAX_NODES, 0)
    data = base64.b64encode(picture.encode()).decode()
    image = (
        f'<img alt="{text(repr(chain), 300)}" style="max-width:100%" '
        f'src="data:image/svg+xml;base64,{data}">'
    )
    noun = "node" if left == 1 else "nodes"
    return image + (div(f"… and {left} more {noun}", QUIET) if left else "")


def svg(chain: Pipeline) -> str:
    """The drawing of a chain, as a picture of its own."""
    data = graph(chain)
    nodes = {node["id"]: node for node in data["nodes"][:MAX_NODES]}
    start = {"id": "chain_input", "kind": "input", "name": "input", "emoji": ""}
    boxes = {"chain_input": start | {"output": type_name(chain.input_model)}} | nodes
    order = {id: index for index, id in enumerate(boxes)}
    drawn = [it for it in data["edges"] if it["from"] in boxes and it["to"] in boxes]
    edges = [it for it in drawn if "repeat" not in it and order[it["from"]] < order[it["to"]]]
    again = {it["from"] for it in drawn if "repeat" in it}
    places = layout([*boxes], [(it["from"], it["to"]) for it in edges])
    parts = [
        *(_edge(points, edge) for points, edge in zip(places.edges, edges, strict=True)),
        *(_box(node, places.nodes[id], id in again) for id, node in boxes.items()),
    ]
    return _page(places, chain.name, parts)


def _page(places: Layout, name: str, parts: list[str]) -> str:
    width, height = round(places.width), round(places.height)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{_words(name, 100)}</title><style>{STYLE}</style>'
        f'<rect class="p" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>'
        + "".join(parts)
        + "</svg>"
    )


def _box(node: dict[str, Any], place: Point, repeats: bool) -> str:
    """A node: its name, and below it its engine or kind with what it gives."""
    x, y = place
    title = f"{node['emoji']} {node['name']}".strip() + (" ↻" if repeats else "")
    engine = node.get("engine") or ", ".join(node.get("engines", ()))
    kind = engine or {"apply": "function", "input": ""}.get(node["kind"], node["kind"])
    words = f"{kind} → {node['output']}" if kind else node["output"]
    left, top = x - BOX[0] / 2, y - BOX[1] / 2
    color = "reduce" if node.get("reduce") else node["kind"]
    return (
        f'<rect class="b {color}" x="{left:g}" y="{top:g}" width="{BOX[0]}" height="{BOX[1]}" '
        f'rx="{23 if node["kind"] == "input" else 7}"/>'
        f'<text x="{x:g}" y="{y - 3:g}">{_words(title, TITLE)}</text>'
        f'<text class="w" x="{x:g}" y="{y + 13:g}">{_words(words, WORDS)}</text>'
    )


def _edge(points: list[Point], edge: dict[str, str]) -> str:
    """An edge with its head, and what it says: the name of a join, a case, a key."""
    (x, y), (end, tip) = points[0], points[-1]
    way = f"M{x:g} {y:g}"
    stops = [*points[:-1], (end, tip - 5)]
    for (from_x, from_y), (to_x, to_y) in pairwise(stops):
        middle = (from_y + to_y) / 2
        way += f"C{from_x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
    head = f"M{end:g} {tip:g}l-4 -6h8z"
    label = next((edge[key] for key in ("join", "case", "by") if key in edge), "")
    label = f"by {label}" if "by" in edge else label
    word = f'<text class="w l" x="{end:g}" y="{tip - 10:g}">{_words(label, LABEL)}</text>'
    return f'<path class="e" d="{way}"/><path class="h" d="{head}"/>' + (word if label else "")


def _words(value: str, most: int) -> str:
    return escape(escaped(cut(printable(value), most)))
