// Rows of a list: ticked, and gone through.

import { $, $$ } from "./dom.js";

export const selected = () => $$("input[name=id]:checked");

export function untick() {
  for (const box of selected()) box.checked = false;
  showSelection();
}

export function showSelection() {
  const count = selected().length;
  for (const element of $$("[data-selected]")) element.disabled = !count;
  for (const element of $$("[data-selected-count]")) element.textContent = count ? `${count} selected; the list waits` : "";
  const all = $("#select-all");
  if (all) {
    all.checked = count > 0 && count === $$("input[name=id]").length;
    all.indeterminate = count > 0 && !all.checked;
  }
}

export function stepRows(by) {
  const rows = $$("table[data-rows] tbody tr").filter((row) => $("a[href]", row));
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.classList.contains("at"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + by))];
  rows[now]?.classList.remove("at");
  next.classList.add("at");
  next.scrollIntoView({ block: "nearest" });
  document.activeElement?.blur?.();
}

export const tickRow = () => $("tr.at input[type=checkbox]")?.click();

export function openRow() {
  const link = $("tr.at a[href]");
  if (link) location.assign(link.href);
}
