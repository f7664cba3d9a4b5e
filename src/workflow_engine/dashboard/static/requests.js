// Requests of the API: put together from an action, shown as a curl line, sent.

import { address } from "./dom.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// `action` is what `actions.py` made of an `Action`, or any {method, path, query, body}; `values` are those of its fields.
export function requestOf(action, values = {}) {
  const query = new URLSearchParams(action.query || {});
  let body = action.body ? structuredClone(action.body) : null;
  for (const field of action.fields || []) {
    const value = values[field.name];
    if (value === undefined || value === "" || value === false) continue;
    if (field.place === "query") query.set(field.name, String(value));
    else if (field.place === "whole") body = value;
    else if (field.within) ((body ??= {})[field.within] ??= {})[field.name] = value;
    else (body ??= {})[field.name] = value;
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

// A request of many things, page by page; the numbers of all pages together, or the first that was refused.
export async function sendAll(request) {
  const sum = { done: 0, unchanged: 0, refused: 0 };
  for (let next = request; next;) {
    const answer = await send(next);
    if (!answer.ok) return answer;
    for (const name of Object.keys(sum)) sum[name] += answer.content[name];
    next = answer.content.next ? { ...request, url: address(answer.content.next) } : null;
  }
  return { ok: true, content: sum };
}
