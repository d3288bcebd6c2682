// Which constants mattered, and the scores along each of them.

import { get } from "./api.js";
import { drawn, dots, frame, inside, margin } from "./chart.js";
import { h, inert, svg } from "./dom.js";
import { bpb, brief, literal, percent } from "./format.js";
import { fresh } from "./refresh.js";
import { linear, logarithmic, padded, quantile } from "./scale.js";

const tight = { ...margin, left: 52, bottom: 22 };

function bars(importance) {
  return h("table", { class: "shares" }, h("caption", { class: "hidden" }, "Importance of each constant"), h("tbody", {}, importance.map(({ name, share }) => {
    const bar = h("span", { class: "bar" }, h("span", {}));
    bar.firstChild.style.width = 100 * share + "%";
    return h("tr", {}, h("th", { scope: "row", class: "mono" }, inert(name)), h("td", { class: "wide" }, bar), h("td", { class: "num" }, share > 0 && share < 0.005 ? "<1\u202f%" : percent(share)));
  })));
}

// across is the scale of a constant's values; what is no number gets its place
// in the order of appearance.
function across(slice, range) {
  const values = slice.points.map((p) => p[0]);
  if (values.every((v) => typeof v === "number")) {
    const [lo, hi] = [Math.min(...values), Math.max(...values)];
    if (slice.log && lo > 0 && hi > lo) return { x: logarithmic([lo * 0.9, hi * 1.1], range), at: (v) => v, name: brief, ends: [lo, hi] };
    return { x: linear(padded(lo, hi), range), at: (v) => v, name: brief, ends: lo === hi ? [lo] : [lo, hi] };
  }
  const names = [...new Set(values.map(literal))];
  return { x: linear(padded(0, Math.max(1, names.length - 1)), range), at: (v) => names.indexOf(literal(v)), name: (i) => names[i] ?? "", ends: names.map((_, i) => i).slice(0, 6) };
}

function slice(name, data, share) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const said = h("p", { class: "dim num said-value" });
  const holder = h("div", { class: "plot", role: "img", "aria-label": `Scores along ${inert(name)}` }, picture);
  const points = data.points.filter((p) => p[1] !== null);
  const scores = points.map((p) => p[1]).sort((a, b) => a - b);
  let marks = [];

  function draw(width) {
    const height = 170;
    const range = inside(width, height, tight);
    const { x, at, name: word, ends } = across(data, range.x);
    const y = linear(scores.length ? padded(scores[0], quantile(scores, 0.9)) : [0, 1], range.y);
    const place = (p) => [x(at(p[0])), Math.max(range.y[1], y(p[1]))];
    marks = points.map((p) => [place(p), p]);
    const path = (cls, test) => svg("path", { class: cls, d: dots(points.filter(test).map(place), (v) => v, (v) => v) });
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    const axes = frame(width, height, linear([0, 1], range.x), y, { m: tight, countY: 3, formatX: () => "" });
    // Characters that a word has without touching the next.
    const room = ends.length > 2 ? Math.min(12, Math.max(2, Math.floor((x(ends[1]) - x(ends[0])) / 7))) : 12;
    const short = (s) => (s.length > room ? s.slice(0, room - 1) + "…" : s);
    ends.forEach((v, i) => axes.append(svg("text", { class: "tick", x: x(v), y: height - 6, "text-anchor": ends.length === 2 ? ["start", "end"][i] : "middle" }, short(String(word(v)).replace(/^"|"$/g, "")))));
    picture.replaceChildren(axes, path(points.length > 2000 ? "discard many" : "discard", (p) => p[3] !== "keep"), path("keep small", (p) => p[3] === "keep"));
  }

  const near = (e) => {
    const box = picture.getBoundingClientRect();
    let best = null;
    let least = 18;
    for (const [[mx, my], p] of marks) {
      const far = Math.hypot(mx + box.left - e.clientX, my + box.top - e.clientY);
      if (far < least) [best, least] = [p, far];
    }
    return best;
  };
  holder.addEventListener("pointermove", (e) => {
    const p = near(e);
    holder.classList.toggle("on-mark", Boolean(p));
    said.textContent = p ? `trial ${p[2]}: ${inert(literal(p[0]))}, ${bpb(p[1])}` : "";
  });
  holder.addEventListener("click", (e) => {
    const p = near(e);
    if (p) location.hash = `#/trial/${p[2]}`;
  });
  drawn(holder, draw);
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", { class: "mono" }, inert(name)), h("span", { class: "dim num" }, share === undefined ? "" : percent(share)), said), holder);
}

export function constants() {
  return fresh(() => get("/constants"), ({ importance, slices }) => {
    const shares = new Map(importance.map((i) => [i.name, i.share]));
    const names = Object.keys(slices).filter((n) => slices[n].points.length > 1);
    names.sort((a, b) => (shares.get(b) ?? -1) - (shares.get(a) ?? -1) || (a < b ? -1 : 1));
    return h("div", {},
      h("section", { class: "panel", "aria-labelledby": "importance-name" },
        h("div", { class: "panel-head" }, h("h2", { id: "importance-name" }, "Importance"), h("p", { class: "dim" }, importance.length ? "how much of the difference between scores each constant explains" : "")),
        importance.length ? bars(importance) : h("p", { class: "empty" }, "Not enough trials yet to rank constants.")),
      names.length ? h("div", { class: "slices" }, names.map((n) => slice(n, slices[n], shares.get(n)))) : "");
  });
}
