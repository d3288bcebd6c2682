// One candidate: what was proposed and why, what its runs came to, what was
// concluded.

import { get } from "./api.js";
import { curves, shares } from "./curve.js";
import { diffView } from "./diff.js";
import { h, inert, inertLines, say } from "./dom.js";
import { files } from "./files.js";
import { bpb, brief, bytes, duration, plural, when, whole } from "./format.js";
import { against, candidateLink, changed, links, memory, neighbours, pairs, panel, phaseBar, reader, runLink } from "./parts.js";
import { runningPanel, seatOf } from "./running.js";
import { ready, store, watch } from "./store.js";

const sum = (list) => list.reduce((a, b) => a + b, 0);

// claim is what the judge says of the gain, in words.
const claim = (c) => (c.claim ? h("p", {}, "Its gain is ", h("b", {}, inert(c.claim)), ".") : "");

export function verdict(c) {
  const runs = c.scores > 1 ? `mean of ${c.scores} runs` : c.scores ? "one run" : "no score";
  const failed = c.failure && c.verdict !== "kept";
  return h("div", { class: "verdict" },
    h("p", { class: "value num" }, bpb(c.val_bpb), c.interval > 0 ? h("span", { class: "interval" }, ` \u00b1 ${c.interval.toFixed(6)}`) : "", h("small", {}, ` ${runs}`)),
    h("p", {}, h("span", { class: `standing ${c.verdict}` }, c.verdict), c.champion ? ", the champion now" : "", failed ? `: ${inert(c.failure)}` : ""),
    c.compared_with && c.val_bpb !== null ? h("p", { class: "num" }, against(c.val_bpb, c.compared_with), c.verdict === "kept" ? ", the champion before it" : ", the champion then") : "",
    claim(c),
    c.claim_words && c.claim_words !== c.claim ? h("p", { class: "dim" }, inert(c.claim_words)) : "",
    c.reason ? h("p", { class: "dim" }, inert(c.reason)) : "");
}

// figures are those of all runs.
function figures(c, runs) {
  const over = runs.filter((t) => t.status);
  const audit = runs.filter((t) => t.audit_bpb).map((t) => bpb(t.audit_bpb));
  return pairs([
    ["proposed", when(runs[0]?.started_at)],
    ["trained", over.length ? `${duration(sum(over.map((t) => t.training_seconds)))}, ${whole(sum(over.map((t) => t.num_steps)))} steps, ${brief(sum(over.map((t) => t.tokens)))} tokens` : null],
    ["in all", over.length ? `${duration(sum(over.map((t) => t.wall_seconds)))} in ${plural(over.length, "run")}` : null],
    ["peak GPU memory", c.peak_vram_bytes ? bytes(c.peak_vram_bytes) : null],
    ["audit", audit.length ? `${audit.join(", ")} on text that the search never sees` : null],
    ["commit", c.commit ? h("span", { class: "mono" }, inert(c.commit).slice(0, 12)) : null],
    ["child candidates", c.children.length ? links(c.children, candidateLink) : null],
  ]);
}

function runTable(runs) {
  const columns = [
    ["Run", (t) => runLink(t.id)],
    ["Seed", (t) => String(t.seed), "num right"],
    ["Status", (t) => h("span", { class: t.status === "completed" ? "" : "failed" }, t.status || "under way")],
    ["val_bpb", (t) => bpb(t.val_bpb), "num right"],
    ["Phases", (t) => phaseBar(t.phases), "wide"],
    ["In all", (t) => (t.status ? duration(t.wall_seconds) : ""), "num right"],
    ["Memory", (t) => memory(t) ?? "", "num right roomy"],
    ["Device", (t) => inert(t.device), "roomy"],
    ["Class", (t) => inert(t.class), "roomy"],
    ["Notes", (t) => [t.gate ? [h("span", {}, "got ready beside ", runLink(t.gate.after)), ". "] : "", (t.flags ?? []).map((f) => inert(f)).join("; ")], "roomy notes"],
  ].filter(([name, of]) => name !== "Notes" || runs.some((t) => t.gate || t.flags?.length)).filter(([name]) => name !== "Memory" || runs.some(memory)).filter(([name]) => name !== "Class" || new Set(runs.map((t) => t.class)).size > 1);
  return h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": "Runs" }, h("table", { class: "ledger runs" },
    h("thead", {}, h("tr", {}, columns.map(([n, , cls]) => h("th", { scope: "col", class: cls ?? "" }, n)))),
    h("tbody", {}, runs.map((t) => h("tr", {}, columns.map(([, of, cls]) => h("td", { class: cls ?? "" }, of(t))))))));
}

