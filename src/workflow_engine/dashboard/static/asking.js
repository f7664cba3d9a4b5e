// A dialog that asks what has to be asked before an action, and shows the request while it is put together.

import { $, make, remember, remembered } from "./dom.js";
import { durationOf } from "./durations.js";
import { regain } from "./focus.js";
import { code } from "./notes.js";
import { forget, forgetAll, tell, tellRefusal } from "./refusals.js";
import { curl, readJson, requestOf } from "./requests.js";
import { countOf, trialOf } from "./trials.js";

const PAUSE_MS = 300; // after which it is asked what would be done with what was put in

// `go(values, dialog)` is called with what was put in, unless it is left; `dialog.close()` ends it, and `dialog.tells(answer)`
// says in it why the API refused, so that it can be mended: false, if it is no longer there.
export function askFor(action, go) {
  const dialog = $("#asking");
  const inputs = new Map((action.fields || []).map((field) => [field, inputOf(field)]));
  const line = make("div", {});
  const about = make("p", { class: "note bad", role: "alert", hidden: true });
  const would = action.of_many || action.trial ? make("p", { class: "would", role: "status" }, action.of_many ? "Counting …" : "") : null;
  let possible = !action.of_many; // by what is said there: nothing is done to many before it is said to how many
  let written = true; // by what was put in
  let sending = false;
  const no = make("button", { type: "button", class: "button" }, "Go back"); // none that Enter in a field would press
  no.onclick = () => dialog.close();
  const yes = make("button", { class: `button main${action.destroys ? " danger" : ""}`, value: "go" }, action.label);
  const enable = () => { yes.disabled = sending || !written || !possible; };
  const show = () => {
    try {
      line.replaceChildren(code(curl(requestOf(action, valuesOf(inputs)))));
      written = true;
    } catch (error) {
      if (!error.input) throw error;
      forget(error.input);
      tell(error.input, error.message);
      written = false;
    }
    enable();
  };
  const form = make("form", { method: "dialog" },
    make("h2", { id: "asking-title" }, action.label), make("p", { class: "question" }, action.ask), action.of_many ? would : null,
    ...[...inputs].map(([field, input]) => asked(field, input)), action.of_many ? null : would, about, line,
    make("div", { class: "actions" }, no, yes));
  let asking = 0;
  const foretell = async (said) => {
    const own = (asking += 1);
    const { text, possible: is } = await said();
    if (own !== asking) return; // something else was put in meanwhile
    would.textContent = text;
    possible = is;
    enable();
  };
  let timer = 0;
  form.addEventListener("input", (event) => {
    forget(event.target);
    about.hidden = true;
    show();
    clearTimeout(timer);
    if (action.trial) timer = setTimeout(() => written && form.checkValidity() && foretell(() => trialOf(action, valuesOf(inputs))), PAUSE_MS);
  });
  const isThere = () => dialog.open && form.isConnected;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const focused = document.activeElement;
    forgetAll(form, about);
    for (const [field, input] of inputs) if (field.kept) remember(`asked-${field.name}`, input.value);
    sending = true;
    enable();
    let first;
    await go(valuesOf(inputs), {
      close() { if (isThere()) dialog.close(); },
      tells(answer) {
        if (isThere()) first = tellRefusal(answer, [...inputs.values()], about);
        return isThere();
      },
    });
    sending = false;
    enable();
    if (isThere()) (first || focused).focus();
  };
  dialog.onclose = regain; // the button may have come anew meanwhile
  dialog.replaceChildren(form);
  show();
  dialog.showModal();
  ([...inputs.values()][0] || (possible ? yes : no)).focus();
  if (action.of_many) foretell(() => countOf(action));
}

// It throws an error that has the `input` in which something is wrong.
function valuesOf(inputs) {
  const values = {};
  for (const [field, input] of inputs) {
    if (field.kind === "flag") values[field.name] = input.checked;
    else if (input.value === "") continue;
    else if (field.kind === "json") {
      try { values[field.name] = readJson(input.value); } catch (error) {
        throw Object.assign(new Error(`This is not JSON: ${error.message}`), { input });
      }
    } else if (field.kind === "number") values[field.name] = Number(input.value);
    else values[field.name] = field.kind === "duration" ? durationOf(input.value) : input.value;
  }
  return values;
}

function inputOf(field) {
  const common = { id: `asked-${field.name}`, name: field.name, required: field.required, placeholder: field.hint, ...pointing(field) };
  let input;
  if (field.kind === "choice") {
    input = make("select", common, ...field.options.map(([value, label]) => make("option", { value }, label)));
  } else if (field.kind === "json") input = make("textarea", { ...common, spellcheck: "false" });
  else if (field.kind === "lines") input = make("textarea", { ...common, class: "lines" });
  else if (field.kind === "flag") input = make("input", { ...common, type: "checkbox" });
  else input = make("input", { ...common, type: field.kind === "number" ? "number" : "text", autocomplete: "off", step: field.kind === "number" ? "any" : null });
  const value = field.value || (field.kept && remembered(common.id));
  if (field.kind !== "flag" && value) input.value = value;
  return input;
}

// Where the API names it, when something is wrong with it.
function pointing({ name, place, within }) {
  if (place === "query") return { "data-parameter": name };
  return { "data-pointer": place === "whole" ? "" : within ? `/${within}/${name}` : `/${name}` };
}

function asked(field, input) {
  const label = make("label", { for: input.id }, field.label);
  const wrong = make("span", { class: "wrong", role: "alert", hidden: true });
  return field.kind === "flag" ? make("div", { class: "asked flag" }, input, label, wrong)
    : make("div", { class: "asked" }, label, input, field.help ? make("span", { class: "help" }, field.help) : null, wrong);
}
