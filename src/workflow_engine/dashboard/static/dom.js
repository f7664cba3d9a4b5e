// What all modules are written with.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// An element; an attribute that is `true` has no value, one that is false, null or undefined is not there.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

// What this browser keeps between pages.
export const remembered = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
export const remember = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not allowed: then not */ } };

// The whole address of a path from the root of the engine, wherever a proxy shows it.
export const address = (path) => new URL(document.body.dataset.root + path.replace(/^\//, ""), location.href).href;

// Whatever is done to each part of a page: once to the whole, and to each part that comes anew from the server.
const decorators = [];
export const onEachPart = (decorate) => { decorators.push(decorate); };
export const decorate = (root) => { for (const each of decorators) each(root); };
