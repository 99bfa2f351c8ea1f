import { SlickGrid } from "slickgrid";
import { columns as load, scan } from "./data.js";
import { element, number, plain, quoted, textOf, whole } from "./dom.js";
import { isOne, order, test } from "./filters.js";

const WIDTHS = { number: 96, category: 120, boolean: 84, state: 90, date: 120, list: 190, text: 280, other: 220 };
const WAIT = 200;

/** The table of rows: it sorts, filters, and opens a row. */
export class Table {
  constructor(table, place, { onOpen, onCount }) {
    this.table = table;
    this.place = place;
    this.onOpen = onOpen;
    this.onCount = onCount;
    this.filters = new Map(); // by column: {text, test}
    this.text = "";
    this.sorted = null;
    this.version = 0;
  }

  async show() {
    const { values, cut } = await load(this.table);
    this.values = values;
    this.cut = cut;
    this.rows = Uint32Array.from({ length: this.table.rows }, (_, index) => index);
    const view = {
      getLength: () => this.rows.length,
      getItem: (index) => (index < this.rows.length ? { row: this.rows[index] } : undefined),
      getItemMetadata: (index) => ({ cssClasses: this.marks(this.rows[index]) }),
    };
    this.place.style.height = `min(72vh, ${Math.max(180, 100 + 30 * this.rows.length)}px)`;
    this.grid = new SlickGrid(this.place, view, this.definitions(), {
      enableHtmlRendering: false,
      enableColumnReorder: false,
      enableCellNavigation: true,
      enableTextSelectionOnCells: true,
      explicitInitialization: true,
      showHeaderRow: true,
      headerRowHeight: 34,
      rowHeight: 30,
      headerHeight: 32,
      multiColumnSort: false,
      dataItemColumnValueExtractor: (item, column) => this.values[column.field][item.row],
    });
    this.grid.onHeaderRowCellRendered.subscribe((_, { node, column }) => node.replaceChildren(this.filterOf(column.field)));
    this.grid.onSort.subscribe((_, { sortCol, sortAsc }) => this.sort(sortCol.field, sortAsc));
    this.grid.onClick.subscribe((_, { row }) => this.open(row));
    this.grid.onKeyDown.subscribe((event, { row }) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        event.stopImmediatePropagation();
        this.open(row);
      }
    });
    this.grid.init();
    this.name();
    this.onCount(this.rows.length);
  }

  /** The column that says how a row ended decides on its colour. */
  marks(row) {
    const index = this.table.columns.findIndex((it) => it.kind === "state");
    return index < 0 ? "" : `is-${this.values[index][row]}`;
  }

  definitions() {
    return this.table.columns.map((column, index) => ({
      id: String(index),
      field: index,
      name: plain(column.name),
      toolTip: plain(column.about || column.name),
      width: this.width(column, index),
      sortable: true,
      headerCssClass: `from-${column.from}`,
      cssClass: `kind-${column.kind}`,
      formatter: (_row, _cell, value) => this.cell(column, value),
    }));
  }

  /** The width that the first texts of a column take, and its name. */
  width(column, index) {
    const usual = WIDTHS[column.kind] || 200;
    const name = Math.min(260, column.name.length * 7.6 + 34);
    if (column.kind !== "text" && column.kind !== "category") return Math.max(usual, name);
    const longest = Math.max(0, ...this.values[index].slice(0, 300).map((it) => textOf(it).length));
    return Math.max(84, name, Math.min(280, longest * 8 + 26));
  }

  cell(column, value) {
    if (value === null || value === undefined) return element("span", { class: "dim" }, "–");
    if (column.kind === "number") return element("span", {}, number(value));
    if (column.kind === "state") return element("span", { class: `state ${value}` }, String(value));
    if (Array.isArray(value) && value.every((it) => typeof it === "string")) {
      return element("span", {}, ...value.map((it) => element("span", { class: "chip" }, quoted(it))));
    }
    return quoted(textOf(value));
  }

  filterOf(field) {
    const { options, name, kind } = this.table.columns[field];
    const label = `Filter by ${name}`;
    if (options) {
      const choices = options.map((it) => element("option", { value: it }, it === "" ? "(empty)" : plain(it)));
      return element("select", { "aria-label": label, "data-column": name,
        onchange: (event) => this.choose(field, event.target.selectedIndex ? options[event.target.selectedIndex - 1] : null) },
        element("option", { value: "" }, "all"), ...choices);
    }
    const hint = kind === "number" ? "> 3, 1..5" : "contains…";
    let timer = 0;
    return element("input", { type: "search", placeholder: hint, "aria-label": label, "data-column": name, spellcheck: "false",
      oninput: (event) => {
        clearTimeout(timer);
        timer = setTimeout(() => this.filter(field, event.target.value), WAIT);
      } });
  }

  /** Show the rows that have a value in a column, or all of them. */
  choose(field, value) {
    if (value === null) this.filters.delete(field);
    else this.filters.set(field, { text: value, test: isOne(value) });
    return this.apply();
  }

  filter(field, text) {
    if (text === "") this.filters.delete(field);
    else this.filters.set(field, { text, test: test(text) });
    return this.apply();
  }

  /** Show the rows of which some input or answer contains a text. */
  search(text) {
    this.text = text;
    return this.apply();
  }

  /** Filter a column by a value that was picked in a chart. */
  pick(name, value) {
    const field = this.table.columns.findIndex((it) => it.name === name);
    if (field < 0) return;
    const control = this.place.querySelector(`.slick-headerrow [data-column="${CSS.escape(name)}"]`);
    const { options } = this.table.columns[field];
    if (options) {
      if (control) control.selectedIndex = options.indexOf(value) + 1;
      this.choose(field, value);
    } else {
      if (control) control.value = value;
      this.filter(field, value);
    }
    this.place.scrollIntoView({ block: "start", behavior: "smooth" });
  }

  clear() {
    this.filters.clear();
    this.text = "";
    for (const it of this.place.querySelectorAll(".slick-headerrow input")) it.value = "";
    for (const it of this.place.querySelectorAll(".slick-headerrow select")) it.selectedIndex = 0;
    return this.apply();
  }

  get isFiltered() {
    return this.filters.size > 0 || this.text !== "";
  }

  async apply() {
    const version = ++this.version;
    const deep = await this.deep(version);
    if (version !== this.version) return;
    const near = [...this.filters].filter(([field]) => !this.cut.has(field)).map(([field, it]) => [this.values[field], it.test]);
    const isIn = this.isNear();
    const kept = [];
    for (let row = 0; row < this.table.rows; row++) {
      if (deep && !deep[row]) continue;
      if (near.every(([values, passes]) => passes(values[row])) && isIn(row)) kept.push(row);
    }
    this.rows = Uint32Array.from(kept);
    this.arrange();
  }

  /** The search through columns that are here as a whole. */
  isNear() {
    if (!this.text || this.cut.size) return () => true;
    const part = this.text.toLowerCase();
    const searched = this.values.filter((_, index) => this.table.columns[index].from !== "run");
    return (row) => searched.some((values) => textOf(values[row]).toLowerCase().includes(part));
  }

  /** The rows whose whole texts, which are not in the table, pass; nothing if all is in it. */
  async deep(version) {
    const tests = [...this.filters].filter(([field]) => this.cut.has(field))
      .map(([field, it]) => (values) => it.test(values[this.table.columns[field].name]));
    if (this.text && this.cut.size) {
      const part = this.text.toLowerCase();
      const own = new Set(this.table.columns.filter((it) => it.from === "run").map((it) => it.name));
      tests.push((values) => Object.entries(values).some(([name, it]) => !own.has(name) && textOf(it).toLowerCase().includes(part)));
    }
    if (!tests.length) return null;
    return scan(this.table, (values) => tests.every((it) => it(values)), {
      isCurrent: () => version === this.version,
      onProgress: (share) => this.onCount(this.rows.length, share),
    });
  }

  sort(field, ascending) {
    this.sorted = { field, ascending };
    this.arrange();
  }

  arrange() {
    if (this.sorted) this.rows.sort(order(this.values[this.sorted.field], this.sorted.ascending, this.table.columns[this.sorted.field].kind === "number"));
    this.grid.invalidateAllRows();
    this.grid.updateRowCount();
    this.grid.render();
    this.name();
    this.onCount(this.rows.length);
  }

  /** Roles and counts for screen readers, which see only the rows that are drawn. */
  name() {
    const { place } = this;
    place.setAttribute("role", "grid");
    place.setAttribute("aria-rowcount", String(this.rows.length));
    place.setAttribute("aria-colcount", String(this.table.columns.length));
    for (const it of place.querySelectorAll(".slick-header-column")) {
      const isSorted = this.sorted && it.dataset.id === String(this.sorted.field);
      it.setAttribute("role", "columnheader");
      it.setAttribute("aria-sort", isSorted ? (this.sorted.ascending ? "ascending" : "descending") : "none");
      if (!it.hasAttribute("tabindex")) {
        it.setAttribute("tabindex", "0");
        it.addEventListener("keydown", (event) => event.key === "Enter" && it.click());
      }
    }
  }

  open(position) {
    if (position < 0 || position >= this.rows.length) return;
    this.grid.setActiveCell(position, this.grid.getActiveCell()?.cell ?? 0);
    this.grid.scrollRowIntoView(position);
    this.onOpen(this.rows[position], position, this.rows.length);
  }

  /** Put the keyboard back into the table. */
  focus() {
    if (!this.grid.getActiveCell() && this.rows.length) this.grid.setActiveCell(0, 0);
    this.grid.focus();
  }
}

export const counted = (shown, all, share) => {
  const searching = share !== undefined && share < 1 ? ` · searching whole texts: ${Math.round(100 * share)}%` : "";
  const rows = all === 1 ? "row" : "rows";
  return (shown === all ? `${whole.format(all)} ${rows}` : `${whole.format(shown)} of ${whole.format(all)} ${rows}`) + searching;
};
