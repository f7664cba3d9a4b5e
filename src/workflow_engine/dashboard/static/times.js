// Times: how long ago, kept right, or the time itself, in UTC or local; whatever is not shown is told when it is
// pointed at.

import { $, $$, onEachPart, remember, remembered } from "./dom.js";

const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
const NEAR = 2000; // ms by which clocks may differ unnoticed
const WAYS = { ago: "ago", utc: "UTC", here: "local" };

let ahead = 0; // ms by which the server's clock is ahead of ours
let way = remembered("times") in WAYS ? remembered("times") : "ago";

export function lasting(seconds) {
  const whole = Math.round(seconds);
  for (const [size, unit, below, small] of UNITS) {
    if (whole >= size) {
      const rest = Math.floor((whole % size) / below);
      return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${small}` : `${Math.floor(whole / size)} ${unit}`;
    }
  }
  return `${whole} s`;
}

// `date` is the header of an answer, which has whole seconds.
export function serverSaysItIs(date) {
  const differs = Date.parse(date) + 500 - Date.now();
  if (!Number.isNaN(differs)) ahead = Math.abs(differs) < NEAR ? 0 : differs;
}

const secondsSince = (at) => (Date.now() + ahead - at) / 1000;
function relative(at) {
  const seconds = secondsSince(at);
  return seconds >= -0.5 ? `${lasting(Math.max(seconds, 0))} ago` : `in ${lasting(-seconds)}`;
}
const utc = (at) => new Date(at).toISOString().replace("T", " ");
const here = (at) => utc(at - new Date(at).getTimezoneOffset() * 60_000).slice(0, -1);
const second = (text) => text.replace(/\.\d+/, "");

function shown(element, at) {
  if (element.classList.contains("so-far")) return lasting(Math.max(secondsSince(at) - (Number(element.dataset.idle) || 0), 0));
  if (element.classList.contains("clock")) return (way === "here" ? here(at) : utc(at)).slice(11, 23);
  return way === "ago" ? relative(at) : second(way === "utc" ? utc(at) : here(at));
}

export function tick() {
  for (const element of $$("time[datetime]")) {
    const at = Date.parse(element.dateTime);
    const text = shown(element, at);
    if (element.textContent !== text) element.textContent = text;
  }
}

// What is pointed at tells all three.
export function explainTime(element) {
  const at = Date.parse(element.dateTime);
  element.title = `${second(utc(at)).replace("Z", " UTC")}\n${second(here(at))} local\n${relative(at)}`;
}

function show() {
  $("#clock .way").textContent = WAYS[way];
  nameZone(document);
  tick();
}

function nameZone(root) {
  for (const zone of $$("[data-zone]", root)) zone.textContent = way === "here" ? "local" : "UTC";
}

export function turnTimes() {
  const ways = Object.keys(WAYS);
  way = ways[(ways.indexOf(way) + 1) % ways.length];
  remember("times", way);
  show();
}

export function beginTimes() {
  onEachPart(nameZone);
  show();
  setInterval(tick, 1000);
}
