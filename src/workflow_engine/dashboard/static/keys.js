// Keys. The dialog of `?` in base.html, and the table of docs/dashboard.md, tell of each.

import { copyCommand } from "./commands.js";
import { $, $$, remember } from "./dom.js";
import { turnLive } from "./live.js";
import { openRow, stepRows, tickRow } from "./rows.js";
import { turnTimes } from "./times.js";

const AFTER_G_MS = 1500; // for which a letter after `g` leads to a page

let gone = false; // whether `g` was pressed just before

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
  g: () => { gone = true; setTimeout(() => { gone = false; }, AFTER_G_MS); },
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

export function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && document.activeElement?.id === "find") { document.activeElement.blur(); return; }
  if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
  if (gone) {
    gone = false;
    const entry = $$("nav a[data-key]").find((link) => link.dataset.key === event.key);
    if (entry) { event.preventDefault(); location.assign(entry.href); }
    return;
  }
  const does = DOES[event.key];
  if (does) { event.preventDefault(); does(); } else if (event.key === "Enter" && document.activeElement === document.body) openRow();
}
