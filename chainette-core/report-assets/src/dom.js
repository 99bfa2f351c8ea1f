// Elements whose content is only ever text: nothing that a model wrote becomes markup.

/**
 * @param {string} name
 * @param {Record<string, any>} [attributes] `class`, `on…` handlers and attributes
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((it) => it !== null && it !== undefined));
  return made;
}

// Marks that turn the direction of text, or take no room: they are shown by their numbers. Joiners
// are letters of words in Persian and the scripts of India, and make one emoji of several.
const JOINED = String.raw`(?<![\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Myanmar}])`;
const UNSEEN = new RegExp(
  String.raw`[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]`
  + String.raw`|${JOINED}\u200c|${JOINED}(?<![\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d`, "gu");

/** A text that cannot change the direction of what is around it, with its unseen marks shown. */
export function quoted(text, name = "bdi") {
  const made = element(name, { class: "quoted", dir: "auto" });
  let from = 0;
  for (const found of text.matchAll(UNSEEN)) {
    made.append(text.slice(from, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    made.append(element("span", { class: "mark", title: "a character that is not seen" }, `U+${code}`));
    from = found.index + found[0].length;
  }
  made.append(text.slice(from));
  return made;
}

/** A text with its unseen marks shown, for places that take no elements. */
export function plain(text) {
  return quoted(text).textContent;
}

/** A value as a text: texts as they are, everything else as JSON. */
export function textOf(value) {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}

export const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

export function number(value) {
  if (typeof value !== "number") return textOf(value);
  return Number.isInteger(value) || Math.abs(value) >= 1e4 ? whole.format(value) : short.format(value);
}
