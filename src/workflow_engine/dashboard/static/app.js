"use strict";
// What pages do in the browser: they follow what happens, send actions to the API, and obey keys. Everything that is
// shown is made by the server; without this script pages can be read all the same.

(() => {
  const LEAST_GAP = 250; // ms between two looks at the page: four a second at most ...
  const SHARE = 0.01; // ... and no more of the server's processor than this
  const MOST_GAP = 5000; // without a hint from the stream it looks so often
  const GONE = [401, 403, 404]; // answers that say so of a page that was there
  const QUIET_MS = 8000; // for which it is shown what an action did

  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not allowed: then not */ } };
  const address = (path) => new URL(document.body.dataset.root + path.replace(/^\//, ""), location.href).href;

  // Light and dark: as the system is, until somebody chooses. Before anything is drawn, so that nothing flashes. ------

  const chosen = remembered("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
  function turnTheme() {
    const dark = document.documentElement.dataset.theme
      ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const next = dark ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    remember("theme", next);
  }

  // Times ------------------------------------------------------------------------------------------------------------

  const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]];
  function lasting(seconds) {
    const whole = Math.round(seconds);
    for (const [size, unit, below, small] of UNITS) {
      if (whole >= size) {
        const rest = Math.floor((whole % size) / below);
        return rest ? `${Math.floor(whole / size)} ${unit} ${rest} ${small}` : `${Math.floor(whole / size)} ${unit}`;
      }
    }
    return `${whole} s`;
  }
  let ahead = 0; // ms by which the server's clock is ahead of ours
  function tick() {
    const now = Date.now() + ahead;
    for (const element of $$("time[datetime]")) {
      const at = Date.parse(element.dateTime);
      const seconds = (now - at) / 1000;
      const shown = seconds >= -0.5 ? `${lasting(Math.max(seconds, 0))} ago` : `in ${lasting(-seconds)}`;
      if (element.textContent !== shown) element.textContent = shown;
      if (!element.dataset.told) {
        element.dataset.told = "yes";
        element.title = `${element.title}\n${new Date(at).toLocaleString()} here`;
      }
    }
  }

  // Live: the stream says that something has happened, and the page is asked for again. ----------------------------------

  let stream = null;
  let looking = false;
  let wanted = false;
  let lookedAt = 0;
  let gap = LEAST_GAP;
  let timer = 0;
  let pressed = false;
  let anew = false; // something was done here: the server is not to show what it remembers
  const served = new Map(); // what the server sent last for each part of the page
  const isLive = () => $("#live").getAttribute("aria-pressed") === "true";
  const withoutTimes = (html) => html.replace(/(<time[^>]*>)[^<]*/g, "$1");

  function look(soon = false) {
    wanted = true;
    if (looking) return;
    clearTimeout(timer);
    timer = setTimeout(ask, soon ? 0 : Math.max(0, lookedAt + gap - Date.now()));
  }
  async function ask() {
    if (document.hidden) return; // whoever comes back looks at once
    if (pressed) { timer = setTimeout(ask, LEAST_GAP); return; }
    looking = true;
    wanted = false;
    const cache = anew ? "reload" : "default";
    anew = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const cost = /dur=([\d.]+)/.exec(answer.headers.get("Server-Timing") || "");
      gap = Math.min(MOST_GAP, Math.max(LEAST_GAP, cost ? Number(cost[1]) / SHARE : MOST_GAP));
      ahead = Date.parse(answer.headers.get("Date")) + 500 - Date.now() || ahead;
      if (Math.abs(ahead) < 2000) ahead = 0;
      // Another page by now: it was found or let in, or is no longer. What a proxy says for a while is no page.
      if (answer.ok ? $("#error") : GONE.includes(answer.status) && !$("#error")) { location.reload(); return; }
      const shown = answer.ok || answer.status === 422; // that filters are wrong is said on a page, too
      if (shown) swap(page);
      if (shown && !page.body.dataset.stream !== !document.body.dataset.stream) { // it has ended, or goes on again
        document.body.dataset.stream = page.body.dataset.stream;
        follow();
      }
      told(shown);
    } catch {
      told(false);
      gap = MOST_GAP;
    } finally {
      looking = false;
      lookedAt = Date.now();
    }
    clearTimeout(timer);
    if (wanted) look();
    else if (isLive()) timer = setTimeout(ask, MOST_GAP);
  }
  function told(well) {
    $("#live").classList.toggle("broken", !well);
    $("#seen").textContent = well ? "" : "The engine does not answer: this is what it said last.";
  }
  function swap(page) {
    document.title = page.title;
    for (const part of $$("[data-live][id]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh) continue;
      const html = withoutTimes(fresh.innerHTML);
      if (served.get(part.id) === html) continue;
      const selection = getSelection();
      if (!selection.isCollapsed && part.contains(selection.anchorNode)) continue; // somebody is about to copy it
      served.set(part.id, html);
      replace(part, fresh);
    }
    tick();
  }
  function replace(part, fresh) {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const name = (element) => element.id || element.getAttribute("href") || element.dataset.action || element.value;
    const kept = focused && name(focused);
    const checked = new Set($$("input[type=checkbox]:checked", part).map((box) => box.value));
    const open = new Set($$("details[open][id]", part).map((details) => details.id));
    const at = $("tr.at a[href]", part)?.getAttribute("href");
    const scrolled = $$(".drawing, .wide, pre", part).map((box) => [box.scrollLeft, box.scrollTop]);
    part.replaceChildren(...fresh.childNodes);
    for (const box of $$("input[type=checkbox]", part)) box.checked = checked.has(box.value);
    for (const details of $$("details[id]", part)) details.open ||= open.has(details.id);
    if (at) $$("tr", part).find((row) => $(`a[href="${CSS.escape(at)}"]`, row))?.classList.add("at");
    $$(".drawing, .wide, pre", part).forEach((box, n) => { if (scrolled[n]) [box.scrollLeft, box.scrollTop] = scrolled[n]; });
    if (kept) $$("a, button, input, summary, [tabindex]", part).find((element) => name(element) === kept)?.focus({ preventScroll: true });
    decorate(part);
  }
  function follow() {
    stream?.close();
    stream = null;
    const where = document.body.dataset.stream;
    if (!where || !isLive() || document.hidden) return;
    const own = stream = new EventSource(new URL(where, location.href));
    own.onopen = () => told(true);
    own.onerror = () => { if (own.readyState === EventSource.CLOSED) setTimeout(() => own === stream && follow(), MOST_GAP); };
    own.addEventListener("end", () => { own.close(); look(); });
    own.onmessage = () => look();
  }
  function turnLive() {
    const now = !isLive();
    $("#live").setAttribute("aria-pressed", String(now));
    $("#live .word").textContent = now ? "Live" : "As it was";
    clearTimeout(timer);
    follow();
    if (now) look(true);
  }

  // Actions ----------------------------------------------------------------------------------------------------------

  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  function requestOf(action, values = {}) {
    const query = new URLSearchParams(action.query || {});
    let body = action.body ? { ...action.body } : null;
    for (const field of action.fields || []) {
      const value = values[field.name];
      if (value === undefined || value === "" || value === false) continue;
      if (field.place === "query") query.set(field.name, String(value));
      else if (field.place === "whole") body = value;
      else (body ??= {})[field.name] = value;
    }
    return { method: action.method, url: address(action.path) + (query.size ? `?${query}` : ""), body };
  }
  function curl({ method, url, body }) {
    const parts = ["curl"];
    if (method !== "GET") parts.push("-X", method);
    parts.push(quoted(url));
    if (document.body.dataset.keys === "yes") parts.push('-H "Authorization: Bearer $WORKFLOW_TOKEN"');
    if (body !== null) parts.push("-H 'Content-Type: application/json'", "-d", quoted(JSON.stringify(body)));
    return parts.join(" ");
  }
  async function send({ method, url, body }) {
    const headers = { "X-Requested-With": "workflow-engine", ...(body === null ? {} : { "Content-Type": "application/json" }) };
    const answer = await fetch(url, { method, headers, body: body === null ? undefined : JSON.stringify(body) });
    let content = null;
    try { content = await answer.json(); } catch { /* an answer without a body */ }
    return { ok: answer.ok, status: answer.status, content: content || {} };
  }
  const filled = (text, content) => text.replace(/\{(\w+)\}/g, (_, name) => content[name] ?? "–");

  async function perform(action, values, button) {
    const request = requestOf(action, values);
    if (button) button.disabled = true;
    try {
      const answer = action.of_many ? await sendAll(request) : await send(request);
      if (answer.ok) {
        toast("good", filled(action.done, answer.content), request);
        if (action.goes_to) location.assign(address(filled(action.goes_to, answer.content)));
      } else {
        const { detail, hint, errors } = answer.content;
        const places = (errors || []).map((fault) => fault.message).filter((message) => message !== detail);
        toast("bad", [detail || `The engine answered ${answer.status}.`, ...places, hint].filter(Boolean).join(" "), request);
      }
      return answer.ok;
    } catch {
      toast("bad", "The engine does not answer. Nothing is known to have changed.", request);
      return false;
    } finally {
      if (button) button.disabled = false;
      follow();
      anew = true;
      look(true);
    }
  }
  async function sendAll(request) {
    const sum = { done: 0, unchanged: 0, refused: 0 };
    for (let next = request; next;) {
      const answer = await send(next);
      if (!answer.ok) return answer;
      for (const name of Object.keys(sum)) sum[name] += answer.content[name];
      next = answer.content.next ? { ...request, url: address(answer.content.next) } : null;
    }
    return { ok: true, content: sum };
  }
  function toast(kind, text, request) {
    const close = make("button", { type: "button", class: "quiet", "aria-label": "Close" }, "✕");
    const shown = make("div", { class: `note toast ${kind}` },
      make("span", { class: `mark ${kind}`, "aria-hidden": "true" }, kind === "good" ? "✓" : "✗"),
      make("span", { class: "text" }, text), close,
      request ? make("details", {}, make("summary", {}, "As a command"), code(curl(request))) : null);
    close.onclick = () => shown.remove();
    $("#toasts").append(shown);
    if (kind === "good") setTimeout(() => shown.matches(":hover, :focus-within") || $("details", shown)?.open || shown.remove(), QUIET_MS);
  }
  function code(text) {
    const copy = make("button", { type: "button", class: "quiet copy" }, "Copy");
    copy.onclick = () => copied(copy, text);
    return make("div", { class: "code" }, copy, make("pre", { class: "curl", tabindex: "0" }, text));
  }
  async function copied(button, text) {
    try { await navigator.clipboard.writeText(text); } catch {
      const box = make("textarea", {}, ""); // without TLS there is no clipboard but this one
      box.value = text;
      (button.closest("dialog") || document.body).append(box);
      box.select();
      document.execCommand("copy");
      box.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }

  // A dialog asks what has to be asked, and shows the request while it is put together.
  function askFor(action) {
    const dialog = $("#asking");
    const inputs = new Map((action.fields || []).map((field) => [field, inputOf(field)]));
    const line = make("div", {});
    const wrong = make("p", { class: "note bad", role: "alert", hidden: true });
    const would = action.of_many ? make("p", { class: "would", role: "status" }, "Counting …") : null;
    const go = make("button", { class: `button main${action.destroys ? " danger" : ""}`, value: "go" }, action.label);
    const read = () => {
      const values = {};
      for (const [field, input] of inputs) {
        if (field.kind === "flag") values[field.name] = input.checked;
        else if (input.value === "") continue;
        else if (field.kind === "json") values[field.name] = JSON.parse(input.value);
        else if (field.kind === "number") values[field.name] = Number(input.value);
        else values[field.name] = input.value;
      }
      return values;
    };
    const show = () => {
      try { line.replaceChildren(code(curl(requestOf(action, read())))); wrong.hidden = true; go.disabled = false; } catch (error) {
        wrong.textContent = `This is no JSON: ${error.message}`;
        wrong.hidden = false;
        go.disabled = true;
      }
    };
    const form = make("form", { method: "dialog" },
      make("h2", { id: "asking-title" }, action.label), make("p", {}, action.ask), would,
      ...[...inputs].map(([field, input]) => asked(field, input)), wrong, line,
      make("div", { class: "actions" }, make("button", { class: "button", value: "no", formnovalidate: true }, "Leave it"), go));
    form.addEventListener("input", show);
    form.onsubmit = (event) => {
      if (event.submitter?.value === "no") return;
      event.preventDefault();
      const values = read();
      dialog.close();
      perform(action, values, null);
    };
    dialog.replaceChildren(form);
    show();
    dialog.showModal();
    ([...inputs.values()][0] || go).focus();
    if (would) count(action, would, go);
  }
  function inputOf(field) {
    const common = { id: `asked-${field.name}`, name: field.name };
    let input;
    if (field.kind === "choice") {
      input = make("select", common, ...field.options.map(([value, label]) => make("option", { value }, label)));
    } else if (field.kind === "json") input = make("textarea", { ...common, spellcheck: "false" });
    else if (field.kind === "flag") input = make("input", { ...common, type: "checkbox" });
    else input = make("input", { ...common, type: field.kind, autocomplete: "off", step: field.kind === "number" ? "any" : null });
    if (field.kind !== "flag" && field.value) input.value = field.value;
    return input;
  }
  const asked = (field, input) => field.kind === "flag"
    ? make("div", { class: "asked flag" }, input, make("label", { for: input.id }, field.label))
    : make("div", { class: "asked" }, make("label", { for: input.id }, field.label), input,
      field.help ? make("span", { class: "help" }, field.help) : null);
  async function count(action, would, go) {
    const request = requestOf({ ...action, query: { ...action.query, dry_run: "true", limit: "1000" } });
    try {
      const { ok, content } = await send(request);
      const some = content.next ? " of the newest 1,000, and more after those" : "";
      would.textContent = ok ? `${content.done.toLocaleString("en")} workflow${content.done === 1 ? "" : "s"}${some}`
        + (content.refused ? `; ${content.refused.toLocaleString("en")} cannot be` : "") : content.detail;
      go.disabled = !ok || content.done === 0;
    } catch { would.textContent = "The engine does not answer."; }
  }
  function act(button) {
    const action = JSON.parse(button.dataset.action);
    if (button.dataset.selected !== undefined) {
      const ids = selected().map((box) => box.value);
      if (!ids.length) return;
      action.body = { ...action.body, ids };
      action.ask = action.ask?.replace("{selected}", ids.length);
    }
    if (action.ask) askFor(action);
    else perform(action, {}, button);
  }

  // Selecting rows -----------------------------------------------------------------------------------------------------

  const selected = () => $$("input[name=id]:checked");
  function showSelection() {
    const count = selected().length;
    for (const element of $$("[data-selected]")) element.disabled = !count;
    for (const element of $$("[data-selected-count]")) element.textContent = count ? `${count} selected` : "";
    const all = $("#select-all");
    if (all) {
      all.checked = count > 0 && count === $$("input[name=id]").length;
      all.indeterminate = count > 0 && !all.checked;
    }
  }

  // Keys ---------------------------------------------------------------------------------------------------------------

  let gone = false; // whether `g` was pressed just before
  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && document.activeElement?.id === "find") { document.activeElement.blur(); return; }
    if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
    if (gone) {
      gone = false;
      const entry = $$("nav a[data-key]").find((link) => link.dataset.key === event.key);
      if (entry) { event.preventDefault(); location.assign(entry.href); }
      return;
    }
    const does = {
      "/": () => $("#find").focus(),
      "?": () => $("#keys").showModal(),
      g: () => { gone = true; setTimeout(() => { gone = false; }, 1500); },
      r: turnLive,
      t: turnTheme,
      j: () => step(1),
      k: () => step(-1),
      x: () => $("tr.at input[type=checkbox]")?.click(),
      "[": () => turnTab(-1),
      "]": () => turnTab(1),
    }[event.key];
    if (does) { event.preventDefault(); does(); } else if (event.key === "Enter" && document.activeElement === document.body) {
      const link = $("tr.at a[href]");
      if (link) location.assign(link.href);
    }
  }
  function step(by) {
    const rows = $$("table[data-rows] tbody tr").filter((row) => $("a[href]", row));
    if (!rows.length) return;
    const now = rows.findIndex((row) => row.classList.contains("at"));
    const next = rows[Math.min(rows.length - 1, Math.max(0, now < 0 ? 0 : now + by))];
    rows[now]?.classList.remove("at");
    next.classList.add("at");
    next.scrollIntoView({ block: "nearest" });
    document.activeElement?.blur?.();
  }
  function turnTab(by) {
    const tabs = $$(".tabs a");
    const now = tabs.findIndex((tab) => tab.hasAttribute("aria-current"));
    const next = tabs[(now + by + tabs.length) % tabs.length];
    if (next) location.assign(next.href);
  }

  // All of it ------------------------------------------------------------------------------------------------------------

  function decorate(root) {
    for (const element of $$("[data-request]", root)) {
      const request = JSON.parse(element.dataset.request);
      element.textContent = curl(requestOf(request));
    }
    for (const element of $$("[data-command]", root)) { // commands are written for the runbook's address
      element.textContent = element.textContent.replaceAll("http://localhost:3003/", address("/"));
    }
    showSelection();
  }
  document.addEventListener("DOMContentLoaded", () => {
    for (const part of $$("[data-live][id]")) served.set(part.id, withoutTimes(part.innerHTML));
    decorate(document);
    tick();
    setInterval(tick, 1000);
    $("#live").onclick = turnLive;
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
    document.addEventListener("keydown", onKey);
    document.addEventListener("pointerdown", () => { pressed = true; });
    document.addEventListener("pointerup", () => { pressed = false; });
    document.addEventListener("pointercancel", () => { pressed = false; });
    document.addEventListener("visibilitychange", () => {
      follow();
      if (!document.hidden && isLive()) look(true);
    });
    for (const tab of $$(".tabs a[aria-current], nav a[aria-current]")) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
    lookedAt = Date.now();
    follow();
    timer = setTimeout(ask, MOST_GAP);
  });
})();
