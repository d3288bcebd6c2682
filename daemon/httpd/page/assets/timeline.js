// Who waited for what: a row a seat, in it its runs with their phases.

import { get } from "./api.js";
import { drawn, frame, margin } from "./chart.js";
import { h, inert, say, svg } from "./dom.js";
import { duration, when, whole } from "./format.js";
import { fresh } from "./refresh.js";
import { linear } from "./scale.js";
import { ready, running, store } from "./store.js";

const names = { ask: "proposing", startup: "start-up", compile: "compiling", gate: "waiting at the gate", train: "training", evaluate: "evaluating", exit: "ending" };
const windows = [["1 h", 1], ["4 h", 4], ["12 h", 12], ["all", 0]];
const lanes = { least: 16, most: 56, all: 180 }; // pixels of a lane, and of all together
const gap = 10; // between two seats
const enough = 12; // runs to begin with

let hours = null; // the window that was chosen, which outlives a redraw of the view; 0: everything

const seconds = (time) => new Date(time).getTime() / 1000;

// ended is when a run was over, or how far it is known to have come.
const ended = (r) => r.from + r.seconds + (r.status ? 0 : (running(store.status).find((one) => one.id === r.trial)?.seconds ?? 0));

function draw(answer, picture, width, hours) {
  const runs = answer.runs;
  const first = runs[0].from;
  const last = Math.max(...runs.map(ended));
  const from = hours ? Math.max(first, last - hours * 3600) : first;
  const counts = answer.seats.map((seat) => 1 + Math.max(0, ...runs.filter((r) => r.seat === seat).map((r) => r.lane)));
  const lane = Math.round(Math.max(lanes.least, Math.min(lanes.most, lanes.all / counts.reduce((a, b) => a + b, 0))));
  const m = { ...margin, left: Math.min(150, 20 + 7 * Math.max(...answer.seats.map((s) => s.length))), bottom: 26, top: 8 };
  const tops = [];
  let height = m.top;
  counts.forEach((n) => {
    tops.push(height);
    height += n * lane + gap;
  });
  height += m.bottom;
  const x = linear([from, Math.max(last, from + 60)], [m.left, width - m.right]);
  const clock = (v) => new Date(v * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("width", width);
  picture.setAttribute("height", height);
  picture.replaceChildren(frame(width, height, x, linear([0, 1], [height - m.bottom, m.top]), { m, countY: 0.1, formatY: () => "", formatX: clock, steps: [60, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400] }));
  answer.seats.forEach((seat, i) => picture.append(svg("text", { class: "seat-name", x: m.left - 8, y: tops[i] + (counts[i] * lane) / 2, dy: "0.32em", "text-anchor": "end" }, inert(seat))));
  const paths = new Map(); // by kind: one element each
  const marks = [];
  const put = (kind, a, b, y) => {
    const [left, right] = [Math.max(m.left, x(a)), Math.min(width - m.right, x(b))];
    if (right < m.left || left > width - m.right) return;
    paths.set(kind, (paths.get(kind) ?? "") + `M${left.toFixed(1)} ${y}h${Math.max(0.6, right - left).toFixed(1)}v${lane - 4}h${(-Math.max(0.6, right - left)).toFixed(1)}z`);
  };
  for (const r of runs) {
    const y = tops[answer.seats.indexOf(r.seat)] + r.lane * lane + 2;
    const end = ended(r);
    if (end < from) continue;
    put(r.status ? "whole" : "now", r.from, end, y);
    for (const [kind, at, took] of r.spans) put(kind, r.from + at, r.from + at + took, y);
    if (r.status && r.status !== "completed") put("failed", end - Math.max(1, (last - from) / 600), end, y);
    marks.push({ r, x0: Math.max(m.left, x(r.from)), x1: x(end), y0: y - 2, y1: y + lane - 2 });
  }
  for (const [kind, d] of paths) picture.append(svg("path", { class: "span-" + kind, d }));
  return marks;
}

function chart(answer) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const said = h("div", { class: "said-run num", "aria-live": "polite" }, h("span", { class: "dim" }, "Point at a run, or use the arrow keys."));
  const holder = h("div", { class: "plot timeline", tabindex: 0, role: "slider", "aria-label": "Runs in time; arrow keys go from run to run, Enter opens one", "aria-valuemin": 1, "aria-valuemax": answer.runs.length, "aria-valuenow": answer.runs.length }, picture);
  let marks = [];
  let current = -1;
  const ring = svg("rect", { class: "ring", rx: 3 });

  function point(i) {
    current = i;
    const mark = marks[i];
    if (!mark) return;
    const { r, x0, x1, y0, y1 } = mark;
    for (const [k, v] of Object.entries({ x: x0 - 1, y: y0, width: Math.max(3, x1 - x0 + 2), height: y1 - y0 })) ring.setAttribute(k, v);
    picture.append(ring);
    const spans = r.spans.map(([kind, , took]) => `${names[kind] ?? kind} ${duration(took)}`).join(", ");
    const words = `Trial ${r.trial} on ${inert(r.seat)}, ${when(r.from * 1000)}: ${r.status || "under way"}; ${spans}${r.after ? `; at the gate it waited for trial ${r.after}` : ""}`;
    said.replaceChildren(h("a", { href: `#/trial/${r.trial}` }, `trial ${r.trial}`), words.slice(words.indexOf(" on")), h("br"), say(r.description));
    holder.setAttribute("aria-valuenow", i + 1);
    holder.setAttribute("aria-valuetext", words);
  }

  const find = (e) => {
    const box = picture.getBoundingClientRect();
    const [px, py] = [e.clientX - box.left, e.clientY - box.top];
    return marks.findLastIndex((k) => px >= k.x0 - 2 && px <= k.x1 + 2 && py >= k.y0 && py <= k.y1);
  };
  holder.addEventListener("pointermove", (e) => {
    const i = find(e);
    holder.classList.toggle("on-mark", i >= 0);
    if (i >= 0 && i !== current) point(i);
  });
  holder.addEventListener("click", (e) => {
    const i = find(e);
    if (i >= 0) location.hash = `#/trial/${marks[i].r.trial}`;
  });
  holder.addEventListener("keydown", (e) => {
    const from = current < 0 ? marks.length : current;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: marks.length - 1 }[e.key];
    if (e.key === "Enter" && marks[current]) location.hash = `#/trial/${marks[current].r.trial}`;
    if (to === undefined) return;
    e.preventDefault();
    point(Math.max(0, Math.min(marks.length - 1, to)));
  });
  const redraw = drawn(holder, (width) => {
    marks = draw(answer, picture, width, hours ?? usual(answer.runs));
    current = -1;
  });
  return { holder, said, redraw };
}

