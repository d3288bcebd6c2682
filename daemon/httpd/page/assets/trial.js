// One trial: what was proposed and why, what happened, what was concluded.

import { get } from "./api.js";
import { curves } from "./curve.js";
import { diffView } from "./diff.js";
import { h, inert, inertLines, say } from "./dom.js";
import { files } from "./files.js";
import { bpb, brief, bytes, duration, literal, signed, when, whole } from "./format.js";
import { running, store, watch } from "./store.js";

const link = (id) => h("a", { href: `#/trial/${id}` }, `trial ${id}`);
const panel = (name, ...children) => h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, name)), children);

const order = ["startup", "compile", "gate", "train", "evaluate", "exit"];

// summary is the decision with its numbers.
function summary(t) {
  const other = t.compared_with;
  const against = other && t.val_bpb !== null && other.id !== t.id ? [` ${signed(t.val_bpb - other.val_bpb)} against ${bpb(other.val_bpb)} of `, link(other.id)] : [];
  return h("div", { class: "verdict" },
    h("p", { class: "value num" }, bpb(t.val_bpb), h("small", {}, against)),
    h("p", {}, h("span", { class: "decision " + (t.decision || "") }, t.decision || t.status || "running"), t.reason ? [": ", inert(t.reason)] : ""),
    t.status && t.status !== "completed" ? h("p", { class: "dim" }, `ended: ${inert(t.status)}`) : "",
    t.detail ? h("pre", { class: "detail" }, inertLines(t.detail)) : "",
    (t.flags ?? []).map((f) => h("p", { class: "dim" }, "note: ", inert(f))));
}

function figures(t) {
  const rows = [
    ["started", when(t.started_at)],
    ["trained", `${duration(t.training_seconds)}, ${whole(t.num_steps)} steps, ${brief(t.tokens)} tokens`],
    ["in all", duration(t.wall_seconds)],
    ["device", t.device ? inert(t.device) : null],
    ["got ready", t.gate ? ["beside the evaluation of ", link(t.gate.after), `, and waited ${duration(t.gate.waited)} for its end`] : null],
    ["peak GPU memory", t.peak_vram_bytes ? bytes(t.peak_vram_bytes) : null],
    ["audit", t.audit_bpb ? `${bpb(t.audit_bpb)} on text that the search never sees` : null],
    ["seed", t.seed],
    ["commit", t.commit ? h("span", { class: "mono" }, inert(t.commit).slice(0, 12)) : null],
    ["child trials", t.children?.length ? t.children.slice(0, 24).map((id, i) => [i ? ", " : "", link(id)]) : null],
  ];
  return h("dl", { class: "pairs num" }, rows.filter(([, v]) => v !== null && v !== undefined).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));
}

function phases(t) {
  const total = Object.values(t.phases ?? {}).reduce((a, b) => a + b, 0);
  if (!total) return "";
  const known = order.filter((p) => t.phases[p] > 0);
  const bar = h("div", { class: "phases", "aria-hidden": "true" }, known.map((p) => {
    const part = h("span", { class: "phase-" + p });
    part.style.flexGrow = t.phases[p] / total;
    return part;
  }));
  return [bar, h("p", { class: "legend num" }, known.map((p) => h("span", {}, h("i", { class: "swatch phase-" + p }), `${p} ${duration(t.phases[p])}`)))];
}

function changed(t, parent) {
  const names = Object.keys(t.constants ?? {}).sort();
  if (!names.length) return h("p", { class: "dim" }, "No constant differs from the parent's.");
  const before = parent?.all_constants ?? {};
  return h("table", { class: "constants" },
    h("thead", {}, h("tr", {}, ["Constant", "Parent", "Here"].map((n) => h("th", { scope: "col" }, n)))),
    h("tbody", {}, names.map((n) => h("tr", {}, h("th", { scope: "row", class: "mono" }, inert(n)), h("td", { class: "mono num dim" }, n in before ? inert(literal(before[n])) : "\u2013"), h("td", { class: "mono num" }, inert(literal(t.constants[n])))))));
}

// loss draws the trial's curve over the budget, which is what it trained, or its
// parent where it ended early.
function loss(t, parent, past) {
  if (!t.curve?.length) return "";
  const chart = curves("Training loss of this trial and of the champion");
  const timed = t.curve.at(-1)[1] > 0;
  const last = t.curve.at(-1)[timed ? 1 : 0];
  const budget = t.status !== "completed" && parent?.status === "completed" ? Math.max(last, timed ? parent.training_seconds : parent.num_steps) : last;
  chart.show([
    { name: "champion", cls: "past", points: past },
    { name: `trial ${t.id}`, cls: "now", points: t.curve.map((p) => [p[timed ? 1 : 0] / (budget || 1), p[3]]) },
  ]);
  return panel("Loss", chart.legend, chart.holder);
}

export async function trialView(match) {
  const id = Number(match[1]);
  const t = await get(`/trials/${id}`);
  const parent = t.parent ? await get(`/trials/${t.parent}`).catch(() => null) : null;
  const past = store.status?.champion?.id === t.id ? [] : (store.status?.champion_curve ?? []);
  const last = Math.max(...store.candidates.flatMap((c) => c.runs), id, ...running(store.status).map((r) => r.id));
  const near = h("p", { class: "near" }, id > 1 ? h("a", { href: `#/trial/${id - 1}`, rel: "prev" }, "\u2190 " + (id - 1)) : "", id < last ? h("a", { href: `#/trial/${id + 1}`, rel: "next" }, id + 1 + " \u2192") : "");
  const reason = (t.why?.startsWith(t.description) ? t.why.slice(t.description.length) : (t.why ?? "")).trim();
  const root = h("article", { class: "trial" },
    h("header", {}, near,
      h("h2", { class: "name" }, `Trial ${t.id}`, h("span", { class: "dim" }, " by ", say(t.strategy), t.parent ? [" from ", link(t.parent)] : " from the start")),
      h("p", { class: "why", dir: "auto" }, inertLines(t.description)),
      reason ? h("p", { class: "why dim", dir: "auto" }, inertLines(reason)) : ""),
    h("div", { class: "columns" },
      h("div", {}, panel("Decision", summary(t)), panel("Constants changed", changed(t, parent))),
      h("div", {}, panel("What it took", figures(t), phases(t)), loss(t, parent, past))),
    panel("train.py against its parent's", diffView(t.diff)),
    t.attachments?.length ? panel("The model", files(t.id, t.attachments)) : "",
    t.log_tail ? panel("End of its log", h("pre", { class: "log", tabindex: 0, role: "region", "aria-label": "End of the log" }, inertLines(t.log_tail))) : "");
  // One that was still running is shown again when it is recorded.
  const end = watch((what) => what === "trials" && !t.decision && store.candidates.some((c) => c.runs.includes(id)) && dispatchEvent(new Event("hashchange")));
  return { root, end };
}
