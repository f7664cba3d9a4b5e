// Forms whose fields have pointers: they put the body of a request together, and say at each field what the API finds wrong
// with it. What has no field of its own is written as JSON. A page has one of them, made by `form_macros.html`.

import { $, $$ } from "./dom.js";
import { press } from "./focus.js";
import { code, toast } from "./notes.js";
import { forget, forgetAll, tell, tellRefusal } from "./refusals.js";
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

// `sent(content, request)` is called with what the API has answered; `away` is said when it does not answer.
export function beginForm(form, { sent, away }) {
  const fields = $("#fields"); // none where nobody says what there is to put in
  const json = $("#json"); // the same as JSON
  const written = json && $("textarea", json);
  const about = $("#wrong"); // says what belongs to no field
  const isForm = () => fields && !fields.disabled;
  const controls = () => $$("[data-pointer]", form).filter((control) => !control.closest("[hidden], :disabled"));
  const ways = $$("button:not([type=button])", form); // to send it; one may set a member of the body
  const ofForm = (control) => control.dataset.only === undefined && Boolean(fields?.contains(control) || control === written);
  let begun = false; // somebody has put something into the form

  // The request; it throws an error that has the `control` in which something is wrong. A way that does not need the form
  // (`formnovalidate`) leaves it out while it is as it was; a control may be for one way only.
  function request(way = ways[0]) {
    const made = requestOf(JSON.parse(form.dataset.sends));
    const isWanted = begun || !way.formNoValidate;
    if (way.dataset.sets) put(made.body, way.dataset.sets, way.value);
    for (const control of controls()) {
      if ((ofForm(control) && !isWanted) || ![undefined, way.value].includes(control.dataset.only)) continue;
      try {
        const value = valueOf(control);
        if (value !== undefined) put(made.body, control.dataset.pointer, value);
      } catch (error) {
        const said = control.dataset.kind === "json" ? `This is not JSON: ${error.message}` : error.message;
        throw Object.assign(new Error(said), { control });
      }
    }
    if (isForm()) for (const group of isWanted ? $$("fieldset[data-needed]", form) : [fields]) put(made.body, group.dataset.group, {});
    made.headers = Object.fromEntries($$("[data-header]", form).filter((each) => each.value.trim()).map((each) => [each.dataset.header, each.value.trim()]));
    return made;
  }

  function show() {
    try { $("#line").replaceChildren(code(curl(request()))); } catch { /* it is said when it is sent */ }
  }

  function refused(answer) {
    const places = [...controls(), ...(isForm() ? $$("fieldset[data-group]", form) : [])];
    const first = tellRefusal(answer, places, about);
    (first?.matches("fieldset") ? $("input, select, textarea", first) : first)?.focus();
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    forgetAll(form, about);
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
    begun ||= ofForm(event.target);
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
    forgetAll(form, about);
    show();
    (toJson ? written : $("input, select, textarea", fields))?.focus();
  });

  show();
}
