// Requests of the API: put together from an action, shown as a curl line, sent.

import { address } from "./dom.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// JSON that somebody wrote. Its numbers are sent as they stand there: read and written again `1.0` would be another one, and
// `1e999` would be null instead of refused.
export const readJson = (text) => JSON.parse(text, (_, value, { source } = {}) =>
  (typeof value === "number" && source !== undefined && source !== String(value) && JSON.rawJSON ? JSON.rawJSON(source) : value));

// `action` is what `actions.py` made of an `Action`, or any {method, path, query, body}; `values` are those of its fields.
export function requestOf(action, values = {}) {
  const query = new URLSearchParams(action.query || {});
  let body = action.body ? { ...action.body } : null;
  for (const field of action.fields || []) {
    const value = values[field.name];
    if (value === undefined || value === "" || value === false) continue;
    if (field.place === "query") query.set(field.name, String(value));
    else if (field.place === "whole") body = value;
    else if (field.within) body = { ...body, [field.within]: { ...body?.[field.within], [field.name]: value } };
    else body = { ...body, [field.name]: value };
  }
  const headers = action.if_match ? { "If-Match": `"${action.if_match}"` } : {};
  return { method: action.method, url: address(action.path) + (query.size ? `?${query}` : ""), body, headers };
}

export function curl({ method, url, body, headers = {} }) {
  const parts = ["curl"];
  if (method !== "GET") parts.push("-X", method);
  parts.push(quoted(url));
  if (document.body.dataset.keys === "yes") parts.push('-H "Authorization: Bearer $WORKFLOW_TOKEN"');
  for (const [name, value] of Object.entries(headers)) parts.push("-H", quoted(`${name}: ${value}`));
  if (body !== null) parts.push("-H 'Content-Type: application/json'", "-d", quoted(JSON.stringify(body)));
  return parts.join(" ");
}

// What the API answered; it throws when nothing did.
export async function send({ method, url, body, headers: more = {} }) {
  const headers = { ...more, "X-Requested-With": "workflow-engine", ...(body === null ? {} : { "Content-Type": "application/json" }) };
  const answer = await fetch(url, { method, headers, body: body === null ? undefined : JSON.stringify(body) });
  let content = null;
  try { content = await answer.json(); } catch { /* an answer without a body */ }
  return { ok: answer.ok, status: answer.status, content: content || {} };
}

// A text with members of an answer in it: numbers and times as people read them.
export const filled = (text, content) => text.replace(/\{(\w+)\}/g, (_, name) => shown(content[name] ?? "–"));
function shown(value) {
  if (typeof value === "number") return value.toLocaleString("en");
  const [, day, time] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*Z$/.exec(value) || [];
  return day ? `${day} ${time} UTC` : value;
}

// A request of many things, page by page; the numbers of all pages together. When a page is refused or not answered, that
// answer, with the number of things that were done before as `before`. `told(sum)` is called when there is more to do.
export async function sendAll(request, told) {
  const sum = { done: 0, unchanged: 0, refused: 0 };
  for (let next = request; next;) {
    const answer = await send(next).catch((error) => {
      if (!sum.done) throw error;
      return { ok: false, content: { detail: "The engine does not answer any more." } };
    });
    if (!answer.ok) return { ...answer, before: sum.done };
    for (const name of Object.keys(sum)) sum[name] += answer.content[name];
    next = answer.content.next ? { ...request, url: address(answer.content.next) } : null;
    if (next) told(sum);
  }
  return { ok: true, content: sum };
}
