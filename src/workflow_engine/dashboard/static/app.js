// What pages do in the browser: they follow what happens, send actions to the API, and obey keys. Everything that is
// shown is made by the server; without this script pages can be read all the same. A page that needs more has a module of
// its own and names it in its block `scripts`.

import { act } from "./actions.js";
import { listCommands } from "./commands.js";
import { $, $$, address, decorate, onEachPart } from "./dom.js";
import { beginKeys, turnTheme } from "./keys.js";
import { beginLive } from "./live.js";
import { copied } from "./notes.js";
import { curl, requestOf } from "./requests.js";
import { showSelection } from "./rows.js";
import { beginTimes, explainTime, turnTimes } from "./times.js";

onEachPart((root) => {
  for (const element of $$("[data-request]", root)) element.textContent = curl(requestOf(JSON.parse(element.dataset.request)));
  for (const element of $$("[data-command]", root)) { // commands are written for the runbook's address
    element.textContent = element.textContent.replaceAll("http://localhost:3003/", address("/"));
  }
  showSelection();
});

beginLive();
decorate(document);
beginTimes();
beginKeys();
$("#clock").onclick = turnTimes;
$("#theme").onclick = turnTheme;
$("#help").onclick = () => $("#keys").showModal();
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (button) act(button);
  const copy = event.target.closest("button[data-copy]");
  if (copy) copied(copy, $(copy.dataset.copy).textContent);
});
document.addEventListener("change", (event) => {
  if (event.target.id === "select-all") for (const box of $$("input[name=id]")) box.checked = event.target.checked;
  if (event.target.closest("[data-submit]")) event.target.form.requestSubmit();
  showSelection();
});
document.addEventListener("pointerover", (event) => {
  const time = event.target.closest("time[datetime]");
  if (time) explainTime(time);
});
$("#shell")?.addEventListener("toggle", listCommands);
for (const tab of $$(".tabs a[aria-current]")) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
