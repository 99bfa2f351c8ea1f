// Which rows are shown: a test for every column that has a filter, and one for all of them.
import { textOf } from "./dom.js";

const COMPARISON = /^\s*(>=|<=|!=|>|<|=)\s*(-?[\d.,_]+(?:e[+-]?\d+)?)\s*$/i;
const RANGE = /^\s*(-?[\d.]+)\s*\.\.\s*(-?[\d.]+)\s*$/;
const TESTS = {
  ">": (a, b) => a > b,
  "<": (a, b) => a < b,
  ">=": (a, b) => a >= b,
  "<=": (a, b) => a <= b,
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
};

/** Whether a value has what a text says: a comparison of numbers, `""` for empty, or a part. */
export function test(text) {
  const compared = COMPARISON.exec(text);
  if (compared) {
    const [, sign, written] = compared;
    const limit = Number(written.replaceAll(/[,_]/g, ""));
    return (value) => (typeof value === "number" || (value !== "" && value !== null && !Number.isNaN(Number(value)))) && TESTS[sign](Number(value), limit);
  }
  const range = RANGE.exec(text);
  if (range) {
    const [from, to] = [Number(range[1]), Number(range[2])];
    return (value) => value !== null && value !== "" && Number(value) >= from && Number(value) <= to;
  }
  if (text.trim() === '""') return (value) => value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length);
  const part = text.toLowerCase();
  return (value) => textOf(value).toLowerCase().includes(part);
}

/** Whether a value is the one that was chosen of a column's few, or a list that holds it. */
export function isOne(wanted) {
  return (value) => (Array.isArray(value) ? value.map(textOf).includes(wanted) : textOf(value) === wanted);
}

/** The order of two values of a column: numbers by size, texts by their letters, nothing last. */
export function order(values, ascending, areNumbers) {
  const keys = values.map((it) => {
    if (typeof it === "number" || it === null || it === undefined) return it;
    const isDecimal = areNumbers && it !== "" && !Number.isNaN(Number(it)); // decimals are texts in JSON
    return isDecimal ? Number(it) : textOf(it).toLowerCase();
  });
  const sign = ascending ? 1 : -1;
  return (one, other) => {
    const [a, b] = [keys[one], keys[other]];
    if (a === b) return one - other;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a < b ? -sign : a > b ? sign : one - other;
  };
}
