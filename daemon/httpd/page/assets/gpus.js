// What a seat's GPU did in the last half hour: how busy it was, and how full.

import { get } from "./api.js";
import { drawn, frame, inside, line, margin } from "./chart.js";
import { h, inert, svg } from "./dom.js";
import { bytes, percent } from "./format.js";
import { linear } from "./scale.js";
import { store, watch } from "./store.js";

const span = 1800; // seconds
const pace = 2; // seconds between two points that are added
const tight = { ...margin, left: 48, bottom: 24, top: 10 };

// gpuHistory is of a seat's GPU; empty where the seat has none on this machine.
export function gpuHistory(seat) {
  const index = seat?.host ? null : /^cuda:(\d+)$/.exec(seat?.device ?? "")?.[1];
  const root = h("section", { class: "panel gpu-history", hidden: true });
  if (index === undefined || index === null) return { root, end() {} };
  const picture = svg("svg", { "aria-hidden": "true" });
  const holder = h("div", { class: "plot", role: "img", "aria-label": `How busy and how full GPU ${index} was` }, picture);
  const said = h("p", { class: "dim num" });
  const key = (cls, name) => h("span", {}, svg("svg", { width: 14, height: 10, "aria-hidden": "true" }, svg("path", { class: "line " + cls, d: "M0 5h14" })), name);
  root.append(h("div", { class: "panel-head" }, h("h2", {}, `GPU ${index}`), h("p", { class: "legend" }, key("now", "busy"), key("past", "memory")), said), holder);
  let points = []; // [Unix seconds, busy, bytes]
  let total = null;

  const redraw = drawn(holder, (width) => {
    const height = 120;
    const range = inside(width, height, tight);
    const now = points.at(-1)?.[0] ?? Date.now() / 1000;
    const from = Math.min(-300, Math.max(-span, (points[0]?.[0] ?? now) - now));
    const x = linear([from / 60, 0], range.x);
    const y = linear([0, 1], range.y);
    const path = (cls, of) => svg("path", { class: "line " + cls, d: line(points.map((p) => [(p[0] - now) / 60, of(p)]).filter((p) => Number.isFinite(p[1])), x, y) });
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    picture.replaceChildren(
      frame(width, height, x, y, { m: tight, countY: 2, formatY: (v) => percent(v), formatX: (v) => (v === 0 ? "now" : `${String(v).replace("-", "\u2212")} min`), countX: 5 }),
      path("past", (p) => (total && p[2] !== null ? p[2] / total : NaN)),
      path("now", (p) => p[1] ?? NaN));
  });

  function add() {
    const g = store.status?.gpus?.find((one) => String(one.index) === index);
    if (!g) return;
    const at = Date.now() / 1000;
    total = g.memory_total ?? total;
    if (at - (points.at(-1)?.[0] ?? 0) < pace) return;
    points.push([at, g.utilization, g.memory_used]);
    points = points.filter((p) => at - p[0] <= span);
    said.textContent = [inert(g.name), g.memory_used !== null && total ? `${bytes(g.memory_used)} of ${bytes(total)}` : "", g.power_watts ? `${Math.round(g.power_watts)} W` : "", g.temperature_celsius ? `${Math.round(g.temperature_celsius)} \u00b0C` : ""].filter(Boolean).join(" \u00b7 ");
    root.hidden = false;
    redraw();
  }

  get("/gpus").then(({ gpus }) => {
    const g = gpus.find((one) => String(one.index) === index);
    if (g) {
      total ??= g.memory_total;
      const first = points[0]?.[0] ?? Infinity;
      const before = g.points.filter((p) => p[0] < first && Date.now() / 1000 - p[0] <= span).map((p) => p.slice(0, 3));
      points = [...before, ...points];
      root.hidden = !points.length;
      redraw();
    }
  }, () => {}); // what comes with the status is shown all the same
  add();
  return { root, end: watch((what) => what === "status" && add()) };
}
