// Which constants mattered, the candidates across all of them, and the scores
// along each.

import { get } from "./api.js";
import { drawn, dots, frame, inside, margin, wedges } from "./chart.js";
import { h, inert, svg } from "./dom.js";
import { bpb, literal, percent } from "./format.js";
import { parallel } from "./parallel.js";
import { fresh } from "./refresh.js";
import { along, linear, padded, worst } from "./scale.js";

const tight = { ...margin, left: 52, bottom: 22 };

function bars(importance) {
  return h("table", { class: "shares" }, h("caption", { class: "hidden" }, "Importance of each constant"), h("tbody", {}, importance.map(({ name, share }) => {
    const bar = h("span", { class: "bar" }, h("span", {}));
    bar.firstChild.style.width = 100 * share + "%";
    return h("tr", {}, h("th", { scope: "row", class: "mono" }, inert(name)), h("td", { class: "wide" }, bar), h("td", { class: "num" }, part(share)));
  })));
}

const part = (share) => (share > 0 && share < 0.005 ? "<1\u202f%" : percent(share));

function slice(name, data, share, champion) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const said = h("p", { class: "dim num said-value" });
  const holder = h("div", { class: "plot", role: "img", "aria-label": `Scores along ${inert(name)}` }, picture);
  const points = data.points.filter((p) => p[1] !== null);
  const scores = points.map((p) => p[1]).sort((a, b) => a - b);
  let marks = [];

  function draw(width) {
    const height = 170;
    const range = inside(width, height, tight);
    const { x, at, word, ends, low, high } = along(points.map((p) => p[0]), data.log, range.x);
    const y = linear(scores.length ? padded(scores[0], worst(scores)) : [0, 1], range.y);
    const top = range.y[1];
    const ways = { up: [], left: [], right: [] };
    const within = [];
    marks = points.map((p) => {
      const v = at(p[0]);
      const place = [x(Math.max(low, Math.min(high, v))), Math.max(top, y(p[1]))];
      const mark = [place, p];
      (v < low ? ways.left : v > high ? ways.right : y(p[1]) < top ? ways.up : within).push(mark);
      return mark;
    });
    const path = (cls, test) => svg("path", { class: cls, d: dots(within.filter(([, p]) => test(p)).map(([place]) => place), (v) => v, (v) => v) });
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    const axes = frame(width, height, linear([0, 1], range.x), y, { m: tight, countY: 3, formatX: () => "" });
    // Characters that a word has without touching the next.
    const room = ends.length > 2 ? Math.min(12, Math.max(2, Math.floor((x(ends[1]) - x(ends[0])) / 7))) : 12;
    const short = (s) => (s.length > room ? s.slice(0, room - 1) + "\u2026" : s);
    ends.forEach((v, i) => axes.append(svg("text", { class: "tick", x: x(v), y: height - 6, "text-anchor": ends.length === 2 ? ["start", "end"][i] : "middle" }, short(String(word(v)).replace(/^"|"$/g, "")))));
    picture.replaceChildren(axes, path(points.length > 2000 ? "discard many" : "discard", (p) => p[3] !== "kept"),
      ...Object.entries(ways).map(([way, out]) => svg("path", { class: "wedge beyond", d: wedges(out.map(([place]) => place), way) })),
      path("keep small", (p) => p[3] === "kept"),
      ...marks.filter(([, p]) => p[2] === champion).map(([place]) => svg("circle", { class: "ring champion", cx: place[0], cy: place[1], r: 6 })));
  }

  const near = (e) => {
    const box = picture.getBoundingClientRect();
    let best = null;
    let least = 22;
    for (const [[mx, my], p] of marks) {
      const far = Math.hypot(mx + box.left - e.clientX, my + box.top - e.clientY);
      if (far < least) [best, least] = [p, far];
    }
    return best;
  };
  holder.addEventListener("pointermove", (e) => {
    const p = near(e);
    holder.classList.toggle("on-mark", Boolean(p));
    said.textContent = p ? `candidate ${p[2]}${p[2] === champion ? ", champion" : ""}: ${inert(literal(p[0]))}, ${bpb(p[1])}` : "";
  });
  holder.addEventListener("click", (e) => {
    const p = near(e);
    if (p) location.hash = `#/candidate/${p[2]}`;
  });
  drawn(holder, draw);
  return h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", { class: "mono" }, inert(name)), h("span", { class: "dim num" }, share === undefined ? "" : part(share)), said), holder);
}

const key = (mark, name) => h("span", {}, svg("svg", { width: 14, height: 12, "aria-hidden": "true" }, mark), name);

function legend() {
  return h("p", { class: "legend" },
    key(svg("path", { class: "keep small", d: "M7 6h0" }), "kept"),
    key(svg("circle", { class: "ring champion", cx: 7, cy: 6, r: 4.5 }), "champion"),
    key(svg("path", { class: "discard", d: "M7 6h0" }), "others"),
    key(svg("path", { class: "wedge beyond", d: wedges([[7, 2.5]], "up") }), "beyond the axis"));
}

export function constants() {
  return fresh(() => get("/constants"), ({ champion, importance, slices }) => {
    const shares = new Map(importance.map((i) => [i.name, i.share]));
    const names = Object.keys(slices);
    names.sort((a, b) => (shares.get(b) ?? -1) - (shares.get(a) ?? -1) || (a < b ? -1 : 1));
    const varied = importance.filter((i) => slices[i.name]);
    const across = names.length > 1 ? parallel(names, slices, champion) : null;
    return h("div", { class: "stack" },
      h("div", { class: across ? "columns wide-left" : "" },
        h("section", { class: "panel", "aria-labelledby": "importance-name" },
          h("div", { class: "panel-head" }, h("h2", { id: "importance-name" }, "Importance"), h("p", { class: "dim" }, varied.length ? "how much of the difference between scores each constant explains" : "")),
          varied.length ? bars(varied) : h("p", { class: "empty" }, "Not enough trials yet to rank constants.")),
        across ?? ""),
      names.length ? h("div", {}, h("div", { class: "panel-head" }, h("h2", {}, "Scores along each constant"), legend()), h("div", { class: "slices" }, names.map((n) => slice(n, slices[n], shares.get(n), champion)))) : "");
  });
}
