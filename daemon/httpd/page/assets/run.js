// One run of a candidate: how it went.

import { get } from "./api.js";
import { curves, shares } from "./curve.js";
import { h, inert, inertLines, say } from "./dom.js";
import { files } from "./files.js";
import { bpb, brief, duration, when, whole } from "./format.js";
import { candidateLink, memory, neighbours, pairs, panel, phaseBar, reader, runLink } from "./parts.js";
import { runningPanel, seatOf } from "./running.js";
import { ready, running, store, watch } from "./store.js";

function result(t, c) {
  return h("div", { class: "verdict" },
    h("p", { class: "value num" }, bpb(t.val_bpb), h("small", {}, ` ${t.status || "under way"}`)),
    h("p", {}, "a run of ", candidateLink(t.candidate), ", which is ", h("span", { class: `standing ${c.verdict}` }, c.verdict), c.val_bpb !== null ? h("span", { class: "num" }, ` with ${bpb(c.val_bpb)}, mean of ${c.scores}`) : ""),
    t.reason ? h("p", { class: "dim" }, inert(t.reason)) : "",
    t.detail ? h("pre", { class: "detail" }, inertLines(t.detail)) : "",
    (t.flags ?? []).map((f) => h("p", { class: "dim" }, "note: ", inert(f))));
}

function figures(t) {
  return pairs([
    ["started", when(t.started_at)],
    ["seed", String(t.seed)],
    ["trained", t.status ? `${duration(t.training_seconds)}, ${whole(t.num_steps)} steps, ${brief(t.tokens)} tokens` : null],
    ["in all", t.status ? duration(t.wall_seconds) : null],
    ["device", t.device ? inert(t.device) + (t.class ? ` (${inert(t.class)})` : "") : null],
    ["got ready", t.gate ? ["beside the evaluation of ", runLink(t.gate.after), `, and waited ${duration(t.gate.waited)} for its end`] : null],
    ["peak GPU memory", memory(t)],
    ["audit", t.audit_bpb ? `${bpb(t.audit_bpb)} on text that the search never sees` : null],
    ["audit, fresh", t.fresh ? `${bpb(t.fresh.val_bpb)} in a process that had only its weights, in ${duration(t.fresh.seconds)}` : null],
    ["exit code", t.exit_code ? String(t.exit_code) : null],
  ]);
}

// What the notary found of the score: nats a token, each with its standard error.
function proof(p) {
  const off = (value, error) => (error ? `${value >= 0 ? "" : "−"}${Math.abs(value).toFixed(4)} ± ${error.toFixed(4)}` : null);
  return pairs([
    ["verdict", p.verdict],
    ["challenged at", p.positions ? `${whole(p.positions)} of ${whole(p.tokens)} tokens` : null],
    ["logits above losses by", p.positions ? off(p.gap_mean ?? 0, p.gap_error) : null],
    ["largest difference", p.positions ? (p.gap_largest ?? 0).toFixed(3) : null],
    ["better than on fresh text by", off(p.fresh ?? 0, p.fresh_error)],
    ["than on text not shown by", off(p.unseen ?? 0, p.unseen_error)],
    ["than blindfolded by", off(p.blind ?? 0, p.blind_error)],
    ["weights unchanged", p.weights ? `${whole(p.weights)}, as it says itself` : null],
    ["took", p.seconds ? `${duration(p.seconds)} with the evaluation` : null],
  ]);
}

function loss(t, budget) {
  const room = h("div", { class: "curve-room" });
  const chart = curves(`Training loss of trial ${t.id} and of the champion`, room);
  room.append(chart.holder);
  chart.show([
    { name: store.status?.champion ? `champion, candidate ${store.status.champion.id}` : "champion", cls: "past", points: store.status?.champion_curve ?? [] },
    { name: `trial ${t.id}`, cls: "now", points: shares(t, budget) },
  ]);
  return { root: h("div", { class: "stacked" }, h("section", { class: "panel upright grows" }, h("div", { class: "panel-head" }, h("h2", {}, "Loss"), chart.legend), room)), end() {} };
}

export async function runView(match) {
  const id = Number(match[1]);
  await ready();
  const t = await get(`/trials/${id}`);
  const c = await get(`/candidates/${t.candidate}`);
  const budget = c.run_details.find((d) => d.trial.id === id)?.budget;
  const last = Math.max(id, ...c.runs, ...running(store.status).map((r) => r.id), ...store.candidates.flatMap((o) => o.runs));
  const right = !t.status && seatOf(id) ? runningPanel(id) : t.curve.length > 1 ? loss(t, budget) : t.log_tail ? { root: h("div", { class: "stacked" }, h("section", { class: "panel upright grows" }, h("div", { class: "panel-head" }, h("h2", {}, "End of its log")), reader(t.log_tail, "End of the log"))), end() {} } : null;
  const shownLog = right && t.status && t.curve.length < 2;
  const root = h("article", { class: "trial" },
    h("header", {}, neighbours("trial", id > 1 ? id - 1 : 0, id < last ? id + 1 : 0),
      h("h2", { class: "name" }, `Trial ${id}`, h("span", { class: "dim" }, " a run of ", candidateLink(t.candidate))),
      h("p", { class: "why", dir: "auto" }, say(t.description, "span"))),
    h("div", { class: right ? "columns" : "columns one" },
      h("div", {}, right?.head ?? "", panel("Result", result(t, c)), panel(t.status ? "What it took" : "What it has", figures(t), phaseBar(t.phases, true)), t.proof ? panel("How its score is proven", proof(t.proof)) : "", Object.keys(t.summary).length ? panel("What the script said", pairs(Object.entries(t.summary).slice(0, 24).map(([k, v]) => [inert(k), inert(v)]))) : ""),
      right ? right.root : ""),
    t.attachments?.length ? panel("The model", files(id, t.attachments)) : "",
    t.log_tail && !shownLog ? panel("End of its log", reader(t.log_tail, "End of the log")) : "");
  // One that was under way is shown again when it is recorded.
  const stop = watch((what) => what === "trials" && !t.status && !seatOf(id) && dispatchEvent(new Event("hashchange")));
  return {
    root,
    end: () => {
      stop();
      right?.end();
    },
  };
}
