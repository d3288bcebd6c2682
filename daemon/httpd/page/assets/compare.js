// Candidates side by side: figures, the constants that differ, curves, diffs.

import { get } from "./api.js";
import { curves, shares } from "./curve.js";
import { diffView } from "./diff.js";
import { h, inert, say, svg } from "./dom.js";
import { bpb, bytes, duration, literal, signed } from "./format.js";
import { candidateLink, panel } from "./parts.js";
import { ready, store } from "./store.js";
import { standing } from "./verdict.js";

const most = 8;
const tone = (i) => `tone-${i + 1}`;
const swatch = (i) => svg("svg", { width: 14, height: 10, "aria-hidden": "true" }, svg("path", { class: "line " + tone(i), d: "M0 5h14" }));

export const compareAddress = (ids) => `#/compare/${ids.join(",")}`;

function sheet(name, heads, rows) {
  return h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": name }, h("table", { class: "ledger beside" },
    h("thead", {}, h("tr", {}, h("td", {}), heads)),
    h("tbody", {}, rows.map(([label, cells, cls]) => h("tr", {}, h("th", { scope: "row", class: cls }, label), cells)))));
}

function figures(all, ids) {
  const first = all[0];
  const heads = all.map((c, i) => h("th", { scope: "col" }, swatch(i), " ", candidateLink(c.id), ids.length > 2 ? h("a", { class: "off-button", href: compareAddress(ids.filter((id) => id !== c.id)), "aria-label": `Leave out candidate ${c.id}` }, "\u00d7") : ""));
  const row = (label, of) => [label, all.map((c) => h("td", { class: "num" }, of(c)))];
  const over = (c) => c.run_details.map((d) => d.trial).filter((t) => t.status);
  return sheet("Figures", heads, [
    row("val_bpb", (c) => [bpb(c.val_bpb), c.interval > 0 ? h("span", { class: "dim" }, ` \u00b1 ${c.interval.toFixed(6)}`) : ""]),
    row(`against ${first.id}`, (c) => (c === first ? "" : c.val_bpb === null || first.val_bpb === null ? "\u2013" : signed(c.val_bpb - first.val_bpb))),
    row("verdict", (c) => [standing(c), c.champion ? ", champion" : ""]),
    row("gain", (c) => inert(c.claim) || "\u2013"),
    row("runs", (c) => String(c.run_details.length)),
    row("seeds", (c) => c.run_details.map((d) => String(d.trial.seed)).join(", ")),
    row("time", (c) => duration(over(c).reduce((a, t) => a + t.wall_seconds, 0))),
    ...(all.some((c) => c.peak_vram_bytes) ? [row("memory", (c) => (c.peak_vram_bytes ? bytes(c.peak_vram_bytes) : "\u2013"))] : []),
    ["change", all.map((c) => h("td", {}, say(c.description, "div")))],
    ["by", all.map((c) => h("td", {}, say(c.strategy)))],
  ]);
}

function constants(all, differ) {
  if (!differ.length) return h("p", { class: "dim" }, "Their constants are the same; the code may differ.");
  return sheet("Constants that differ", all.map((c, i) => h("th", { scope: "col" }, swatch(i), ` ${c.id}`)),
    differ.map((d) => [inert(d.name), d.values.map((v, i) => h("td", { class: "mono num" + (i && literal(v) !== literal(d.values[0]) ? " differs" : "") }, v === null ? "\u2013" : inert(literal(v)))), "mono"]));
}

function adder(ids) {
  const input = h("input", { type: "number", min: 1, step: 1, inputmode: "numeric", "aria-label": "Another candidate's number", placeholder: "number" });
  return h("form", {
    class: "adder",
    onsubmit: (e) => {
      e.preventDefault();
      const id = Number(input.value);
      if (Number.isInteger(id) && id > 0 && !ids.includes(id)) location.hash = compareAddress([...ids, id]);
    },
  }, input, h("button", { type: "submit" }, "Add"));
}

export async function compareView(match) {
  const ids = [...new Set(match[1].split(",").map(Number))];
  await ready();
  const { candidates: all, constants: differ, diffs } = await get(`/compare?ids=${ids.join(",")}`);
  const champion = store.status?.champion?.id;
  const room = h("div", { class: "curve-room" });
  const chart = curves("Training loss of the candidates", room);
  room.append(chart.holder);
  const shown = chart.show(all.flatMap((c, i) => c.run_details.filter((d) => d.curve.length > 1).map((d, k) => ({ name: k ? "" : `candidate ${c.id}`, cls: tone(i) + (k ? " again" : ""), points: shares(d, d.budget) }))));
  const root = h("article", { class: "trial compare" },
    h("header", {}, h("h2", { class: "name" }, "Candidates ", ids.map((id, i) => [i ? (i === ids.length - 1 ? " and " : ", ") : "", candidateLink(id, String(id))]), " side by side"),
      h("div", { class: "actions" }, champion && !ids.includes(champion) && ids.length < most ? h("a", { class: "button", href: compareAddress([...ids, champion]) }, `Add the champion, ${champion}`) : "", ids.length < most ? adder(ids) : "")),
    h("div", { class: shown ? "columns" : "columns one" },
      h("div", {}, panel("Figures", figures(all, ids)), panel("Constants that differ", constants(all, differ))),
      shown ? h("div", { class: "stacked" }, h("section", { class: "panel upright grows" }, h("div", { class: "panel-head" }, h("h2", {}, "Loss"), chart.legend), room)) : ""),
    diffs.map((d) => panel(`train.py of candidate ${d.to} against ${d.from}'s`, d.diff ? diffView(d.diff) : h("p", { class: "dim" }, "The same, line by line."))));
  return { root, end() {} };
}
