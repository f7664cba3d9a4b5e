// A dialog that asks what has to be asked before an action, and shows the request while it is put together.

import { $, make } from "./dom.js";
import { code } from "./notes.js";
import { curl, requestOf, send } from "./requests.js";

// `go(values)` is called with what was put in, unless it is left.
export function askFor(action, go) {
  const dialog = $("#asking");
  const inputs = new Map((action.fields || []).map((field) => [field, inputOf(field)]));
  const line = make("div", {});
  const wrong = make("p", { class: "note bad", role: "alert", hidden: true });
  const would = action.of_many ? make("p", { class: "would", role: "status" }, "Counting …") : null;
  const yes = make("button", { class: `button main${action.destroys ? " danger" : ""}`, value: "go" }, action.label);
  const show = () => {
    try { line.replaceChildren(code(curl(requestOf(action, valuesOf(inputs))))); wrong.hidden = true; yes.disabled = false; } catch (error) {
      wrong.textContent = `This is no JSON: ${error.message}`;
      wrong.hidden = false;
      yes.disabled = true;
    }
  };
  const form = make("form", { method: "dialog" },
    make("h2", { id: "asking-title" }, action.label), make("p", {}, action.ask), would,
    ...[...inputs].map(([field, input]) => asked(field, input)), wrong, line,
    make("div", { class: "actions" }, make("button", { class: "button", value: "no", formnovalidate: true }, "Leave it"), yes));
  form.addEventListener("input", show);
  form.onsubmit = (event) => {
    if (event.submitter?.value === "no") return;
    event.preventDefault();
    const values = valuesOf(inputs);
    dialog.close();
    go(values);
  };
  dialog.replaceChildren(form);
  show();
  dialog.showModal();
  ([...inputs.values()][0] || yes).focus();
  if (would) count(action, would, yes);
}

function valuesOf(inputs) {
  const values = {};
  for (const [field, input] of inputs) {
    if (field.kind === "flag") values[field.name] = input.checked;
    else if (input.value === "") continue;
    else if (field.kind === "json") values[field.name] = JSON.parse(input.value);
    else if (field.kind === "number") values[field.name] = Number(input.value);
    else values[field.name] = input.value;
  }
  return values;
}

function inputOf(field) {
  const common = { id: `asked-${field.name}`, name: field.name };
  let input;
  if (field.kind === "choice") {
    input = make("select", common, ...field.options.map(([value, label]) => make("option", { value }, label)));
  } else if (field.kind === "json") input = make("textarea", { ...common, spellcheck: "false" });
  else if (field.kind === "flag") input = make("input", { ...common, type: "checkbox" });
  else input = make("input", { ...common, type: field.kind, autocomplete: "off", step: field.kind === "number" ? "any" : null });
  if (field.kind !== "flag" && field.value) input.value = field.value;
  return input;
}

const asked = (field, input) => field.kind === "flag"
  ? make("div", { class: "asked flag" }, input, make("label", { for: input.id }, field.label))
  : make("div", { class: "asked" }, make("label", { for: input.id }, field.label), input,
    field.help ? make("span", { class: "help" }, field.help) : null);

async function count(action, would, yes) {
  const request = requestOf({ ...action, query: { ...action.query, dry_run: "true", limit: "1000" } });
  try {
    const { ok, content } = await send(request);
    const some = content.next ? " of the newest 1,000, and more after those" : "";
    would.textContent = ok ? `${content.done.toLocaleString("en")} workflow${content.done === 1 ? "" : "s"}${some}`
      + (content.refused ? `; ${content.refused.toLocaleString("en")} cannot be` : "") : content.detail;
    yes.disabled = !ok || content.done === 0;
  } catch { would.textContent = "The engine does not answer."; }
}
