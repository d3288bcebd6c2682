// Loss curves over the budget: those of now, and one to compare with.

import { drawn, frame, inside, line } from "./chart.js";
import { h, svg } from "./dom.js";
import { percent } from "./format.js";
import { linear, padded, quantile } from "./scale.js";

// domain leaves out the first, steep part where it would flatten the rest.
function domain(curves) {
  const losses = curves.flatMap((c) => c.points.map((p) => p[1])).filter(Number.isFinite).sort((a, b) => a - b);
  if (!losses.length) return [0, 1];
  return padded(losses[0], losses.length > 12 ? quantile(losses, 0.8) : losses.at(-1), 0.08);
}

// curves draws [{name, cls, points: [[share of the budget, loss]…]}…] into a
// holder that fits any width.
export function curves(label) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const legend = h("p", { class: "legend" });
  const holder = h("div", { class: "plot curve", role: "img", "aria-label": label }, picture);
  let shown = [];

  function draw(width) {
    const height = Math.round(Math.max(150, Math.min(260, width * 0.5)));
    const range = inside(width, height);
    const reach = Math.max(...shown.map((c) => c.points.at(-1)[0]), 0.01);
    const x = linear([0, Math.max(1, reach)], range.x);
    const y = linear(domain(shown), range.y);
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    const inView = (p) => p[1] <= y.domain[1];
    picture.replaceChildren(
      frame(width, height, x, y, { names: { y: "training loss", x: "of the budget" }, formatX: (v) => percent(v), countX: 4 }),
      ...shown.map((c) => svg("path", { class: "line " + c.cls, d: line(c.points.filter(inView), x, y) })),
    );
    const tips = shown.filter((c) => c.cls.startsWith("now")).map((c) => c.points.at(-1));
    const r = tips.length > 1 ? 2.5 : 3.5;
    for (const tip of tips.filter(inView)) picture.append(svg("circle", { class: "tip-dot", cx: x(tip[0]), cy: y(tip[1]), r }));
  }

  const redraw = drawn(holder, draw);
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
