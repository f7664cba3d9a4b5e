// What is said in the corner, and lines that can be copied.

import { $, make } from "./dom.js";
import { curl } from "./requests.js";

const QUIET_MS = 8000; // for which it is shown what an action did

// `kind`: good or bad; `request`: its curl line is told, too.
export function toast(kind, text, request) {
  const close = make("button", { type: "button", class: "quiet", "aria-label": "Close" }, "✕");
  const shown = make("div", { class: `note toast ${kind}` },
    make("span", { class: `mark ${kind}`, "aria-hidden": "true" }, kind === "good" ? "✓" : "✗"),
    make("span", { class: "text" }, text), close,
    request ? make("details", {}, make("summary", {}, "As a command"), code(curl(request))) : null);
  close.onclick = () => shown.remove();
  $("#toasts").append(shown);
  if (kind === "good") setTimeout(() => shown.matches(":hover, :focus-within") || $("details", shown)?.open || shown.remove(), QUIET_MS);
}

// What is said while something is under way: `say(text)` says how far it is, `end()` takes it away.
export function progress() {
  let shown = null;
  return {
    say(text) {
      shown ??= $("#toasts").appendChild(make("div", { class: "note toast" },
        make("span", { class: "mark", "aria-hidden": "true" }, "…"), make("span", { class: "text" })));
      $(".text", shown).textContent = text;
    },
    end() { shown?.remove(); },
  };
}

export function code(text) {
  const copy = make("button", { type: "button", class: "quiet copy" }, "Copy");
  copy.onclick = () => copied(copy, text);
  return make("div", { class: "code" }, copy, make("pre", { class: "curl", tabindex: "0" }, text));
}

export async function copyText(text, place) {
  try { await navigator.clipboard.writeText(text); } catch {
    const focused = document.activeElement;
    const box = make("textarea", {}, ""); // without TLS there is no clipboard but this one
    box.value = text;
    place.append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    focused?.focus();
  }
}

export async function copied(button, text) {
  await copyText(text, button.closest("dialog") || document.body);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}
