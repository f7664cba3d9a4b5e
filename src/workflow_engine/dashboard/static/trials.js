// What an action would do, said before it is done.

import { filled, requestOf, send } from "./requests.js";

const MOST = 1000; // of which the API says at once what would become of them
const AWAY = { text: "The engine does not answer.", possible: false };

// Of an action on many things: how many there are. Like the next one: {text, possible}.
export async function countOf(action) {
  const request = requestOf({ ...action, query: { ...action.query, dry_run: "true", limit: String(MOST) } });
  try {
    const { ok, content } = await send(request);
    if (!ok) return { text: content.detail, possible: false };
    const all = content.done + content.unchanged + content.refused;
    const some = !content.next ? "" : all < MOST ? " so far, and not all were looked at" : " among the newest 1,000, and more beyond those";
    const refused = content.refused ? "; {refused} would be refused" : "";
    const text = filled(`{done} ${action.things[content.done === 1 ? 0 : 1]}${some}${refused}`, content);
    return { text, possible: content.done > 0 || Boolean(content.next) };
  } catch { return AWAY; }
}

// Of an action that can be tried out with what was put in.
export async function trialOf(action, values) {
  const { trial } = action;
  try {
    const { ok, content } = await send(requestOf({ ...action, method: "GET", path: trial.path, body: null }, values));
    if (!ok) return { text: content.detail, possible: false };
    return { text: filled(trial.says, content), possible: content[trial.counts] > 0 };
  } catch { return AWAY; }
}
