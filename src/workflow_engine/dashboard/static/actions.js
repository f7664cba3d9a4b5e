// Actions: a button sends a request of the API in the reader's name, and what came of it is said.

import { address } from "./dom.js";
import { askFor } from "./asking.js";
import { press } from "./focus.js";
import { lookAnew } from "./live.js";
import { progress, toast } from "./notes.js";
import { filled, readJson, requestOf, send, sendAll } from "./requests.js";
import { selected, untick } from "./rows.js";

// Whether it was done; what was done, or why not, has been said.
export async function perform(action, values, button = null) {
  const request = requestOf(action, values);
  if (button) button.disabled = true;
  const working = progress();
  try {
    const answer = action.of_many ? await sendAll(request, ({ done, refused }) => {
      working.say(`${action.label}: ${(done + refused).toLocaleString("en")} so far …`);
      lookAnew();
    }) : await send(request);
    if (answer.ok) {
      toast("good", filled(action.done, answer.content), request);
      if (action.goes_to) location.assign(address(filled(action.goes_to, answer.content)));
    } else {
      const { detail, hint, errors } = answer.content;
      const places = (errors || []).map((fault) => fault.message).filter((message) => !detail?.includes(message));
      const before = answer.before ? filled("Done to {before} before that, and not to all.", answer) : "";
      toast("bad", [detail || `The engine answered ${answer.status}.`, ...places, hint, before].filter(Boolean).join(" "), request);
    }
    return answer.ok;
  } catch {
    toast("bad", "The engine does not answer. It is not known whether anything has changed.", request);
    return false;
  } finally {
    working.end();
    if (button) button.disabled = false;
    lookAnew();
  }
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
  const go = async (values, pressed) => {
    if (await perform(action, values, pressed) && button.dataset.selected !== undefined) untick();
  };
  if (action.ask) askFor(action, (values) => go(values));
  else go({}, button);
}
