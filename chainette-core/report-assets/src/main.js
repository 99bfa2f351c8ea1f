import { figure, legend } from "./charts.js";
import { Detail } from "./detail.js";
import { element, quoted, textOf } from "./dom.js";
import { drawing } from "./graph.js";
import { counted, Table } from "./grid.js";
import { theme } from "./theme.js";
import "./style.css";

const page = JSON.parse(document.getElementById("page").textContent);
const state = { table: null };

const blocks = {
  facts: ({ items }) => element("dl", { class: "facts" }, ...items.map((it) =>
    element("div", {}, quoted(it.label, "dt"), element("dd", {}, quoted(it.value)), it.note ? quoted(it.note, "small") : null))),
  note: ({ text }) => element("p", { class: "note" }, quoted(text)),
  list: small,
  graph: (block) => element("div", { class: "graph", tabindex: "0", role: "group", "aria-label": "The chain" }, drawing(block)),
  charts: ({ charts }) => element("div", { class: "charts" }, ...charts.map(chart)),
};

function chart(it) {
  const made = figure(it, it.column ? (value) => state.table?.pick(it.column, value) : null);
  if (it.kind === "lines" && it.series.length > 1) made.querySelector("figcaption").append(legend(it.series));
  return made;
}

/** A list of a few lines, such as the steps and what they cost. */
function small({ columns, rows, numbers }) {
  const cell = (name, value, index) => element(name, { class: numbers.includes(index) ? "number" : null, scope: name === "th" ? "col" : null }, quoted(textOf(value)));
  return element("div", { class: "list", tabindex: "0", role: "group", "aria-label": columns.join(", ") }, element("table", {},
    element("thead", {}, element("tr", {}, ...columns.map((it, index) => cell("th", it, index)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((it, index) => cell("td", it, index)))))));
}

function head() {
  return element("header", { class: "top" },
    element("div", {}, quoted(page.title, "h1"), page.state ? quoted(page.state.label, "strong") : null,
      element("span", { class: "gap" }),
      element("nav", { "aria-label": "Sections" }, ...page.sections.map((it) => element("a", { href: `#${it.id}` }, it.title)),
        page.table ? element("a", { href: "#rows" }, page.table.title) : null),
      theme()),
    quoted(page.subtitle, "p"));
}

function section({ id, title, blocks: content }) {
  return element("section", { id, "aria-labelledby": `${id}-title` },
    element("h2", { id: `${id}-title` }, title), ...content.map((it) => blocks[it.kind](it)));
}

/** The section of the rows; they are shown as soon as their columns have been read. */
function rows() {
  const { table } = page;
  const count = element("output", { "aria-live": "polite", class: "count" }, table.rows ? "…" : counted(0, 0));
  const search = element("input", { type: "search", id: "search", placeholder: "Search all inputs and answers  ( / )", "aria-label": "Search all inputs and answers", spellcheck: "false" });
  const clear = element("button", { type: "button", hidden: true, onclick: () => { search.value = ""; state.table.clear(); } }, "Show all rows");
  const place = element("div", { class: "grid" });
  const made = element("section", { id: "rows", "aria-labelledby": "rows-title" },
    element("h2", { id: "rows-title" }, table.title), table.note ? element("p", { class: "note" }, table.note) : null,
    element("div", { class: "tools" }, search, clear, count,
      element("span", { class: "dim keys" }, "↑ ↓ move · Enter opens a row · / searches · click a header to sort"),
      element("span", { class: "dim printed" }, "Only the rows in view are printed; the page itself has the others.")),
    place);
  const dialog = element("dialog", { class: "detail", "aria-label": "One row" });
  document.body.append(dialog);
  const detail = new Detail(table, dialog, { onMove: (position) => state.table.open(position), onClose: () => state.table.focus() });
  state.table = new Table(table, place, {
    onOpen: (row, position, all) => detail.show(row, position, all),
    onCount: (shown, share) => {
      count.textContent = counted(shown, table.rows, share);
      clear.hidden = !state.table.isFiltered;
    },
  });
  let timer = 0;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => state.table.search(search.value), 200);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") state.table.focus();
    if (event.key === "Escape") { search.value = ""; state.table.search(""); }
  });
  return made;
}

/** A page about a run that goes on is loaded again, unless somebody reads a row of it. */
function follow() {
  const note = element("p", { class: "note live", role: "status" }, `The run is going on. This page is of ${page.written}, and is loaded again every ${page.refresh} seconds.`);
  setInterval(() => {
    if (!document.querySelector("dialog[open]") && !state.table?.isFiltered) location.reload();
  }, page.refresh * 1000);
  return note;
}

document.body.append(head(), element("main", {}, page.refresh ? follow() : null, ...page.sections.map(section), page.table ? rows() : null),
  element("footer", {}, quoted(page.footer, "p")));
document.addEventListener("keydown", (event) => {
  const isWriting = event.target.closest?.("input, select, textarea, dialog");
  if (event.key === "/" && !isWriting && page.table) {
    event.preventDefault();
    const search = document.getElementById("search");
    search.scrollIntoView({ block: "center" });
    search.focus();
  }
});

// Called by the page when the blocks of the columns are there; those of whole rows come later.
globalThis.showRows = async () => {
  if (page.table?.rows) await state.table.show();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
};
