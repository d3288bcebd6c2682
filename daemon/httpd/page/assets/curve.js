// Loss curves over the budget: those of now, and some to compare with.

import { drawn, frame, inside, line, wedges } from "./chart.js";
import { h, svg } from "./dom.js";
import { brief, percent } from "./format.js";
import { linear, padded, quantile } from "./scale.js";

const settled = 0.1; // of the budget: before it a loss falls steeply

// domain leaves out the steep beginning, which would flatten the rest, and what
// has run away. Of what is shown as now, the best is in sight all the same.
function domain(curves) {
  const finite = (list) => list.flatMap((c) => c.points.filter((p) => Number.isFinite(p[1])));
  const all = finite(curves);
  if (!all.length) return [0, 1];
  const late = all.filter((p) => p[0] >= settled);
  const losses = (late.length > 4 ? late : all).map((p) => p[1]).sort((a, b) => a - b);
  const middle = quantile(losses, 0.5);
  const best = curves.filter((c) => !c.cls.startsWith("past")).map((c) => Math.min(...finite([c]).map((p) => p[1]))).filter(Number.isFinite);
  const top = Math.min(losses.at(-1), middle + 4 * (middle - losses[0]) + 0.02 * Math.abs(middle));
  return padded(losses[0], Math.max(top, ...best.map((v) => v + 0.05 * Math.abs(v))), 0.08);
}

// clipped splits a curve into the line, which follows the frame's edge where the
// loss is above it, the places where it leaves the frame after it was inside,
// and those where it is no number.
function clipped(points, x, y) {
  const top = y.domain[1];
  const parts = [];
  const away = [];
  const lost = [];
  let run = [];
  let been = false;
  let out = false;
  for (const [at, loss] of points) {
    if (!Number.isFinite(loss)) {
      if (!lost.length || run.length) lost.push(at);
      if (run.length) parts.push(run);
      run = [];
      continue;
    }
    const over = loss > top;
    if (been && over && !out) away.push(at);
    out = over;
    been ||= !over;
    if (been) run.push([at, Math.min(loss, top)]);
  }
  if (run.length) parts.push(run);
  return { d: parts.map((p) => line(p, x, y)).join(""), away, lost, out };
}

// curves draws [{name, cls, points: [[share of the budget, loss or null]…]}…]
// into a holder that fits any width; with room, it is as high as that.
export function curves(label, room) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const legend = h("p", { class: "legend" });
  const holder = h("div", { class: "plot curve", role: "img", "aria-label": label }, picture);
  let shown = [];

  function draw(width) {
    const height = Math.round(room ? Math.max(200, room.clientHeight) : Math.max(150, Math.min(260, width * 0.5)));
    const range = inside(width, height);
    const reach = Math.max(...shown.map((c) => c.points.at(-1)[0]), 0.01);
    const x = linear([0, Math.max(1, reach)], range.x);
    const y = linear(domain(shown), range.y);
    const top = y.domain[1];
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    picture.replaceChildren(frame(width, height, x, y, {
      names: { y: "training loss", x: "of the budget" }, formatX: (v) => percent(v), countX: 4,
      countY: Math.max(3, Math.round(height / 56)), formatY: Math.abs(top) >= 1e4 ? brief : undefined,
    }));
    for (const c of shown) {
      const { d, away, lost, out } = clipped(c.points, x, y);
      picture.append(svg("path", { class: "line " + c.cls, d }));
      const edge = range.y[1];
      if (away.length) picture.append(svg("path", { class: "wedge " + c.cls, d: wedges(away.map((at) => [x(at), edge]), "up") }));
      const last = c.points.at(-1);
      if (out && Number.isFinite(last[1])) note(`${brief(last[1])} \u2191`, x(last[0]), edge + 20, range);
      for (const at of lost) {
        picture.append(svg("path", { class: "nan " + c.cls, d: `M${x(at).toFixed(1)} ${range.y[0]}V${edge}` }));
        note("NaN", x(at), edge + 20, range);
      }
    }
    const tips = shown.filter((c) => c.cls.startsWith("now")).map((c) => c.points.at(-1));
    const r = tips.length > 1 ? 2.5 : 3.5;
    for (const tip of tips.filter((p) => Number.isFinite(p[1]) && p[1] <= top)) picture.append(svg("circle", { class: "tip-dot", cx: x(tip[0]), cy: y(tip[1]), r }));
  }

  function note(text, at, y, range) {
    const right = at > (range.x[0] + range.x[1]) / 2;
    picture.append(svg("text", { class: "off", x: right ? at - 8 : at + 8, y, "text-anchor": right ? "end" : "start" }, text));
  }

  const redraw = drawn(room ?? holder, draw);
  return {
    holder,
    legend,
    show(next) {
      shown = next.filter((c) => c.points.length);
      legend.replaceChildren(...shown.filter((c) => c.name).map((c) => h("span", {}, svg("svg", { width: 14, height: 10, "aria-hidden": "true" }, svg("path", { class: "line " + c.cls, d: "M0 5h14" })), c.name)));
      redraw();
      return shown.length;
    },
  };
}

// shares are the points of a recorded curve over the budget; what ended early is
// measured by the length that it should have had.
export function shares(run, budget) {
  const timed = run.curve.at(-1)?.[1] > 0;
  const at = timed ? 1 : 0;
  const whole = (timed ? budget?.seconds : budget?.steps) || run.curve.at(-1)?.[at] || 1;
  return run.curve.map((p) => [p[at] / whole, p[3]]);
}
