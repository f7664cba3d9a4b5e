// What is wrong with what was put in, said where it was put in: in forms and dialogs alike. A field has a pointer, or is a
// parameter of the query, and has a line `.wrong` beside it; a group has one in it.

import { $, $$ } from "./dom.js";
import { filled } from "./requests.js";

const lineFor = (place) => (place.matches("fieldset") ? $(":scope > .wrong", place) : $(".wrong", place.parentElement));
const pointerOf = (place) => place.dataset.pointer ?? place.dataset.group;
const escaped = (key) => key.replaceAll("~", "~0").replaceAll("/", "~1");

export function tell(place, text) {
  const line = lineFor(place);
  line.textContent = line.hidden ? text : `${line.textContent}; ${text}`;
  line.hidden = false;
  if (!place.matches("fieldset")) place.setAttribute("aria-invalid", "true");
}

export function forget(place) {
  const line = place.closest(".asked")?.querySelector(".wrong");
  if (line) line.hidden = true;
  place.removeAttribute("aria-invalid");
}

// `about` is where it is said what belongs to no field.
export function forgetAll(form, about) {
  for (const line of $$(".wrong", form)) line.hidden = true;
  for (const control of $$("[aria-invalid]", form)) control.removeAttribute("aria-invalid");
  about.hidden = true;
}

// Why something was not done, in one text; `messages` are those of its errors that are not said elsewhere.
export function refusalOf({ status, content, before }, messages = (content.errors || []).map((fault) => fault.message)) {
  const detail = content.detail || `The engine answered ${status}.`;
  const more = messages.filter((message) => !detail.includes(message));
  const done = before ? filled("Done to {before} before that, and not to all.", { before }) : "";
  const said = [detail, ...more, content.hint, done].filter(Boolean);
  return said.map((text, n) => (n < said.length - 1 && !/[.!?]$/.test(text) ? `${text}.` : text)).join(" ");
}

// Says of each error at which of the `places` it is, and the rest in `about`; the first of those places.
export function tellRefusal(answer, places, about) {
  const rest = [];
  let first;
  for (const { pointer = "", message } of answer.content.errors || []) {
    const [place, text] = placed(pointer, message, places);
    if (place) tell(place, text); else rest.push(message);
    first ??= place;
  }
  if (rest.length || !first) {
    about.textContent = refusalOf(answer, rest);
    about.hidden = false;
  }
  return first;
}

// The place of an error, and what is said there.
function placed(pointer, message, places) {
  const [, parameter, why] = /^Parameter (\w+): (.*)$/s.exec(message) || [];
  const asked = parameter && places.find((place) => place.dataset.parameter === parameter);
  if (asked) return [asked, why];
  const [, missing] = /^'(.*)' is a required property$/.exec(message) || []; // the pointer is that of what it is missing in
  const at = missing === undefined ? pointer : `${pointer}/${escaped(missing)}`;
  const place = nearestTo(at, places);
  if (!place) return [];
  if (missing !== undefined && pointerOf(place) === at) return [place, "is needed"];
  const below = pointer.slice(pointerOf(place).length + 1);
  return [place, below ? `${below}: ${message}` : message];
}

// The field or group that a pointer leads to, or what is nearest around it.
function nearestTo(pointer, places) {
  for (let at = pointer; ; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = places.find((place) => pointerOf(place) === at);
    if (found || !at) return found;
  }
}
