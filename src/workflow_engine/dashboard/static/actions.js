// Actions: a button sends a request of the API in the reader's name, and what came of it is said.

import { address } from "./dom.js";
import { askFor } from "./asking.js";
import { press } from "./focus.js";
import { lookAnew } from "./live.js";
import { progress, toast } from "./notes.js";
import { refusalOf } from "./refusals.js";
import { filled, readJson, requestOf, send, sendAll } from "./requests.js";
import { selected, untick } from "./rows.js";

const AWAY = { ok: false, content: { detail: "The engine does not answer. It is not known whether anything has changed." } };

// Whether it was done. What was done is said in the corner, and why not, too, unless the `dialog` that asked is still there:
// then that says it, and stays.
export async function perform(action, values, { button = null, dialog = null } = {}) {
  const request = requestOf(action, values);
  if (button) button.disabled = true;
  const working = progress();
  const answer = await (action.of_many ? sendAll(request, ({ done, refused }) => {
    dialog?.close();
    working.say(`${action.label}: ${(done + refused).toLocaleString("en")} so far …`);
    lookAnew();
  }) : send(request)).catch(() => AWAY);
  working.end();
  if (button) button.disabled = false;
  if (answer.ok) {
    dialog?.close();
    toast("good", filled(action.done, answer.content), request);
    if (action.goes_to) location.assign(address(filled(action.goes_to, answer.content)));
  } else if (!dialog?.tells(answer)) toast("bad", refusalOf(answer), request);
  lookAnew();
  return answer.ok;
}

// What a button is about; null, if it is about what is ticked and nothing is.
export function actionOf(button) {
  const action = readJson(button.dataset.action ?? button.dataset.edit);
  if (button.dataset.selected === undefined) return action;
  const ids = selected().map((box) => box.value);
  if (!ids.length) return null;
  return { ...action, body: { ...action.body, ids }, ask: action.ask?.replace("{selected}", `${ids.length} selected ${action.things[ids.length === 1 ? 0 : 1]}`) };
}

export function act(button) {
  const action = actionOf(button);
  if (!action) return;
  press(button);
  const go = async (values, by) => {
    if (await perform(action, values, by) && button.dataset.selected !== undefined) untick();
  };
  if (action.ask) askFor(action, (values, dialog) => go(values, { dialog }));
  else go({}, { button });
}
