// Forms whose fields have pointers: they put the body of a request together, and say at each field what the API finds wrong
// with it. What has no field of its own is written as JSON. A page has one of them, made by `form_macros.html`.

import { $, $$ } from "./dom.js";
import { press } from "./focus.js";
import { code, toast } from "./notes.js";
import { curl, readJson, requestOf, send } from "./requests.js";

const nonEmptyLines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const number = (text) => { try { return readJson(text); } catch { return Number(text); } };

// What was put into a field; undefined when nothing was. It throws what is wrong with it.
function valueOf(control) {
  const text = control.value;
  switch (control.dataset.kind) {
    case "flag": return control.checked;
    case "choice": case "json": return text.trim() === "" ? undefined : readJson(text);
    case "number": return text.trim() === "" ? undefined : number(text);
    case "lines": {
      const lines = nonEmptyLines(text);
      if (!lines.length) return control.dataset.needed === undefined ? undefined : [];
      return control.dataset.type === "string" ? lines : lines.map(number);
    }
    case "pairs": {
      const pairs = nonEmptyLines(text).map((line) => {
        if (!line.includes("=")) throw new Error(`“${line}” is not a label: write name=value`);
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

const escaped = (key) => key.replaceAll("~", "~0").replaceAll("/", "~1");
const lineFor = (place) => (place.matches("fieldset") ? $(":scope > .wrong", place) : $(".wrong", place.parentElement));

// `sent(content, request)` is called with what the API has answered; `away` is said when it does not answer.
export function beginForm(form, { sent, away }) {
  const fields = $("#fields"); // none where nobody says what there is to put in
  const json = $("#json"); // the same as JSON
  const written = json && $("textarea", json);
  const isForm = () => fields && !fields.disabled;
  const controls = () => $$("[data-pointer]", form).filter((control) => !control.closest("[hidden], :disabled"));
  const ways = $$("button:not([type=button])", form); // to send it; one may set a member of the body

  // The request; it throws an error that has the `control` in which something is wrong.
  function request(way = ways[0]) {
    const made = requestOf(JSON.parse(form.dataset.sends));
    if (way.dataset.sets) put(made.body, way.dataset.sets, way.value);
    for (const control of controls()) {
      try {
        const value = valueOf(control);
        if (value !== undefined) put(made.body, control.dataset.pointer, value);
      } catch (error) {
        const said = control.dataset.kind === "json" ? `This is not JSON: ${error.message}` : error.message;
        throw Object.assign(new Error(said), { control });
      }
    }
    if (isForm()) for (const group of $$("fieldset[data-needed]", form)) put(made.body, group.dataset.group, {});
    made.headers = Object.fromEntries($$("[data-header]", form).filter((each) => each.value.trim()).map((each) => [each.dataset.header, each.value.trim()]));
    return made;
  }

  function show() {
    try { $("#line").replaceChildren(code(curl(request()))); } catch { /* it is said when it is sent */ }
  }

  // What is wrong -----------------------------------------------------------------------------------------------------

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
    const places = [...controls(), ...(isForm() ? $$("fieldset[data-group]", form) : [])];
    for (let at = pointer; at; at = at.slice(0, at.lastIndexOf("/"))) {
      const found = places.find((place) => (place.dataset.pointer ?? place.dataset.group) === at);
      if (found) return found;
    }
    return undefined;
  }

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

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    forgetAll();
    let made;
    try { made = request(event.submitter || undefined); } catch (error) {
      if (!error.control) throw error;
      tell(error.control, error.message);
      error.control.focus();
      return;
    }
    if (event.submitter) press(event.submitter);
    for (const way of ways) way.disabled = true;
    try {
      const answer = await send(made);
      if (answer.ok) sent(answer.content, made);
      else refused(answer);
    } catch {
      toast("bad", away, made);
    } finally {
      for (const way of ways) way.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => { // in a field Enter would press the first of several buttons
    if (event.key === "Enter" && ways.length > 1 && event.target.matches("input, select")) event.preventDefault();
  });
  form.addEventListener("input", (event) => {
    forget(event.target);
    show();
  });

  // The form and its JSON: whoever goes back finds the form as it was left.
  $("#as-json")?.addEventListener("click", (event) => {
    const toJson = json.hidden;
    if (toJson) {
      try { written.value = JSON.stringify(request().body[written.dataset.pointer.slice(1)], null, 2); } catch { /* as far as it was written before */ }
    }
    json.hidden = !toJson;
    fields.hidden = fields.disabled = toJson;
    event.target.textContent = toJson ? "As a form" : "As JSON";
    forgetAll();
    show();
    (toJson ? written : $("input, select, textarea", fields))?.focus();
  });

  show();
}
