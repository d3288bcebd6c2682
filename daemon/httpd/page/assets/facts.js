// The answers at the top: is it well, what is the best, what did it buy, what was
// tried and what failed, what is it doing.

import { byId, h, inert, say } from "./dom.js";
import { bpb, brief, duration, percent, plural, signed, whole } from "./format.js";
import { store, watch } from "./store.js";

export const phases = { startup: "Starting", compile: "Compiling", gate: "Ready", train: "Training", evaluate: "Evaluating", exit: "Ending" };

const put = (id, ...children) => byId(id).replaceChildren(...children.filter((c) => c !== null && c !== ""));
const sentence = (s) => (s ? s[0].toUpperCase() + s.slice(1) : s);
const dotted = (...parts) => parts.filter((p) => p).join(" \u00b7 ");

// mood is how a state is coloured: well, waiting or ill.
export function mood(status, connected, fault) {
  if (fault || connected === false) return "ill";
  const state = status?.state ?? "";
  if (status && !status.seats?.length) return "over"; // no daemon runs it
  if (/^(running|asking|preparing|starting)/.test(state)) return "well";
  if (status?.waiting) return "ill";
  return "waiting";
}

function state(s) {
  const feeling = mood(s, store.connected, store.fault);
  document.body.dataset.mood = feeling;
  if (store.fault || store.connected === false) {
    put("state", "Disconnected;", h("small", {}, " showing last known data"));
    put("state-note", store.fault || "reconnecting");
    return;
  }
  put("state", sentence(s?.state ?? "Waiting"));
  put("state-note", s?.waiting ? words(s.waiting) : dotted(s && rate(s), s && begun(s)));
}

const rate = (s) => (s.rate_per_hour > 0 ? `${s.rate_per_hour.toFixed(1)} runs an hour` : "");

// words shows a sentence of the daemon's, with the commands in it as such.
const words = (text) => h("span", {}, inert(text).split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part)));

function begun(s) {
  const since = (Date.now() - new Date(s.study?.started_at)) / 1000;
  return since > 0 ? `begun ${duration(since)} ago` : "";
}

function best(s) {
  const c = s?.champion;
  if (!c) {
    put("best", "\u2013");
    put("best-note", "no trial has a score yet");
    return;
  }
  put("best", bpb(c.val_bpb), c.runs > 1 ? h("small", {}, ` mean of ${c.runs} runs`) : "");
  const known = store.candidates.find((o) => o.id === c.id);
  const classes = new Set([c.class, ...(s.seats ?? []).map((seat) => seat.class)].filter(Boolean)); // named where there are several
  put("best-note", h("a", { href: `#/candidate/${c.id}` }, `candidate ${c.id}`), classes.size > 1 && c.class ? ` on ${inert(c.class)}` : "", " ", say(known?.label ?? c.description));
  byId("best").title = s.claim?.words ?? "";
}

function gain(s) {
  const from = s?.study?.baseline_val_bpb ?? store.baseline;
  const delta = s?.champion && from ? s.champion.val_bpb - from : null;
  put("gain", delta === null ? "\u2013" : signed(delta), delta ? h("small", {}, ` ${signed((100 * delta) / from, 2)}\u202f%`) : "");
  const hourly = s?.gain_per_gpu_hour;
  put("gain-note", delta && s.champion.claim ? h("b", { class: s.champion.claim === "confirmed" ? "confirmed" : "unconfirmed" }, s.champion.claim) : "", delta && s.champion.claim && hourly > 0 ? " \u00b7 " : "", hourly > 0 ? `${hourly.toFixed(6)} a GPU-hour` : "");
}

