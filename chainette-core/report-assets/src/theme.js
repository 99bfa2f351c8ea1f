import { element } from "./dom.js";

const KINDS = ["auto", "light", "dark"];
const SIGNS = { auto: "◐", light: "☀", dark: "☾" };

function kept() {
  try {
    return localStorage.getItem("chainette-theme") || "auto";
  } catch {
    return "auto"; // storage may be forbidden for files
  }
}

function keep(kind) {
  try {
    localStorage.setItem("chainette-theme", kind);
  } catch {
    // the choice holds until the page is closed
  }
}

/** The button that changes between the system's colours, light and dark ones. */
export function theme() {
  const button = element("button", { type: "button", class: "theme" });
  const set = (kind) => {
    document.documentElement.dataset.theme = kind;
    button.textContent = SIGNS[kind];
    button.title = `Colours: ${kind}`;
    button.setAttribute("aria-label", `Colours: ${kind}; change`);
    keep(kind);
  };
  button.addEventListener("click", () => {
    const next = KINDS[(KINDS.indexOf(document.documentElement.dataset.theme) + 1) % KINDS.length];
    set(next);
  });
  set(KINDS.includes(kept()) ? kept() : "auto");
  return button;
}
