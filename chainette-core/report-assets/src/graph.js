// The chain, laid out by dagre.
import * as dagre from "@dagrejs/dagre";
import { plain } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 58;

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shortened(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** The nodes and edges of a chain as a picture. */
export function drawing({ nodes, edges }) {
  const layout = new dagre.graphlib.Graph({ multigraph: true });
  layout.setGraph({ rankdir: "LR", nodesep: 18, ranksep: 46, marginx: 4, marginy: 4 });
  for (const node of nodes) {
    const widest = Math.max(node.title.length * 7.6, node.about.length * 6.2, (node.figure || "").length * 6.2);
    layout.setNode(node.id, { width: Math.min(250, Math.max(110, widest + 28)), height: node.figure ? HEIGHT + 14 : HEIGHT });
  }
  edges.forEach((edge, index) => {
    const width = edge.label ? edge.label.length * 6.4 + 8 : 0;
    layout.setEdge(edge.from, edge.to, { width, height: edge.label ? 16 : 0, labelpos: "c" }, String(index));
  });
  dagre.layout(layout);
  const { width, height } = layout.graph();
  const said = `The chain: ${nodes.map((it) => it.title).join(", ")}`;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": said });
  picture.append(
    svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      svg("path", { d: "M0 0L8 4L0 8z", class: "arrow" }))),
    ...edges.map((edge, index) => path(edge, layout.edge(edge.from, edge.to, String(index)))),
    ...nodes.map((node) => box(node, layout.node(node.id))),
  );
  return picture;
}

function path(edge, { points, x, y }) {
  const [first, ...rest] = points;
  let line = `M${first.x} ${first.y}`;
  rest.forEach((point, index) => {
    const next = rest[index + 1];
    const end = next ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
    line += next ? `Q${point.x} ${point.y} ${end.x} ${end.y}` : `L${end.x} ${end.y}`;
  });
  const made = svg("g", { class: "edge" }, svg("path", { d: line, "marker-end": "url(#arrow)" }));
  if (edge.label) {
    const text = svg("text", { x, y: y + 4, "text-anchor": "middle" });
    text.textContent = plain(edge.label);
    made.append(text);
  }
  return made;
}

function box(node, { x, y, width, height }) {
  const made = svg("g", { class: `node ${node.kind}`, transform: `translate(${x - width / 2} ${y - height / 2})` });
  made.append(svg("rect", { width, height, rx: node.kind === "input" ? height / 2 : 8 }));
  const lines = [["title", node.title, 30], ["about", node.about, 38], ["figure", node.figure || "", 38]];
  let top = node.about ? 24 : height / 2 + 5;
  for (const [kind, text, most] of lines) {
    if (!text) continue;
    const said = svg("text", { x: width / 2, y: top, "text-anchor": "middle", class: kind });
    said.textContent = shortened(plain(text), most);
    made.append(said);
    top += 18;
  }
  const title = svg("title");
  title.textContent = [node.title, node.about, node.figure].filter(Boolean).map(plain).join("\n");
  made.append(title);
  return made;
}