// evidence fills the other half: the run under way, the curves, or what failed.
function evidence(c, runs) {
  const live = runs.find((t) => !t.status && seatOf(t.id));
  if (live) return runningPanel(live.id);
  const detail = runs.filter((t) => t.detail && !c.reason.includes(t.detail)).map((t) => panel(`Trial ${t.id}: ${inert(t.status)}`, h("pre", { class: "detail" }, inertLines(t.detail))));
  const drawn = c.run_details.filter((d) => d.curve.length > 1);
  const parts = [...detail];
  if (drawn.length) {
    const room = h("div", { class: "curve-room" });
    const chart = curves(`Training loss of candidate ${c.id} and of the champion`, room);
    room.append(chart.holder);
    const past = c.champion ? [] : (store.status?.champion_curve ?? []);
    const cls = drawn.length > 1 ? "now several" : "now";
    chart.show([
      { name: store.status?.champion ? `champion, candidate ${store.status.champion.id}` : "champion", cls: "past", points: past },
      ...drawn.map((d, i) => ({ name: i ? "" : drawn.length > 1 ? `its ${drawn.length} runs` : `trial ${d.trial.id}`, cls, points: shares(d, d.budget) })),
    ]);
    parts.push(h("section", { class: "panel upright grows" }, h("div", { class: "panel-head" }, h("h2", {}, "Loss"), chart.legend), room));
  }
  return parts.length ? { root: h("div", { class: "stacked" }, parts), end() {} } : null;
}

// order of the candidates that the page knows.
function around(id) {
  const ids = store.candidates.map((o) => o.id).sort((a, b) => a - b);
  const before = ids.filter((i) => i < id).at(-1);
  return [before, ids.find((i) => i > id)];
}

function comparisons(c) {
  const champion = store.status?.champion?.id;
  return h("p", { class: "actions" },
    champion && champion !== c.id ? h("a", { class: "button", href: `#/compare/${c.id},${champion}` }, "Compare with the champion") : "",
    c.parent && c.parent !== champion ? h("a", { class: "button", href: `#/compare/${c.parent},${c.id}` }, "Compare with its parent") : "");
}

export async function candidateView(match) {
  const id = Number(match[1]);
  await ready();
  const c = await get(`/candidates/${id}`);
  const runs = c.run_details.map((d) => d.trial);
  const names = Object.keys(c.constants).sort();
  const why = (c.why.startsWith(c.description) ? c.why.slice(c.description.length) : c.why).trim();
  const right = evidence(c, runs);
  const changes = panel("Constants changed", names.length && c.parent ? changed(names, c.parent_constants, c.all_constants) : h("p", { class: "dim" }, c.parent ? "No constant differs from its parent's: the code does." : "None: it is where the study started."));
  const took = panel("What it took", figures(c, runs), runs.length === 1 ? phaseBar(runs[0].phases, true) : "");
  const program = panel(c.parent ? `train.py against candidate ${c.parent}'s` : "train.py against the study's start", c.diff ? diffView(c.diff) : h("p", { class: "dim" }, c.parent ? "Its program is the same, line by line." : "It is train.py as the study found it."));
  const root = h("article", { class: "trial" },
    h("header", {}, neighbours("candidate", ...around(id)),
      h("h2", { class: "name" }, `Candidate ${id}`, h("span", { class: "dim" }, " by ", say(c.strategy), c.parent ? [" from ", candidateLink(c.parent)] : "")),
      h("p", { class: "why", dir: "auto" }, inertLines(c.description)),
      why ? h("p", { class: "why dim", dir: "auto" }, inertLines(why)) : "",
      comparisons(c)),
    h("div", { class: "columns" },
      h("div", {}, panel("Verdict", verdict(c)), right?.head ?? "", right ? [changes, took] : took),
      right ? right.root : h("div", {}, changes, program)),
    panel(runs.length === 1 ? "Its run" : `Its ${runs.length} runs`, runTable(runs)),
    right ? program : "",
    c.attachments.length ? panel("The model", files(id, c.attachments)) : "",
    c.log_tail ? panel("End of its last run's log", reader(c.log_tail, "End of the log")) : "");
  // It is shown again when another of its runs begins or is recorded.
  const known = runs.map((t) => `${t.id} ${t.status}`).join();
  const stop = watch((what) => {
    const recorded = what === "trials" && runs.some((t) => !t.status);
    const begun = what === "status" && c.verdict === "pending" && (store.status?.seats ?? []).some((s) => s.trial?.candidate === id && !known.includes(`${s.trial.id} `));
    if (recorded || begun) dispatchEvent(new Event("hashchange"));
  });
  return {
    root,
    end: () => {
      stop();
      right?.end();
    },
  };
}
