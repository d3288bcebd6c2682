// Elements from plain calls. Text becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// say shows text that somebody else wrote: on one line, isolated from the
// direction of the text around it.
export const say = (text, tag = "bdi") => h(tag, { class: "said", title: inert(text).slice(0, 600) }, inert(text));

// inert shows control characters and changes of direction instead of obeying them.
export function inert(text) {
  return String(text ?? "")
    .replace(/[\t\r\n]+/g, " ")
    .replace(hidden, "\ufffd");
}

// inertLines is inert for text of several lines.
export const inertLines = (text) => String(text ?? "").replace(/\r\n?/g, "\n").replace(hidden, "\ufffd");

const hidden = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const byId = (id) => document.getElementById(id);
