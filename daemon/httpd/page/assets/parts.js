// Pieces that the views of candidates and of runs share.

import { h, inert, inertLines } from "./dom.js";
import { bytes, duration, literal, signed } from "./format.js";

export const panel = (name, ...children) => h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, name)), children);
export const candidateLink = (id, text = `candidate ${id}`) => h("a", { href: `#/candidate/${id}` }, text);
export const runLink = (id, text = `trial ${id}`) => h("a", { href: `#/trial/${id}` }, text);

// reader is a box of text that the keyboard can scroll.
export const reader = (text, name) => h("pre", { class: "log", tabindex: 0, role: "region", "aria-label": name }, inertLines(text));

// pairs is a list of names with what is known of them; rows are [name, value].
export const pairs = (rows) => h("dl", { class: "pairs num" }, rows.filter(([, v]) => v !== null && v !== undefined && v !== "").map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));

// links are the first of a list of ids, each made by link.
export const links = (ids, link, most = 24) => [ids.slice(0, most).map((id, i) => [i ? ", " : "", link(id, String(id))]), ids.length > most ? ` and ${ids.length - most} more` : ""];

export const order = ["startup", "compile", "gate", "train", "evaluate", "exit"];

// phaseBar is how a run's time went; named adds what each phase took.
export function phaseBar(phases, named) {
  const known = order.filter((p) => (phases?.[p] ?? 0) > 0);
  if (!known.length) return "";
  const bar = h("div", { class: "phases", role: "img", "aria-label": known.map((p) => `${p} ${duration(phases[p])}`).join(", "), title: known.map((p) => `${p} ${duration(phases[p])}`).join(", ") }, known.map((p) => {
    const part = h("span", { class: "phase-" + p });
    part.style.flexGrow = phases[p];
    return part;
  }));
  return named ? [bar, h("p", { class: "legend num" }, known.map((p) => h("span", {}, h("i", { class: "swatch phase-" + p }), `${p} ${duration(phases[p])}`)))] : bar;
}

// changed is a table of constants beside the parent's.
export function changed(names, before, after) {
  return h("table", { class: "constants" },
    h("thead", {}, h("tr", {}, ["Constant", "Parent", "Here"].map((n) => h("th", { scope: "col" }, n)))),
    h("tbody", {}, names.map((n) => h("tr", {}, h("th", { scope: "row", class: "mono" }, inert(n)), h("td", { class: "mono num dim" }, n in before ? inert(literal(before[n])) : "\u2013"), h("td", { class: "mono num" }, n in after ? inert(literal(after[n])) : "\u2013")))));
}

// against says by how much a score differs from another candidate's.
export const against = (score, other) => (other && Number.isFinite(other.val_bpb) && Number.isFinite(score) ? [`${signed(score - other.val_bpb)} against ${other.val_bpb.toFixed(6)} of `, candidateLink(other.id)] : "");

export const memory = (t) => (t.peak_vram_bytes ? bytes(t.peak_vram_bytes) : null);

// neighbours are links to the view before and after one, where there are any.
export const neighbours = (kind, before, after) => h("p", { class: "near" },
  before ? h("a", { href: `#/${kind}/${before}`, rel: "prev", "aria-label": `${kind} ${before}` }, `\u2190 ${before}`) : "",
  after ? h("a", { href: `#/${kind}/${after}`, rel: "next", "aria-label": `${kind} ${after}` }, `${after} \u2192`) : "");
