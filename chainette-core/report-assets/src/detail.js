// One row, opened: what went in, what was asked, what came back, and what it took.
import { detail } from "./data.js";
import { element, number, quoted, textOf } from "./dom.js";

const TOKENS = { prompt_tokens: "prompt", completion_tokens: "answer", reasoning_tokens: "of it reasoning", cached_tokens: "of the prompt cached" };

export class Detail {
  constructor(table, dialog, { onMove, onClose }) {
    this.table = table;
    this.dialog = dialog;
    this.onMove = onMove;
    dialog.addEventListener("close", onClose);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, k: -1, j: 1 }[event.key];
      if (step) {
        event.preventDefault();
        onMove(this.position + step);
      }
    });
  }

  async show(row, position, count) {
    this.position = position;
    const parts = await detail(this.table, row);
    if (this.position !== position) return;
    const title = parts[0].title;
    const move = (label, step, text) =>
      element("button", { type: "button", "aria-label": label, title: `${label} (${text})`,
        disabled: position + step < 0 || position + step >= count, onclick: () => this.onMove(position + step) }, text);
    this.dialog.replaceChildren(
      element("header", {}, quoted(title, "h2"), element("span", { class: "dim" }, `${number(position + 1)} of ${number(count)}`),
        element("span", { class: "gap" }), move("Previous row", -1, "←"), move("Next row", 1, "→"),
        element("button", { type: "button", "aria-label": "Close", title: "Close (Esc)", onclick: () => this.dialog.close() }, "✕")),
      element("div", { class: "parts", tabindex: "0" }, ...parts.flatMap((part) => this.part(part))),
    );
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.querySelector(".parts").focus();
  }

  part(part) {
    if (part.line) return [step(part)];
    if (part.error) return [failure(part)];
    if (!part.split) return [section(part.title, values(Object.entries(part.values)))];
    const from = (kind) => this.table.columns.filter((it) => it.from === kind && it.name in part.values);
    const known = new Set([...this.table.columns.map((it) => it.name), "row_id", "item", "partial", "dropped"]);
    const others = Object.entries(part.values).filter(([name]) => !known.has(name) && !name.startsWith("error."));
    const found = [["Inputs", "input"], ["Answers", "answer"]].map(([title, kind]) =>
      [title, from(kind).map((it) => [it.name, part.values[it.name]])]);
    return [...found, ["Further values", others]].map(([title, pairs]) => (pairs.length ? section(title, values(pairs)) : null));
  }
}

function section(title, ...content) {
  return element("section", {}, quoted(title, "h3"), ...content);
}

function values(pairs) {
  return element("dl", {}, ...pairs.flatMap(([name, value]) => [quoted(name, "dt"), element("dd", {}, shown(value))]));
}

function shown(value) {
  if (value === null || value === undefined) return element("span", { class: "dim" }, "–");
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value) && value.length && value.every((it) => typeof it === "string" && it.length < 40)) {
    return element("span", {}, ...value.map((it) => element("span", { class: "chip" }, quoted(it))));
  }
  if (typeof value === "object") return quoted(JSON.stringify(value, null, 2), "pre");
  return element("span", {}, textOf(value));
}

function folded(title, content, open = false) {
  return element("details", { open }, element("summary", {}, title), content);
}

function failure({ title, error, prompt }) {
  const { message, type, raw_text: raw, engine, tolerated } = error;
  const kind = [type, engine && `engine ${engine}`, tolerated && "tolerated"].filter(Boolean).join(" · ");
  return element("section", { class: "error" }, quoted(title, "h3"), quoted(kind, "p"), quoted(textOf(message), "pre"),
    raw ? folded("What came", quoted(textOf(raw), "pre"), true) : null, ...asked(prompt));
}

/** The prompt, or its templates where it is not certain. */
function asked(prompt) {
  if (prompt?.messages) return [folded("Prompt", element("div", {}, ...prompt.messages.map(message)), true)];
  if (!prompt) return [];
  return [folded("Template of the prompt", element("div", {},
    quoted(`The prompt itself is not shown: ${prompt.why}`, "p"), ...prompt.templates.map(message)))];
}

function step({ title, line, prompt, note }) {
  const parts = [figures(line)];
  if (note) parts.push(quoted(note, "p"));
  parts.push(...asked(prompt));
  if (line.reasoning) parts.push(folded("Reasoning", quoted(textOf(line.reasoning), "pre"), true));
  if (typeof line.text === "string") parts.push(folded("Answer as it came", quoted(line.text, "pre"), true));
  else if ("output" in line) parts.push(folded("Output", quoted(JSON.stringify(line.output, null, 2), "pre"), true));
  return section(title, ...parts);
}

function message({ role, content }) {
  return element("div", { class: `message ${role}` }, quoted(role, "b"), quoted(textOf(content), "pre"));
}

function figures(line) {
  const found = [];
  if (line.kind && line.kind !== "one") found.push(["", line.kind]);
  if (line.item) found.push(["item", line.item]);
  if (line.round) found.push(["round", line.round]);
  for (const [key, label] of Object.entries(TOKENS)) {
    if (line.usage?.[key]) found.push([`${label} tokens`, number(line.usage[key])]);
  }
  if (typeof line.cost === "number") found.push(["cost", line.cost ? `$${line.cost.toPrecision(3)}` : "$0"]);
  else if ("cost" in line) found.push(["cost", "unknown"]);
  if (line.latency !== undefined) found.push(["took", `${number(line.latency)} s`]);
  if (line.requests !== undefined) found.push(["requests", number(line.requests)]);
  if (line.cached) found.push(["", "from the cache"]);
  if (line.truncated) found.push(["", "cut at max_tokens"]);
  if (line.at) found.push(["at", new Date(line.at * 1000).toISOString().replace("T", " ").slice(0, 19)]);
  return element("p", { class: "figures" },
    ...found.map(([label, value]) => element("span", {}, label ? element("span", { class: "dim" }, `${label} `) : null, quoted(String(value)))));
}
