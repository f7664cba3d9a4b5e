// Actions as curl lines, without doing them: `c` on a button, and the list at the end of the page.

import { $, $$, make } from "./dom.js";
import { actionOf } from "./actions.js";
import { code, copyText, toast } from "./notes.js";
import { curl, readJson, requestOf } from "./requests.js";

// What is asked for before stands there as it would be sent if nothing were changed.
function lineOf(action) {
  const values = {};
  for (const field of action.fields || []) {
    if (!field.value) continue;
    values[field.name] = field.kind === "json" ? readJson(field.value) : field.kind === "number" ? Number(field.value) : field.value;
  }
  return curl(requestOf(action, values));
}

export async function copyCommand() {
  const button = document.activeElement?.closest("button[data-action], button[data-edit]");
  const action = button && actionOf(button);
  if (!action) return;
  const line = lineOf(action);
  await copyText(line, document.body);
  toast("good", `Copied: ${line}`);
}

// Of the page as a whole: those of rows are many and alike.
export function listCommands() {
  const list = $("#commands");
  if (!list) return;
  const buttons = $$("button[data-action]").filter((button) => !button.closest("tbody, li") && button.dataset.selected === undefined);
  const actions = new Map(buttons.map((button) => readJson(button.dataset.action)).map((action) => [action.label, action]));
  list.replaceChildren(...[...actions.values()].flatMap((action) => [make("p", {}, action.label), code(lineOf(action))]));
}
