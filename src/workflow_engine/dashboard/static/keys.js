// Keys. The dialog of `?` in base.html, and the table of docs/dashboard.md, tell of each.

import { copyCommand } from "./commands.js";
import { $, $$, remember, remembered } from "./dom.js";
import { turnLive } from "./live.js";
import { openRow, stepRows, tickRow } from "./rows.js";
import { turnTimes } from "./times.js";

const AFTER_G_MS = 1500; // for which a letter after `g` leads to a page

let wentAt = -Infinity; // when `g` was pressed: by the clock of events, which a busy page does not slow down

export function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
}

function turnTab(by) {
  const tabs = $$(".tabs a");
  const now = tabs.findIndex((tab) => tab.hasAttribute("aria-current"));
  const next = tabs[(now + by + tabs.length) % tabs.length];
  if (next) location.assign(next.href);
}

const DOES = {
  "/": () => $("#find").focus(),
  "?": () => $("#keys").showModal(),
  g: (event) => { wentAt = event.timeStamp; },
  c: copyCommand,
  r: turnLive,
  t: turnTheme,
  u: turnTimes,
  m: () => { if ($(".open-menu").checkVisibility()) $("#menu").togglePopover(); },
  j: () => stepRows(1),
  k: () => stepRows(-1),
  x: tickRow,
  "[": () => turnTab(-1),
  "]": () => turnTab(1),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && document.activeElement?.id === "find") { document.activeElement.blur(); return; }
  // What had the focus in a dialog that was just closed keeps it until the next frame, but it is the page that is meant.
  if ($("dialog[open]") || event.target.closest("input:not([type=checkbox]), textarea, select")?.checkVisibility()) return;
  if (event.key === "Enter") { if (document.activeElement === document.body) openRow(); return; }
  if (!$("#obey").checked) return;
  const gone = event.timeStamp - wentAt < AFTER_G_MS;
  wentAt = -Infinity;
  const entry = gone && $$("nav a[data-key]").find((link) => link.dataset.key === event.key);
  const does = entry ? () => location.assign(entry.href) : gone ? null : DOES[event.key];
  if (does) { event.preventDefault(); does(event); }
}

// Who dictates, or comes near keys without wanting to, does without them; `?` at the top of the page leads back to them.
export function beginKeys() {
  $("#obey").checked = remembered("keys") !== "off";
  $("#obey").onchange = ({ target }) => remember("keys", target.checked ? "on" : "off");
  document.addEventListener("keydown", onKey);
}
