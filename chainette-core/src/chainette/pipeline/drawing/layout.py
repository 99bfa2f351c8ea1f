"""Places for the nodes of a graph: layers from the top down, and edges that go around nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BOX = (184, 46)
"""Width and height of a node."""
GAP = (26, 40)
"""Space between nodes, and between layers."""
BEND = 30
"""Width of the place of an edge that passes a layer."""

Point = tuple[float, float]


@dataclass(slots=True)
class Layout:
    """The places of a graph's nodes and edges.

    Attributes:
        nodes: The middle of each node, by its id.
        edges: The points of each edge, in the order of the edges.
        width: Width of the whole.
        height: Height of the whole.
    """

    nodes: dict[str, Point] = field(default_factory=dict)
    edges: list[list[Point]] = field(default_factory=list)
    width: float = 0
    height: float = 0


def layout(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place the nodes of a graph.

    Args:
        ids: The nodes.
        edges: The edges between them; none goes back.
    """
    layers = _layers(ids, edges)
    ways = [_way(index, *edge, layers) for index, edge in enumerate(edges)]
    rows: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for id in ids:
        rows[layers[id]].append(id)
    for index, (source, _) in enumerate(edges):
        for step, bend in enumerate(ways[index][1:-1]):
            rows[layers[source] + step + 1].append(bend)
    places = _places(rows, ways, set(ids))
    found = Layout()
    found.width = max(x + _width(key, ids) / 2 for key, (x, _) in places.items()) + GAP[0]
    found.height = len(rows) * (BOX[1] + GAP[1])
    found.nodes = {id: places[id] for id in ids}
    starts = _spread(places, ways, at=0, toward=1)
    ends = _spread(places, ways, at=-1, toward=-2)
    found.edges = [_line(places, way, starts[index], ends[index]) for index, way in enumerate(ways)]
    return found


def _spread(
    places: Mapping[str, Point], ways: Sequence[Sequence[str]], *, at: int, toward: int
) -> list[float]:
    """Where each edge leaves or reaches its node: beside the others, in their order."""
    by_node: dict[str, list[int]] = {}
    for index, way in enumerate(ways):
        by_node.setdefault(way[at], []).append(index)
    found = [0.0] * len(ways)
    for id, indexes in by_node.items():
        indexes.sort(key=lambda index: places[ways[index][toward]][0])
        space = min(BOX[0] * 0.8 / len(indexes), BOX[0] / 3)
        for place, index in enumerate(indexes):
            found[index] = places[id][0] + (place - (len(indexes) - 1) / 2) * space
    return found


def _line(places: Mapping[str, Point], way: Sequence[str], start: float, end: float) -> list[Point]:
    """The points of an edge, which passes layers straight down."""
    half = BOX[1] / 2
    bends = [places[key] for key in way[1:-1]]
    between = [(x, y + side) for x, y in bends for side in (-half, half)]
    return [(start, places[way[0]][1] + half), *between, (end, places[way[-1]][1] - half)]


def _layers(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each node: below all that lead to it."""
    layers = dict.fromkeys(ids, 0)
    for _ in ids:
        has_changed = False
        for source, target in edges:
            if layers[target] <= layers[source]:
                layers[target] = layers[source] + 1
                has_changed = True
        if not has_changed:
            break
    return layers


def _way(index: int, source: str, target: str, layers: Mapping[str, int]) -> list[str]:
    """The names of an edge's points: its ends, and a bend in every layer that it passes."""
    between = range(layers[source] + 1, layers[target])
    return [source, *(f"{index} {layer}" for layer in between), target]


def _places(
    rows: list[list[str]], ways: Sequence[Sequence[str]], ids: set[str]
) -> dict[str, Point]:
    """The middle of each node and bend; those of a layer are in the order of what is above them."""
    above: dict[str, list[str]] = {}
    for way in ways:
        for upper, lower in pairwise(way):
            above.setdefault(lower, []).append(upper)
    widths = [sum(_width(key, ids) + GAP[0] for key in row) for row in rows]
    places: dict[str, Point] = {}
    for index, row in enumerate(rows):
        middles = {key: [places[it][0] for it in above.get(key, ()) if it in places] for key in row}
        if index:
            row.sort(key=lambda key: sum(middles[key]) / len(middles[key]) if middles[key] else 0)
        left = (max(widths) - widths[index]) / 2 + GAP[0]
        for key in row:
            width = _width(key, ids)
            places[key] = (left + width / 2, index * (BOX[1] + GAP[1]) + GAP[1] / 2 + BOX[1] / 2)
            left += width + GAP[0]
    return places


def _width(key: str, ids: Sequence[str] | set[str]) -> float:
    return BOX[0] if key in ids else BEND
