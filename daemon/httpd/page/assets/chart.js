// The frame of a chart: axes with few, quiet lines.

import { svg } from "./dom.js";
import { decimals, ticks } from "./scale.js";

export const margin = { top: 14, right: 20, bottom: 34, left: 58 };

// inside gives the drawing's ranges for a size.
export const inside = (width, height, m = margin) => ({ x: [m.left, width - m.right], y: [height - m.bottom, m.top] });

// frame draws both axes; name are their titles, format makes tick labels, steps
// are the distances that ticks of x may have, where round numbers are none.
export function frame(width, height, x, y, { names, formatX, formatY, countX, countY, steps, m = margin }) {
  const g = svg("g", { class: "axes" });
  const ys = ticks(y.domain, countY ?? Math.max(2, Math.round((height - m.top - m.bottom) / 56)));
  const placesY = decimals(ys);
  for (const v of ys) {
    const at = Math.round(y(v)) + 0.5;
    g.append(
      svg("line", { class: "grid", x1: m.left, x2: width - m.right, y1: at, y2: at }),
      svg("text", { class: "tick", x: m.left - 8, y: at, dy: "0.32em", "text-anchor": "end" }, formatY ? formatY(v) : v.toFixed(placesY)),
    );
  }
  const xs = ticks(x.domain, countX ?? Math.max(2, Math.round((width - m.left - m.right) / 90)), steps);
  const placesX = decimals(xs);
  for (const v of xs) {
    const at = Math.round(x(v)) + 0.5;
    g.append(svg("text", { class: "tick", x: at, y: height - m.bottom + 16, "text-anchor": "middle" }, formatX ? formatX(v) : v.toFixed(placesX)));
  }
  g.append(svg("line", { class: "axis", x1: m.left, x2: width - m.right, y1: height - m.bottom + 0.5, y2: height - m.bottom + 0.5 }));
  if (names?.x) g.append(svg("text", { class: "axis-name", x: width - m.right, y: height - 3, "text-anchor": "end" }, names.x));
  if (names?.y) g.append(svg("text", { class: "axis-name", x: m.left, y: 9 }, names.y));
  return g;
}

export const line = (points, x, y) =>
  points.length ? "M" + points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L") : "";

// dots draws any number of round marks as one element.
export const dots = (points, x, y) => points.map(([a, b]) => `M${x(a).toFixed(1)} ${y(b).toFixed(1)}h0`).join("");

// wedges draws marks of values that lie beyond the frame, each pointing to
// where it would be: up, down, left or right of the place given.
export function wedges(points, way) {
  const shape = { up: "l-4 7h8z", down: "l-4-7h8z", left: "l7-4v8z", right: "l-7-4v8z" }[way];
  return points.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}${shape}`).join("");
}

// drawn redraws with the width of its holder, at most once a frame.
export function drawn(holder, draw) {
  let asked = false;
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      const width = Math.floor(holder.clientWidth);
      if (width > 0 && holder.isConnected) draw(width);
    });
  };
  const observer = new ResizeObserver(redraw);
  observer.observe(holder);
  return redraw;
}
