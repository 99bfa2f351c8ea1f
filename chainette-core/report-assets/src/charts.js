import * as Plot from "@observablehq/plot";
import { element, number, plain, quoted, textOf, whole } from "./dom.js";

const COLOURS = Array.from({ length: 8 }, (_, index) => `var(--series-${index + 1})`);
const LABEL = 28;
const LETTER = 6.2;
const WIDTH = 400;
const WIDE = 1190;
const NARROW = matchMedia("(max-width: 760px)");

/** One chart with its title, its figures and, if it is of a field, a way to filter by it. */
export function figure(chart, onPick) {
  const draw = { bars, histogram, lines }[chart.kind];
  const drawing = draw(chart, onPick);
  drawing.setAttribute("role", "img");
  drawing.setAttribute("aria-label", `${chart.title}: ${chart.about || ""} ${summary(chart)}`);
  const figures = (chart.figures || []).map(([label, value]) =>
    element("span", {}, element("span", { class: "dim" }, `${label} `), number(value)),
  );
  return element(
    "figure",
    { class: `chart ${chart.wide ? "wide" : ""}` },
    element("figcaption", {}, quoted(chart.title, "h3"), chart.about ? quoted(chart.about, "p") : null),
    element("div", { class: "plot" }, chart.wide ? fitting(chart, drawing) : drawing),
    figures.length ? element("p", { class: "figures" }, ...figures) : null,
  );
}

/** A wide drawing, made anew where a window becomes narrow, so that its texts stay legible. */
function fitting(chart, drawing) {
  NARROW.addEventListener("change", () => {
    const again = lines(chart);
    for (const name of ["role", "aria-label"]) again.setAttribute(name, drawing.getAttribute(name));
    drawing.replaceWith(again);
    drawing = again;
  });
  return drawing;
}

function summary(chart) {
  if (chart.kind !== "bars") return "";
  return chart.bars.slice(0, 5).map(([label, count]) => `${textOf(label)} ${count}`).join(", ");
}

const shared = { style: { background: "none", fontSize: "11px", overflow: "visible" } };

function shortened(label) {
  const text = plain(textOf(label)).replace(/\s+/g, " ") || "(empty)";
  return text.length > LABEL ? `${text.slice(0, LABEL - 1)}…` : text;
}

const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 4 });
const dollars = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD", maximumSignificantDigits: 3 });

function bars({ bars: rows, total, money }, onPick) {
  const said = (count) => (money ? dollars : whole).format(count);
  const data = rows.map(([label, count, pick], index) => ({ label, count, pick, index }));
  const share = (count) => (total ? ` · ${((100 * count) / total).toFixed(count === total ? 0 : 1)}%` : "");
  const longest = (texts) => Math.max(...texts.map((it) => it.length), 4);
  const width = Math.min(190, 12 + LETTER * longest(data.map((it) => shortened(it.label))));
  const plot = Plot.plot({
    ...shared,
    width: WIDTH,
    height: 26 * data.length + 8,
    marginLeft: width,
    marginRight: 12 + LETTER * longest(rows.map((it) => said(it[1]) + share(it[1]))),
    marginTop: 0,
    marginBottom: 8,
    x: { axis: null, domain: [0, Math.max(1e-9, ...rows.map((it) => it[1]))] },
    y: { type: "band", domain: data.map((it) => it.index), label: null, tickSize: 0, padding: 0.25,
      tickFormat: (index) => shortened(data[index].label) },
    marks: [
      Plot.barX(data, { x: "count", y: "index", fill: "var(--series-1)", rx: 2,
        title: (it) => `${plain(textOf(it.label))}: ${said(it.count)}${share(it.count)}` }),
      Plot.text(data, { x: "count", y: "index", dx: 6, textAnchor: "start", fill: "currentColor",
        text: (it) => said(it.count) + share(it.count) }),
    ],
  });
  const shapes = plot.querySelectorAll("g[aria-label=bar] rect");
  shapes.forEach((shape, index) => pickable(shape, data[index], onPick));
  return plot;
}

