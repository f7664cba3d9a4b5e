// The form that starts a workflow: it puts the body of the request together, and says at each field what the API finds
// wrong with it. What has no field of its own is written as JSON.

import { $, $$, address } from "./dom.js";
import { code, toast } from "./notes.js";
import { curl, requestOf, send } from "./requests.js";

const form = $("#start");
const fields = $("#fields"); // none where the input has no schema
const json = $("#json");
const written = $("#input");

const nonEmptyLines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const number = (text) => { try { return JSON.parse(text); } catch { return Number(text); } };

// What was put into a field; undefined when nothing was. It throws what is wrong with it.
function valueOf(control) {
  const text = control.value;
  switch (control.dataset.kind) {
    case "flag": return control.checked;
    case "choice": case "json": return text.trim() === "" ? undefined : JSON.parse(text);
    case "number": return text.trim() === "" ? undefined : number(text);
    case "lines": {
      const lines = nonEmptyLines(text);
      if (!lines.length) return control.dataset.needed === undefined ? undefined : [];
      return control.dataset.type === "string" ? lines : lines.map(number);
    }
    case "pairs": {
      const pairs = nonEmptyLines(text).map((line) => {
        if (!line.includes("=")) throw new Error(`“${line}” is no label; write name=value`);
        return [line.slice(0, line.indexOf("=")).trim(), line.slice(line.indexOf("=") + 1).trim()];
      });
      return pairs.length ? Object.fromEntries(pairs) : undefined;
    }
    default: return text === "" ? undefined : text;
  }
}

const keysOf = (pointer) => pointer.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));

// Objects on the way are made where they are missing, and as their own properties, whatever they are called.
function put(body, pointer, value) {
  const keys = keysOf(pointer);
  let at = body;
  for (const key of keys.slice(0, -1)) {
    if (!Object.hasOwn(at, key)) Object.defineProperty(at, key, { value: {}, enumerable: true, writable: true });
    at = at[key];
  }
  const last = keys.at(-1);
  if (value !== null && typeof value === "object" && Object.hasOwn(at, last)) return; // a group that has fields already
  Object.defineProperty(at, last, { value, enumerable: true, writable: true });
}

const controls = () => $$("[data-pointer]", form).filter((control) => !control.closest("[hidden], :disabled"));

// The request; it throws an error that has the `control` in which something is wrong.
function request() {
  const made = requestOf(JSON.parse(form.dataset.start));
  for (const control of controls()) {
    try {
      const value = valueOf(control);
      if (value !== undefined) put(made.body, control.dataset.pointer, value);
    } catch (error) {
      const said = control.dataset.kind === "json" ? `This is no JSON: ${error.message}` : error.message;
      throw Object.assign(new Error(said), { control });
    }
  }
  if (fields && !fields.disabled) {
    for (const group of $$("fieldset[data-needed]", form)) put(made.body, group.dataset.group, {});
  }
  made.headers = Object.fromEntries($$("[data-header]", form).filter((each) => each.value.trim()).map((each) => [each.dataset.header, each.value.trim()]));
  return made;
}

function show() {
  try { $("#line").replaceChildren(code(curl(request()))); } catch { /* it is said when it is sent */ }
}

// What is wrong -------------------------------------------------------------------------------------------------------

const lineFor = (place) => (place.matches("fieldset") ? $(":scope > .wrong", place) : $(".wrong", place.parentElement));
function tell(place, text) {
  const line = lineFor(place);
  line.textContent = line.hidden ? text : `${line.textContent}; ${text}`;
  line.hidden = false;
  if (!place.matches("fieldset")) place.setAttribute("aria-invalid", "true");
}
function forget(place) {
  const line = place.closest(".asked")?.querySelector(".wrong");
  if (line) line.hidden = true;
  place.removeAttribute("aria-invalid");
}
function forgetAll() {
  for (const line of $$(".wrong", form)) line.hidden = true;
  for (const control of $$("[aria-invalid]", form)) control.removeAttribute("aria-invalid");
  $("#wrong").hidden = true;
}

// The field or group that a pointer leads to, or what is nearest around it; undefined where the form has neither.
function placeOf(pointer) {
  const places = [...controls(), ...(fields && !fields.disabled ? $$("fieldset[data-group]", form) : [])];
  for (let at = pointer; at; at = at.slice(0, at.lastIndexOf("/"))) {
    const found = places.find((place) => (place.dataset.pointer ?? place.dataset.group) === at);
    if (found) return found;
  }
  return undefined;
}
const escaped = (key) => key.replaceAll("~", "~0").replaceAll("/", "~1");

function refused({ status, content }) {
  const rest = [];
  let first;
  for (const { pointer = "", message } of content.errors || []) {
    const missing = /^'(.*)' is a required property$/.exec(message); // the pointer is that of what it is missing in
    const place = (missing && placeOf(`${pointer}/${escaped(missing[1])}`)) || placeOf(pointer);
    if (!place) { rest.push(message); continue; }
    const own = place.dataset.pointer ?? place.dataset.group;
    const isIt = missing && own === `${pointer}/${escaped(missing[1])}`;
    const below = pointer.slice(own.length);
    tell(place, isIt ? "is needed" : below ? `${below.slice(1)}: ${message}` : message);
    first ??= place;
  }
  if (rest.length || !first) {
    const about = $("#wrong");
    const detail = content.detail || `The engine answered ${status}.`;
    about.textContent = [detail, ...rest.filter((message) => message !== detail), content.hint].filter(Boolean).join(" ");
    about.hidden = false;
  }
  (first?.matches("fieldset") ? $("input, select, textarea", first) : first)?.focus();
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  forgetAll();
  let made;
  try { made = request(); } catch (error) {
    if (!error.control) throw error;
    tell(error.control, error.message);
    error.control.focus();
    return;
  }
  const go = $("#go");
  go.disabled = true;
  try {
    const answer = await send(made);
    if (answer.ok) location.assign(address(`/admin/workflows/${answer.content.id}`));
    else refused(answer);
  } catch {
    toast("bad", "The engine does not answer. With an idempotency key it can be started once more without being two.", made);
  } finally {
    go.disabled = false;
  }
});
form?.addEventListener("input", (event) => {
  forget(event.target);
  show();
});

// The form and its JSON: whoever goes back finds the form as it was left.
$("#as-json")?.addEventListener("click", (event) => {
  const toJson = json.hidden;
  if (toJson) {
    try { written.value = JSON.stringify(request().body.input, null, 2); } catch { /* as far as it was written before */ }
  }
  json.hidden = !toJson;
  fields.hidden = fields.disabled = toJson;
  event.target.textContent = toJson ? "As a form" : "As JSON";
  forgetAll();
  show();
  (toJson ? written : $("input, select, textarea", fields))?.focus();
});

if (form) show();
