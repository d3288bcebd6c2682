// The champions' line over the candidates: each where it was decided, at the
// mean of its runs.

import { drawn, frame, inside, margin } from "./chart.js";
import { h, inert, say, svg } from "./dom.js";
import { bpb, duration, plural, signed } from "./format.js";
import { placed } from "./labels.js";
import { amend, address } from "./query.js";
import { linear } from "./scale.js";
import { domain, stairs } from "./stairs.js";
import { running, store, watch } from "./store.js";
import { outcome, standing } from "./verdict.js";

const reach = 28; // how far from a mark the pointer still finds it, CSS pixels
const many = 2000; // candidates, from which marks are small
const units = { trials: "trial", hours: "hours" };

const isKept = (c) => c.verdict === "kept" && c.val_bpb !== null;
const isPending = (c) => c.verdict === "pending" && c.val_bpb !== null;
const isDiscarded = (c) => c.val_bpb !== null && !c.below && !isKept(c) && !isPending(c);
const failed = (c) => c.verdict === "crashed" || c.verdict === "tampered";

// boxes are what labels must not cover: the line, and the marks on it.
function boxes(corners, marks) {
  const out = marks.map(([x, y]) => ({ x0: x - 4, x1: x + 4, y0: y - 4, y1: y + 4 }));
  for (let i = 1; i < corners.length; i++) {
    const [[ax, ay], [bx, by]] = [corners[i - 1], corners[i]];
    out.push({ x0: ax, x1: bx, y0: ay - 2, y1: ay + 2 }, { x0: bx - 1, x1: bx + 1, y0: Math.min(ay, by), y1: Math.max(ay, by) });
  }
  return out;
}