function pickable(shape, datum, onPick) {
  if (!onPick || datum.pick === undefined) return;
  shape.classList.add("pick");
  shape.setAttribute("tabindex", "0");
  shape.setAttribute("role", "button");
  shape.setAttribute("aria-label", `Show the rows with ${textOf(datum.label)}`);
  shape.addEventListener("click", () => onPick(datum.pick));
  shape.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") onPick(datum.pick);
  });
}

function histogram({ bins, unit, over, time }) {
  const scale = time ? (it) => new Date(it) : (it) => it;
  const data = bins.map(([from, to, count]) => ({ from: scale(from), to: scale(to), count }));
  const step = time ? { type: "utc" } : {};
  const isWhole = !time && data.every((it) => it.to - it.from === 1 && !Number.isInteger(it.from));
  if (isWhole) step.tickFormat = (it) => (Number.isInteger(it) ? number(it) : "");
  else if (!time) step.tickFormat = tick;
  const said = (it) => (time ? it.toISOString().slice(0, 10) : number(it));
  return Plot.plot({
    ...shared,
    width: WIDTH,
    height: 170,
    marginLeft: 46,
    marginBottom: 34,
    marginTop: 12,
    x: { ticks: isWhole ? Math.min(8, data.length) : 6, ...step, label: unit || null, labelAnchor: "right", labelArrow: "none", tickSize: 3, nice: false },
    y: { label: null, ticks: 4, tickSize: 0, grid: true, tickFormat: (it) => (Number.isInteger(it) ? tick(it) : "") },
    marks: [
      Plot.rectY(data, {
        x1: "from", x2: "to", y: "count", inset: 0.5,
        fill: (it, index) => (over && index === data.length - 1 ? "var(--series-over)" : "var(--series-1)"),
        title: (it, index) => {
          const range = isWhole ? number((it.from + it.to) / 2) : over && index === data.length - 1 ? `more than ${said(it.from)}` : `${said(it.from)} to ${said(it.to)}`;
          return `${range}: ${whole.format(it.count)}`;
        },
      }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
    ],
  });
}

/** A number beside an axis, which has little room: 1,500, 12K, 3.4M. */
function tick(value) {
  return Math.abs(value) >= 1e4 ? compact.format(value) : number(value);
}

function lines({ series, unit, width: seconds, start }) {
  const moment = (index) => new Date(start + index * seconds * 1000);
  const data = series.flatMap(({ name, counts }) =>
    [...counts, counts.at(-1)].map((count, index) => ({ at: moment(index), count: count / seconds, name })),
  );
  const names = series.map((it) => it.name);
  const intervals = Math.max(...series.map((it) => it.counts.length));
  const [from, to] = intervals * seconds < 86_400 ? [11, 19] : [5, 16];
  return Plot.plot({
    ...shared,
    width: NARROW.matches ? WIDTH : WIDE,
    height: 170,
    marginLeft: 46,
    marginRight: 30,
    marginTop: 12,
    x: { type: "utc", ticks: Math.min(NARROW.matches ? 4 : 10, intervals), label: null, tickSize: 3,
      tickFormat: (it) => it.toISOString().slice(from, to).replace("T", " ") },
    y: { label: unit, labelArrow: "none", ticks: 4, tickSize: 0, tickFormat: tick, grid: true, domain: [0, Math.max(1e-9, ...data.map((it) => it.count))] },
    color: { type: "categorical", domain: names, range: COLOURS },
    marks: [
      Plot.areaY(data, { x: "at", y1: 0, y2: "count", z: "name", fill: "name", fillOpacity: 0.05, curve: "step-after" }),
      Plot.lineY(data, { x: "at", y: "count", z: "name", stroke: "name", strokeWidth: 1.5, curve: "step-after" }),
      Plot.ruleY([0], { stroke: "var(--line)" }),
    ],
  });
}

/** The names of the series of a chart with lines. */
export function legend(series) {
  return element(
    "p",
    { class: "legend" },
    ...series.map((it, index) =>
      element("span", {}, element("i", { style: `background:${COLOURS[index % 8]}` }), quoted(it.name)),
    ),
  );
}