// usual is the shortest window with enough runs in it.
function usual(runs) {
  const last = Math.max(...runs.map(ended));
  return windows.find(([, value]) => value && runs.filter((r) => ended(r) > last - value * 3600).length >= enough)?.[1] ?? 0;
}

// shares sums what the runs did, by kind.
function shares(answer) {
  const totals = {};
  let all = 0;
  for (const r of answer.runs) {
    for (const [kind, , took] of r.spans) {
      totals[kind] = (totals[kind] ?? 0) + took;
      all += took;
    }
  }
  return { totals, all };
}

export function timeline() {
  return fresh(() => ready().then(() => get("/timeline?last=2000")), (answer) => {
    for (const r of answer.runs) r.from = seconds(r.begin);
    if (!answer.runs.length) return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, "Timeline")), h("p", { class: "empty" }, "The seats' runs appear here as they begin."));
    const { holder, said, redraw } = chart(answer);
    const choices = windows.map(([name, value]) => h("button", { type: "button", "aria-pressed": String((hours ?? usual(answer.runs)) === value), onclick: () => choose(value) }, name));
    const choose = (value) => {
      hours = value;
      choices.forEach((b, i) => b.setAttribute("aria-pressed", String(windows[i][1] === value)));
      redraw();
    };
    const { totals, all } = shares(answer);
    return h("div", { class: "stack" },
      h("section", { class: "panel", "aria-labelledby": "timeline-name" },
        h("div", { class: "panel-head" }, h("h2", { id: "timeline-name" }, "Timeline"),
          h("p", { class: "dim" }, answer.total > answer.runs.length ? `the last ${whole(answer.runs.length)} of ${whole(answer.total)} runs` : `${whole(answer.total)} runs`),
          h("a", { href: "api/v1/timeline?format=chrome", download: "timeline.json" }, "Chrome trace"),
          h("div", { class: "choice", role: "group", "aria-label": "How far back" }, choices)),
        h("p", { class: "legend" }, Object.keys(names).filter((k) => totals[k]).map((k) => h("span", {}, h("i", { class: "swatch span-" + k }), names[k])), h("span", {}, h("i", { class: "swatch span-failed" }), "ended without a score")),
        holder, said),
      h("section", { class: "panel", "aria-labelledby": "spent-name" },
        h("div", { class: "panel-head" }, h("h2", { id: "spent-name" }, "Where the time went"), h("p", { class: "dim" }, "of what is recorded of these runs")),
        h("table", { class: "shares whole" }, h("tbody", {}, Object.keys(names).filter((k) => totals[k]).map((k) => {
          const bar = h("span", { class: "bar" }, h("span", { class: "span-" + k }));
          bar.firstChild.style.width = (100 * totals[k]) / all + "%";
          return h("tr", {}, h("th", { scope: "row" }, names[k]), h("td", { class: "wide" }, bar), h("td", { class: "num" }, duration(totals[k])), h("td", { class: "num" }, `${((100 * totals[k]) / all).toFixed(1)}\u202f%`));
        })))));
  });
}
