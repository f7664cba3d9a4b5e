// Where the focus is, for whoever uses keys: it stays there, whatever an update puts in, and is not lost with what it takes away.

import { $, $$ } from "./dom.js";

const HEADINGS = "h1, h2, h3";

let pressed = null; // the place of the button that was pressed last

// By what something is known again when its part of the page comes anew.
const nameOf = (element) => element.id || element.getAttribute("href") || element.dataset.action || element.value
  || element.getAttribute("aria-label") || (element.localName === "summary" && element.parentElement.id) || element.localName;

// What of a part can have the focus, in its order; of several with the same name each has its number.
function stopsOf(part) {
  const met = new Map();
  return new Map($$(`a, button, input, select, textarea, summary, [tabindex], ${HEADINGS}`, part).map((element) => {
    const name = nameOf(element);
    met.set(name, (met.get(name) ?? 0) + 1);
    return [`${met.get(name)} ${name}`, element];
  }));
}

// Where something stands: in which part, and behind what. `goTo` has the focus go there, whatever is there then.
export function placeOf(element) {
  const part = element.closest("[data-live][id]");
  const names = [];
  for (const [name, stop] of part ? stopsOf(part) : []) {
    names.unshift(name);
    if (stop === element) break;
  }
  return { element, part, names };
}

// To what stood there if it is there still, else to the button or row that took its place, else to the heading above.
export function goTo({ element, part, names }) {
  const now = part ? stopsOf(part) : new Map();
  const stops = [...now.values()];
  const last = stops.indexOf(now.get(names.find((name) => now.has(name))));
  const next = stops[last + 1]?.matches("button, tr *, li *") ? stops[last + 1] : null;
  const same = part ? now.get(names[0]) : element;
  const panel = (part ?? element).closest("section");
  const heading = stops.slice(0, last + 1).findLast((stop) => stop.matches(HEADINGS)) ?? (panel && $(HEADINGS, panel)) ?? $("main h1");
  [same ?? next, heading].some((stop) => {
    if (stop?.matches(HEADINGS)) stop.tabIndex = -1;
    stop?.focus({ preventScroll: true });
    return stop && stop === document.activeElement; // what is disabled or hidden does not take it
  });
}

// A button is pressed: when what comes of it takes the focus away, `regain` gives it back.
export const press = (button) => { pressed = placeOf(button); };

export function regain() {
  const active = document.activeElement;
  if (pressed && (!active || active === document.body || active.disabled)) goTo(pressed);
}