// tried counts the candidates, and leads to those of each kind.
function tried(s) {
  const t = s?.candidates;
  if (!t?.total) {
    put("tried", "\u2013");
    put("tried-note", "no trial has finished yet");
    return;
  }
  put("tried", whole(t.total), h("small", {}, ` ${t.total === 1 ? "candidate" : "candidates"} in ${plural(s.trials.total, "run")}`));
  const kinds = [
    ...["kept", "discarded", "refuted", "pending", "interrupted"].map((v) => [t[v], v, { verdict: v }]),
    ...Object.entries(t.failures ?? {}).map(([f, n]) => [n, f, { failure: f }]),
  ];
  put("tried-note", ...kinds.filter(([n]) => n > 0).flatMap(([n, name, asks], i) => [i ? " \u00b7 " : "", h("a", { class: asks.failure ? "bad" : "", href: "#/?" + new URLSearchParams(asks), onclick: reveal }, `${whole(n)}\u00a0${name.replaceAll(" ", "\u00a0")}`)]));
}

const reveal = () => document.querySelector("table.trials")?.closest("section").scrollIntoView({ block: "nearest" });

// several says what the seats do where there is more than one; each has a block
// of its own below.
function several(seats) {
  const busy = seats.filter((s) => s.trial);
  put("now", `${busy.length} of ${seats.length} seats`, h("small", {}, " run a trial"));
  put("now-note", dotted(...Object.entries(phases).map(([phase, name]) => count(busy.filter((s) => s.trial.phase === phase), name.toLowerCase()))));
  const c = store.status.confirm; // what can be confirmed nowhere now
  put("now-what", busy.length ? "" : next(store.status.next), c && c.waiting && !c.seats ? `${whole(c.waiting)} to be confirmed on ${inert(c.on)}: ${inert(c.why)} \u00b7 ` : "", dotted(...["idle", "waiting", "quarantined", "resting"].map((state) => count(seats.filter((s) => !s.trial && s.state === state), state))));
}

// next says what comes: a proposal, or that nothing does and what a person can do.
const next = (text) => words(/^nothing/.test(text) ? sentence(text) : `next: ${text}`);

const count = (list, name) => (list.length ? `${list.length} ${name}` : "");

function now(s) {
  const seats = s?.seats ?? [];
  const bar = byId("progress");
  if (seats.length > 1) {
    bar.hidden = true;
    several(seats);
    return;
  }
  const { trial: r, next: ready } = seats[0] ?? {};
  bar.hidden = !r;
  if (!r) {
    put("now", !s ? "\u2013" : seats.length ? "Between trials" : "Nothing runs");
    put("now-note", s?.next ? next(s.next) : "");
    put("now-what");
    return;
  }
  bar.value = Math.max(0, Math.min(1, r.progress ?? 0));
  put("now", phases[r.phase] ?? r.phase ?? "", r.phase === "train" ? h("small", {}, ` ${percent(r.progress)} of the budget`) : "");
  const left = Number.isFinite(r.seconds_left) && r.seconds_left > 0 ? `${duration(r.seconds_left)} left` : `${duration(r.phase_seconds)} in`;
  const numbers = dotted(left, r.loss ? `loss ${r.loss.toFixed(4)}` : "", r.tokens_per_second ? `${brief(r.tokens_per_second)} tokens/s` : "", r.mfu ? `${percent(r.mfu, 1)} MFU` : "");
  put("now-note", ...(ready ? [`${left} \u00b7 `, h("a", { href: `#/trial/${ready.id}` }, `trial ${ready.id}`), " gets ready beside it"] : [numbers]));
  put("now-what", h("a", { href: `#/trial/${r.id}` }, `trial ${r.id}`), ` ${r.strategy ?? ""} `, say(r.description));
}

export function startFacts() {
  const update = () => {
    const s = store.status;
    state(s);
    if (!s) return;
    best(s);
    gain(s);
    tried(s);
    now(s);
    byId("tag").textContent = s.study?.tag ?? "";
    document.title = `${s.champion ? bpb(s.champion.val_bpb) + " \u00b7 " : ""}${s.study?.tag ?? "autoresearchd"}`;
  };
  watch(update);
}
