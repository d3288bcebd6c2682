// The best so far over the trials, and every trial's score.

import { dots, drawn, frame, inside, margin } from "./chart.js";
import { h, inert, say, svg } from "./dom.js";
import { bpb, duration, signed } from "./format.js";
import { placed } from "./labels.js";
import { linear, padded, quantile } from "./scale.js";
import { running, store, watch } from "./store.js";

const words = { keep: "kept", discard: "discarded", crash: "crashed" };
const reach = 28; // how far from a mark the pointer still finds it, CSS pixels

// domain shows the staircase and nine in ten of the scores; what is worse lies
// on the upper edge.
function domain(trials) {
  const scores = trials.filter((t) => t.score !== null).map((t) => t.score).sort((a, b) => a - b);
  const levels = trials.filter((t) => t.level !== null).map((t) => t.level);
  if (!scores.length) return [0, 1];
  let lo = scores[0];
  let hi = quantile(scores, 0.9);
  for (const level of levels) {
    lo = Math.min(lo, level);
    hi = Math.max(hi, level);
  }
  if (store.baseline) hi = Math.max(hi, store.baseline);
  const room = (hi - lo) * 0.2; // below the stairs, for names
  return padded(lo - room, hi, 0.05);
}

// stairs is the path of the best so far, with its corners.
function stairs(trials, x, y, across) {
  let d = "";
  const corners = [];
  let level = null;
  let last = 0;
  for (const t of trials) {
    const at = x(across(t));
    last = at;
    if (t.level === null || t.level === level) continue;
    d += level === null ? `M${at.toFixed(1)} ${y(t.level).toFixed(1)}` : `H${at.toFixed(1)}V${y(t.level).toFixed(1)}`;
    level = t.level;
    corners.push([at, y(level)]);
  }
  if (level !== null) {
    d += `H${last.toFixed(1)}`;
    corners.push([last, y(level)]);
  }
  return { d, corners };
}

// boxes are what labels must not cover: the line, and the kept marks.
function boxes(corners, marks) {
  const out = marks.map(([x, y]) => ({ x0: x - 4, x1: x + 4, y0: y - 4, y1: y + 4 }));
  for (let i = 1; i < corners.length; i++) {
    const [[ax, ay], [bx, by]] = [corners[i - 1], corners[i]];
    out.push({ x0: ax, x1: bx, y0: ay - 2, y1: ay + 2 }, { x0: bx - 1, x1: bx + 1, y0: Math.min(ay, by), y1: Math.max(ay, by) });
  }
  return out;
}

const cut = (text, n) => (text.length > n ? text.slice(0, n - 1).trimEnd() + "\u2026" : text);

