// A value that is changed where it stands: a click makes a field of it, Enter sends it, Escape leaves it as it was. When
// somebody else has changed it meanwhile, it is said who did what, and nothing is done before the reader says so again.

import { make } from "./dom.js";
import { durationOf } from "./durations.js";
import { lookAnew } from "./live.js";
import { toast } from "./notes.js";
import { requestOf, send } from "./requests.js";

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.editable");
  if (button) begin(button);
});

function begin(button) {
  const action = JSON.parse(button.dataset.edit);
  const [field] = action.fields;
  const input = make("input", {
    name: field.name, type: field.kind === "number" ? "number" : "text", value: field.value, autocomplete: "off", spellcheck: "false",
    "aria-label": field.label, title: field.help, placeholder: field.value ? null : button.textContent,
    step: field.kind === "number" ? 1 : null, min: field.kind === "number" ? 1 : null,
  });
  const hint = field.hint ? make("span", { class: "help" }, field.hint) : null;
  const save = make("button", { class: "button small main" }, "Save");
  const leave = make("button", { type: "button", class: "button small" }, "Discard");
  const said = make("p", { class: "said", role: "alert", hidden: true });
  const form = make("form", { class: "editing" }, input, hint, save, leave, said); // what is around it is not replaced meanwhile
  const end = () => {
    form.replaceWith(button);
    button.focus({ preventScroll: true });
    lookAnew();
  };
  const tell = (text) => { said.textContent = text; said.hidden = false; };
  leave.onclick = end;
  form.onkeydown = (event) => { if (event.key === "Escape") end(); };
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (input.value === field.value && said.hidden) return end();
    save.disabled = true;
    try {
      const request = requestOf(action, { [field.name]: valueOf(field, input.value) });
      const answer = await send(request);
      const { detail, errors } = answer.content;
      if (answer.ok) {
        toast("good", action.done, request);
        end();
      } else if (answer.status === 412 && action.if_match) {
        action.if_match = await stateOf(request);
        tell(detail);
        save.textContent = "Save mine";
        leave.textContent = "Keep theirs";
      } else tell((errors || []).map((fault) => fault.message).join(" ") || detail || `The engine answered ${answer.status}.`);
    } catch { tell("The engine does not answer. It is not known whether anything has changed."); } finally { save.disabled = false; }
  };
  button.replaceWith(form);
  input.focus();
  input.select();
}

function valueOf(field, text) {
  if (text === "") return field.blank === "null" ? null : "";
  if (field.kind === "duration") return durationOf(text);
  return field.kind === "number" ? Number(text) : text;
}

// Which state it is in now, for a request that is to change just that one.
async function stateOf({ url }) {
  return (await fetch(url, { headers: { Accept: "application/json" } })).headers.get("ETag")?.replaceAll('"', "");
}
