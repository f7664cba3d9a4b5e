// Live: the stream says that something has happened, the page is asked for again, and what is different is put in.

import { $, $$, decorate } from "./dom.js";
import { goTo, placeOf, regain } from "./focus.js";
import { serverSaysItIs, tick } from "./times.js";

const LEAST_GAP = 250; // ms between two looks at the page: four a second at most ...
const SHARE = 0.006; // ... and no more of the server's processor than this: with the stream less than 1 % of a core,
const AROUND = 2; // ms of it that a request takes beside the page
const MOST_GAP = 5000; // without a hint from the stream it looks so often
const PATIENCE = 15_000; // ms after which an engine that says nothing does not answer
const GONE = [401, 403, 404]; // answers that say so of a page that was there

let stream = null;
let looking = false;
let wanted = false;
let lookedAt = 0;
let gap = LEAST_GAP;
let timer = 0;
let pressed = false;
let anew = false; // something was done here: until it was seen, the server is not to show what it remembers
let urgent = false; // and the next look does not wait for its turn
const served = new Map(); // what the server sent last for each part of the page

const isLive = () => $("#live").getAttribute("aria-pressed") === "true";
const withoutTimes = (html) => html.replace(/(<time[^>]*>)[^<]*/g, "$1");

function look(soon = false) {
  wanted = true;
  urgent ||= soon;
  if (looking) return;
  clearTimeout(timer);
  timer = setTimeout(ask, urgent ? 0 : Math.max(0, lookedAt + gap - Date.now()));
}

// After something was done here: what is shown is to be what came of it.
export function lookAnew() {
  follow();
  anew = true;
  look(true);
}

async function ask() {
  if (document.hidden) return; // whoever comes back looks at once
  if (pressed) { timer = setTimeout(ask, LEAST_GAP); return; }
  looking = true;
  wanted = urgent = false;
  const done = anew;
  const cache = done ? "reload" : "default";
  anew = false;
  const leaving = new AbortController();
  const late = setTimeout(() => leaving.abort(), PATIENCE);
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache, signal: leaving.signal });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const cost = /dur=([\d.]+)/.exec(answer.headers.get("Server-Timing") || "");
    gap = Math.min(MOST_GAP, Math.max(LEAST_GAP, cost ? (Number(cost[1]) + AROUND) / SHARE : MOST_GAP));
    serverSaysItIs(answer.headers.get("Date"));
    // Another page by now: it was found or let in, or is no longer. What a proxy says for a while is no page.
    if (answer.ok ? $("#error") : GONE.includes(answer.status) && !$("#error")) { location.reload(); return; }
    const shown = answer.ok || answer.status === 422; // that filters are wrong is said on a page, too
    if (cache === "default" && !isLive()) return; // the page was to stay as it is meanwhile
    if (shown) swap(page, cache !== "default");
    if (shown && !page.body.dataset.stream !== !document.body.dataset.stream) { // it has ended, or goes on again
      document.body.dataset.stream = page.body.dataset.stream;
      follow();
    }
    anew ||= done && !shown && !GONE.includes(answer.status);
    told(shown, $("#error strong", page)?.textContent);
  } catch {
    anew ||= done;
    told(false);
    gap = MOST_GAP;
  } finally {
    clearTimeout(late);
    looking = false;
    lookedAt = Date.now();
    clearTimeout(timer);
    if (wanted) look();
    else if (isLive() || anew) timer = setTimeout(ask, MOST_GAP);
  }
}

function told(well, why) {
  $("#live").classList.toggle("broken", !well);
  const said = well ? "" : `${why || "The engine does not answer."} This page shows what it said last.`;
  if ($("#seen").textContent !== said) $("#seen").textContent = said;
}

// `done`: something was done here, and what came of it is to be seen.
function swap(page, done) {
  document.title = page.title;
  for (const part of $$("[data-live][id]")) {
    const fresh = page.getElementById(part.id);
    if (!fresh) continue;
    const html = withoutTimes(fresh.innerHTML);
    if (served.get(part.id) === html) continue;
    if ($(".editing", part)) continue; // somebody is about to change it
    if (!done && $("input[name=id]:checked", part)) continue; // somebody chooses rows: they are not to move, or be gone
    const selection = getSelection();
    if (!done && !selection.isCollapsed && part.contains(selection.anchorNode)) continue; // somebody is about to copy it
    served.set(part.id, html);
    replace(part, fresh);
  }
  if (done) regain();
  tick();
}

function replace(part, fresh) {
  const focused = part.contains(document.activeElement) ? placeOf(document.activeElement) : null;
  const checked = new Set($$("input[type=checkbox]:checked", part).map((box) => box.value));
  const open = new Set($$("details[open][id]", part).map((details) => details.id));
  const at = $("tr.at a[href]", part)?.getAttribute("href");
  const scrolled = $$(".drawing, .wide, pre", part).map((box) => [box.scrollLeft, box.scrollTop]);
  part.replaceChildren(...fresh.childNodes);
  for (const box of $$("input[type=checkbox]", part)) box.checked = checked.has(box.value);
  for (const details of $$("details[id]", part)) details.open ||= open.has(details.id);
  if (at) $$("tr", part).find((row) => $(`a[href="${CSS.escape(at)}"]`, row))?.classList.add("at");
  $$(".drawing, .wide, pre", part).forEach((box, n) => { if (scrolled[n]) [box.scrollLeft, box.scrollTop] = scrolled[n]; });
  if (focused) goTo(focused);
  decorate(part);
}

function follow() {
  stream?.close();
  stream = null;
  const where = document.body.dataset.stream;
  if (!where || !isLive() || document.hidden) return;
  const own = stream = new EventSource(new URL(where, location.href));
  own.onopen = () => { if ($("#live").classList.contains("broken")) look(true); };
  own.onerror = () => { if (own.readyState === EventSource.CLOSED) setTimeout(() => own === stream && follow(), MOST_GAP); };
  own.addEventListener("end", () => { own.close(); look(); });
  own.onmessage = () => look();
}

export function turnLive() {
  if ($("#live").hidden) return; // of what is wrong there is nothing to follow
  const now = !isLive();
  $("#live").setAttribute("aria-pressed", String(now));
  $("#live .word").textContent = now ? "Live" : "Live off";
  clearTimeout(timer);
  follow();
  if (now) look(true);
}

export function beginLive() {
  for (const part of $$("[data-live][id]")) served.set(part.id, withoutTimes(part.innerHTML));
  $("#live").onclick = turnLive;
  document.addEventListener("pointerdown", (event) => { pressed = event.button === 0; }); // of a menu nobody hears the end
  document.addEventListener("pointerup", () => { pressed = false; });
  document.addEventListener("pointercancel", () => { pressed = false; });
  document.addEventListener("visibilitychange", () => {
    follow();
    if (!document.hidden && (isLive() || anew)) look(true);
  });
  lookedAt = Date.now();
  follow();
  if (isLive()) timer = setTimeout(ask, MOST_GAP);
}