export function staircase() {
  let by = "trials";
  let view = null; // what is drawn now
  let current = -1; // the trial that is pointed at

  const base = svg("svg", { "aria-hidden": "true" });
  const over = svg("svg", { "aria-hidden": "true", class: "over" });
  const tip = h("div", { class: "tip", hidden: true });
  const plot = h("div", { class: "plot staircase", tabindex: 0, role: "slider", "aria-label": "Score of each trial; arrow keys go from trial to trial, Enter opens one", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0 }, base, over, tip);
  const empty = h("p", { class: "empty" });
  const holder = h("div", { class: "staircase-room" }, empty, plot);
  const choices = ["trials", "hours"].map((name) => h("button", { type: "button", "aria-pressed": String(name === by), onclick: () => choose(name) }, name));
  const legend = h("p", { class: "legend" }, mark("keep", "kept"), mark("discard", "discarded"), mark("crash", "crashed"));
  const root = h("section", { class: "panel upright", "aria-labelledby": "staircase-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "staircase-name" }, "Best so far"), legend, h("div", { class: "choice", role: "group", "aria-label": "Across" }, h("span", {}, "by"), choices)),
    holder);

  function mark(kind, name) {
    return h("span", {}, svg("svg", { width: 10, height: 10, "aria-hidden": "true" }, kind === "crash" ? svg("path", { class: "crash", d: "M5 1v8" }) : svg("path", { class: kind, d: "M5 5h0" })), name);
  }

  function choose(name) {
    by = name;
    for (const b of choices) b.setAttribute("aria-pressed", String(b.textContent === by));
    redraw();
  }

  function draw(width) {
    const trials = store.trials;
    const nothing = trials.length === 0;
    empty.hidden = !nothing;
    plot.hidden = nothing;
    holder.classList.toggle("bare", nothing);
    if (nothing) {
      const [r] = running(store.status);
      empty.textContent = r
        ? `No trial has finished yet. Trial ${r.id} is running; its score appears here once it is evaluated.`
        : "No trial has finished yet. The first one is the baseline: train.py unchanged.";
      return;
    }
    const height = holder.clientHeight;
    const range = inside(width, height);
    const across = by === "hours" ? (t) => t.hours ?? 0 : (t) => t.id;
    const first = by === "hours" ? 0 : trials[0].id;
    const end = across(trials.at(-1));
    const x = linear([first, Math.max(end, first + (by === "hours" ? 0.1 : 1))], [range.x[0] + 6, range.x[1] - 6]);
    const y = linear(domain(trials), range.y);
    const top = range.y[1];
    const marks = trials.map((t) => [x(across(t)), t.score === null ? range.y[0] : Math.max(top, y(t.score))]);
    const pick = (test) => marks.filter((_, i) => test(trials[i]));
    const path = (points, cls) => svg("path", { class: cls, d: dots(points, (v) => v, (v) => v) });
    const { d, corners } = stairs(trials, x, y, across);
    const kept = pick((t) => t.decision === "keep" && t.score !== null);

    for (const s of [base, over]) {
      s.setAttribute("viewBox", `0 0 ${width} ${height}`);
      s.setAttribute("width", width);
      s.setAttribute("height", height);
    }
    base.replaceChildren(
      frame(width, height, x, y, { names: { x: by === "hours" ? "hours" : "trial", y: "val_bpb" }, formatX: by === "hours" ? undefined : (v) => (Number.isInteger(v) ? String(v) : ""), countX: Math.max(3, Math.round(width / 110)) }),
      baseline(width, y),
      path(pick((t) => t.decision === "discard" && t.score !== null), trials.length > 2000 ? "discard many" : "discard"),
      ...["crash", "unscored"].map((cls) => svg("path", { class: cls, d: pick((t) => t.score === null && (t.decision === "crash") === (cls === "crash")).map(([a]) => `M${a.toFixed(1)} ${range.y[0]}v-7`).join("") })),
      svg("path", { class: "stairs", d }),
      path(kept, "keep"),
      names(width, height, kept, corners),
    );
    view = { trials, marks, height, width };
    plot.setAttribute("aria-valuemin", trials[0].id);
    plot.setAttribute("aria-valuemax", trials.at(-1).id);
    current = Math.min(current, trials.length - 1);
    describe(current < 0 ? trials.length - 1 : current);
    if (current >= 0) point(current);
  }

  function baseline(width, y) {
    const value = store.baseline;
    if (!value || value > y.domain[1]) return "";
    const at = Math.round(y(value)) + 0.5;
    return svg("g", {}, svg("line", { class: "baseline", x1: margin.left, x2: width - margin.right, y1: at, y2: at }), svg("text", { class: "axis-name", x: width - margin.right, y: at - 5, "text-anchor": "end" }, `baseline ${bpb(value)}`));
  }

  function names(width, height, kept, corners) {
    const font = "11px " + getComputedStyle(plot).fontFamily;
    const items = store.trials
      .filter((t) => t.decision === "keep" && t.score !== null)
      .map((t, i) => ({ trial: t, x: kept[i][0], y: kept[i][1], text: cut(inert(t.description), width < 600 ? 22 : 34), gain: t.before === null ? 0 : t.before - t.score }));
    const champion = items.findLast((i) => i.trial.id === store.status?.champion?.id);
    items.sort((a, b) => (b === champion) - (a === champion) || b.gain - a.gain);
    const bounds = { x0: margin.left, x1: width - 4, y1: height - margin.bottom - 9 };
    const shown = placed(items.filter((i) => i.text).slice(0, 80), { font, bounds, obstacles: boxes(corners, kept), most: width < 600 ? 5 : 12 });
    return svg("g", { class: "labels" }, shown.map((l) => [
      l.tied ? svg("line", { class: "tie", x1: l.x, x2: l.x, y1: l.y + 5, y2: l.at.y - 8 }) : "",
      svg("text", { x: l.at.x, y: l.at.y, "text-anchor": l.end ? "end" : "start" }, l.text),
    ]));
  }

  function describe(i) {
    const t = view.trials[i];
    plot.setAttribute("aria-valuenow", t.id);
    plot.setAttribute("aria-valuetext", `Trial ${t.id}, ${words[t.decision] ?? t.decision}${t.score === null ? "" : ", " + bpb(t.score)}, by ${t.strategy}: ${inert(t.description)}`);
  }

  // point marks trial i and says what it is.
  function point(i) {
    const t = view.trials[i];
    const [x, y] = view.marks[i];
    current = i;
    over.replaceChildren(svg("circle", { class: "ring " + t.decision, cx: x, cy: y, r: 6 }));
    const delta = t.score !== null && t.before !== null ? ` ${signed(t.score - t.before)} against ${bpb(t.before)}` : "";
    tip.replaceChildren(
      h("div", { class: "tip-head" }, h("b", {}, `Trial ${t.id}`), h("span", { class: "decision " + t.decision }, words[t.decision] ?? t.decision), h("span", { class: "dim" }, t.strategy)),
      say(t.description, "div"),
      h("div", { class: "num" }, t.score === null ? "no score" : h("b", {}, bpb(t.score)), h("span", { class: "dim" }, delta)),
      h("div", { class: "dim" }, t.hours === null ? "" : `${duration(t.hours * 3600)} after the start`),
    );
    tip.hidden = false;
    const w = tip.offsetWidth;
    tip.style.left = Math.max(0, Math.min(view.width - w, x - w / 2)) + "px";
    const above = y - tip.offsetHeight - 14;
    tip.style.top = (above > 0 ? above : y + 14) + "px";
    describe(i);
  }

  function leave() {
    current = -1;
    tip.hidden = true;
    over.replaceChildren();
  }

  // nearest finds the mark by the pointer; kept ones are found from farther.
  function nearest(px, py) {
    const { marks, trials } = view;
    let lo = 0;
    let hi = marks.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (marks[mid][0] < px - reach) lo = mid + 1;
      else hi = mid;
    }
    let best = -1;
    let least = reach;
    for (let i = lo; i < marks.length && marks[i][0] <= px + reach; i++) {
      const far = Math.hypot(marks[i][0] - px, marks[i][1] - py) - (trials[i].decision === "keep" ? 4 : 0);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  const open = (i) => (location.hash = `#/trial/${view.trials[i].id}`);
  const find = (e) => {
    const box = base.getBoundingClientRect();
    return nearest(e.clientX - box.left, e.clientY - box.top);
  };
  plot.addEventListener("pointermove", (e) => {
    const i = view ? find(e) : -1;
    plot.classList.toggle("on-mark", i >= 0);
    if (i >= 0 && i !== current) point(i);
    if (i < 0) leave();
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("click", (e) => {
    const i = view ? find(e) : -1;
    if (i >= 0) open(i);
  });
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (e) => {
    if (!view) return;
    const last = view.trials.length - 1;
    const from = current < 0 ? last + 1 : current;
    const kept = (i) => view.trials[i].decision === "keep";
    let to = null;
    if (e.key === "ArrowLeft") to = from - 1;
    else if (e.key === "ArrowRight") to = from + 1;
    else if (e.key === "Home") to = 0;
    else if (e.key === "End") to = last;
    else if (e.key === "PageUp" || e.key === "ArrowUp") for (to = from - 1; to > 0 && !kept(to); ) to--;
    else if (e.key === "PageDown" || e.key === "ArrowDown") for (to = from + 1; to < last && !kept(to); ) to++;
    else if (e.key === "Enter" && current >= 0) return open(current);
    else if (e.key === "Escape") return leave();
    if (to === null) return;
    e.preventDefault();
    point(Math.max(0, Math.min(last, to)));
  });

  const redraw = drawn(holder, draw);
  const end = watch((what) => what === "trials" && redraw());
  return { root, end };
}