const cut = (text, n) => (text.length > n ? text.slice(0, n - 1).trimEnd() + "\u2026" : text);
const point = ([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}`;

export function staircase() {
  let by = "trials";
  let view = null; // what is drawn now
  let current = -1; // the candidate that is pointed at

  const base = svg("svg", { "aria-hidden": "true" });
  const over = svg("svg", { "aria-hidden": "true", class: "over" });
  const tip = h("div", { class: "tip", hidden: true });
  const plot = h("div", { class: "plot staircase", tabindex: 0, role: "slider", "aria-label": "Candidates by their score; arrow keys go from one to the next, Enter opens it", "aria-valuemin": 1, "aria-valuemax": 1, "aria-valuenow": 1 }, base, over, tip);
  const empty = h("p", { class: "empty" });
  const holder = h("div", { class: "staircase-room" }, empty, plot);
  const choices = Object.keys(units).map((name) => h("button", { type: "button", onclick: () => amend({ by: name === "trials" ? null : name }) }, name));
  const legend = h("p", { class: "legend" });
  const axis = h("div", { class: "choice", role: "group", "aria-label": "Across by" }, choices);
  const root = h("section", { class: "panel upright", "aria-labelledby": "staircase-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "staircase-name" }, "Best so far"), legend, axis),
    holder);

  function update(query) {
    const asked = units[query.get("by")] ? query.get("by") : "trials";
    for (const b of choices) b.setAttribute("aria-pressed", String(b.textContent === asked));
    if (asked === by) return;
    by = asked;
    redraw();
  }

  const key = (cls, d, name, width = 12) => h("span", {}, svg("svg", { width, height: 10, "aria-hidden": "true" }, svg("path", { class: cls, d })), name);

  function explain(all) {
    const has = (test) => all.some(test);
    legend.replaceChildren(...[
      has(isKept) && key("stairs", "M0 5h18", "champion, mean of its runs", 18),
      has(isKept) && key("keep", "M6 5h0", "kept"),
      has(isPending) && key("pending", "M6 1.5a3.5 3.5 0 1 0 .01 0", "pending"),
      has(isDiscarded) && key("discard", "M6 5h0", "discarded"),
      has((c) => c.scores || c.below) && key("run", "M2 5h8", "single run"),
      has(failed) && key("crash", "M6 1v8", "failed"),
    ].filter(Boolean));
  }

  function draw(width) {
    const all = store.candidates;
    const nothing = all.length === 0;
    empty.hidden = !nothing;
    plot.hidden = axis.hidden = nothing;
    holder.classList.toggle("bare", nothing);
    explain(all);
    if (nothing) {
      const [r] = running(store.status);
      empty.textContent = r
        ? `No trial has finished yet. Trial ${r.id} is running; its score appears here once it is evaluated.`
        : "No trial has finished yet. The first one is the baseline: train.py unchanged.";
      return;
    }
    const height = holder.clientHeight;
    const range = inside(width, height);
    const across = by === "hours" ? (c) => c.hours : (c) => c.at;
    const first = by === "hours" ? 0 : 1;
    const end = Math.max(...all.map(across));
    const x = linear([first, Math.max(end, first + (by === "hours" ? 0.1 : 1))], [range.x[0] + 6, range.x[1] - 6]);
    const y = linear(domain(all, store.steps, store.baseline), range.y);
    const top = range.y[1];
    const down = (v) => Math.max(top, y(v));
    // Left to right, so that the pointer and the keyboard find neighbours.
    const order = [...all].sort((a, b) => across(a) - across(b) || a.id - b.id);
    const marks = order.map((c) => [x(across(c)), c.val_bpb === null ? range.y[0] : down(c.val_bpb)]);
    const pick = (test) => marks.filter((_, i) => test(order[i]));
    const dots = (points, cls) => svg("path", { class: cls, d: points.map((p) => point(p) + "h0").join("") });
    const { d, corners } = stairs(store.steps, x, y, across, end);
    const kept = pick(isKept);
    const small = all.length > many ? " many" : "";

    for (const s of [base, over]) {
      s.setAttribute("viewBox", `0 0 ${width} ${height}`);
      s.setAttribute("width", width);
      s.setAttribute("height", height);
    }
    base.replaceChildren(
      frame(width, height, x, y, { names: { x: units[by], y: "val_bpb" }, formatX: by === "hours" ? undefined : (v) => (Number.isInteger(v) ? String(v) : ""), countX: Math.max(3, Math.round(width / 110)) }),
      baseline(width, y),
      svg("path", { class: "run" + small, d: runs(order, marks, down) }),
      dots(pick(isDiscarded), "discard" + small),
      ...[["crash", failed], ["unscored", (c) => !failed(c)]].map(([cls, test]) => svg("path", { class: cls, d: pick((c) => c.val_bpb === null && test(c)).map(([a]) => `M${a.toFixed(1)} ${range.y[0]}v-7`).join("") })),
      svg("path", { class: "stairs", d }),
      svg("path", { class: "pending", d: pick(isPending).map(([a, b]) => `M${a.toFixed(1)} ${(b - 3.5).toFixed(1)}a3.5 3.5 0 1 0 .01 0`).join("") }),
      dots(kept, "keep"),
      names(order, width, height, kept, corners),
    );
    view = { order, marks, height, width };
    plot.setAttribute("aria-valuemax", order.length);
    current = Math.min(current, order.length - 1);
    describe(current < 0 ? order.length - 1 : current);
    if (current >= 0) show(current);
  }

  // runs are ticks for the single runs of what has several, joined by a whisker,
  // and for what is below the line without being a gain.
  function runs(order, marks, down) {
    let out = "";
    order.forEach((c, i) => {
      if (!c.scores && !c.below) return;
      const at = marks[i][0];
      const ys = (c.scores ?? [c.val_bpb]).map(down);
      out += ys.map((y) => `M${(at - 3).toFixed(1)} ${y.toFixed(1)}h6`).join("");
      if (ys.length > 1) out += `M${at.toFixed(1)} ${Math.min(...ys).toFixed(1)}V${Math.max(...ys).toFixed(1)}`;
    });
    return out;
  }

  function baseline(width, y) {
    const value = store.baseline;
    if (!value || value > y.domain[1]) return "";
    const at = Math.round(y(value)) + 0.5;
    return svg("g", {}, svg("line", { class: "baseline", x1: margin.left, x2: width - margin.right, y1: at, y2: at }), svg("text", { class: "axis-name", x: width - margin.right, y: at - 5, "text-anchor": "end" }, `baseline ${bpb(value)}`));
  }

  function names(order, width, height, kept, corners) {
    const font = "11px " + getComputedStyle(plot).fontFamily;
    const items = order.filter(isKept).map((c, i) => ({ id: c.id, x: kept[i][0], y: kept[i][1], text: cut(inert(c.label), width < 600 ? 22 : 34), gain: -(c.delta ?? 0) }));
    const champion = items.find((i) => i.id === store.steps.at(-1)?.candidate);
    items.sort((a, b) => (b === champion) - (a === champion) || b.gain - a.gain);
    const bounds = { x0: margin.left, x1: width - 4, y1: height - margin.bottom - 9 };
    const shown = placed(items.filter((i) => i.text).slice(0, 80), { font, bounds, obstacles: boxes(corners, kept), most: width < 600 ? 5 : 12 });
    return svg("g", { class: "labels" }, shown.map((l) => [
      l.tied ? svg("line", { class: "tie", x1: l.x, x2: l.x, y1: l.y + 5, y2: l.at.y - 8 }) : "",
      svg("text", { x: l.at.x, y: l.at.y, "text-anchor": l.end ? "end" : "start" }, l.text),
    ]));
  }

  function describe(i) {
    const c = view.order[i];
    plot.setAttribute("aria-valuenow", i + 1);
    plot.setAttribute("aria-valuetext", `Candidate ${c.id}, ${outcome(c)}${c.val_bpb === null ? "" : ", " + mean(c)}, by ${inert(c.strategy)}: ${inert(c.description)}`);
  }

  const mean = (c) => bpb(c.val_bpb) + (c.scores ? `, mean of ${c.scores.length} runs` : "");

  // show marks candidate i and says what it is.
  function show(i) {
    const c = view.order[i];
    const [x, y] = view.marks[i];
    current = i;
    over.replaceChildren(svg("circle", { class: "ring " + c.verdict, cx: x, cy: y, r: 6 }));
    const score = c.val_bpb === null
      ? "no score"
      : [h("b", {}, bpb(c.val_bpb)), h("span", { class: "dim" }, c.scores ? ` mean of ${c.scores.length} runs` : "", c.interval ? ` \u00b1 ${c.interval.toFixed(6)}` : "")];
    tip.replaceChildren(
      h("div", { class: "tip-head" }, h("b", {}, `Candidate ${c.id}`), standing(c), say(c.strategy, "span")),
      say(c.description, "div"),
      h("div", { class: "num" }, score),
      h("div", { class: "dim num" }, c.delta === null ? "" : `${signed(c.delta)} against ${bpb(c.against)}`),
      h("div", { class: "dim" }, `${plural(c.runs.length, "run")}, ${c.verdict === "pending" ? "last" : "decided"} ${duration(c.hours * 3600)} after the start`),
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
    const { marks, order } = view;
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
      const far = Math.hypot(marks[i][0] - px, marks[i][1] - py) - (isKept(order[i]) ? 4 : 0);
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  const open = (i) => (location.hash = `#/candidate/${view.order[i].id}`);
  const find = (e) => {
    const box = base.getBoundingClientRect();
    return nearest(e.clientX - box.left, e.clientY - box.top);
  };
  plot.addEventListener("pointermove", (e) => {
    const i = view ? find(e) : -1;
    plot.classList.toggle("on-mark", i >= 0);
    if (i >= 0 && i !== current) show(i);
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
    const last = view.order.length - 1;
    const from = current < 0 ? last + 1 : current;
    let to = null;
    if (e.key === "ArrowLeft") to = from - 1;
    else if (e.key === "ArrowRight") to = from + 1;
    else if (e.key === "Home") to = 0;
    else if (e.key === "End") to = last;
    else if (e.key === "PageUp" || e.key === "ArrowUp") for (to = from - 1; to > 0 && !isKept(view.order[to]); ) to--;
    else if (e.key === "PageDown" || e.key === "ArrowDown") for (to = from + 1; to < last && !isKept(view.order[to]); ) to++;
    else if (e.key === "Enter" && current >= 0) return open(current);
    else if (e.key === "Escape") return leave();
    if (to === null) return;
    e.preventDefault();
    show(Math.max(0, Math.min(last, to)));
  });

  const redraw = drawn(holder, draw);
  update(address().query);
  const end = watch((what) => what === "trials" && redraw());
  return { root, end, update };
}
