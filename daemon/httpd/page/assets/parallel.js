// Parallel coordinates: an axis a constant, a line a candidate, the score last.

import { drawn, wedges } from "./chart.js";
import { h, inert, svg } from "./dom.js";
import { bpb } from "./format.js";
import { along, linear, padded, worst } from "./scale.js";

const least = 86; // pixels between two axes
const cut = (text, n) => (text.length > n ? text.slice(0, n - 1) + "\u2026" : text);

// joined puts each candidate's values together: {id, verdict, score, values}.
function joined(names, slices) {
  const all = new Map();
  for (const name of names) {
    for (const [value, score, id, verdict] of slices[name].points) {
      if (score === null) continue;
      if (!all.has(id)) all.set(id, { id, verdict, score, values: {} });
      all.get(id).values[name] = value;
    }
  }
  return [...all.values()];
}

// parallel takes the constants in the order of their axes.
export function parallel(names, slices, champion) {
  const picture = svg("svg", { "aria-hidden": "true" });
  const said = h("p", { class: "dim num said-value" });
  const room = h("div", { class: "curve-room" });
  const holder = h("div", { class: "plot parallel", role: "img", "aria-label": "Candidates across the constants that differ most, and their scores" }, picture);
  const lines = joined(names, slices);
  const scores = lines.map((l) => l.score).sort((a, b) => a - b);
  const chosen = svg("path", { class: "line chosen" });
  let paths = []; // [line, corners]

  function draw(width) {
    const height = Math.max(200, room.clientHeight);
    const shown = names.slice(0, Math.max(2, Math.floor((width - 60) / least)));
    const m = { left: 40, right: 58, top: 40, bottom: 24 };
    const range = [height - m.bottom, m.top];
    const axes = shown.map((name) => ({ name, ...along(lines.map((l) => l.values[name]).filter((v) => v !== undefined), slices[name].log, range) }));
    const best = scores[0];
    const y = linear(padded(best, worst(scores), 0.02), [m.top, height - m.bottom]); // the best on top
    const at = (i) => m.left + (i * (width - m.left - m.right)) / shown.length;
    const out = [[], []]; // where a line leaves an axis at its top, and at its foot
    paths = lines.filter((l) => shown.every((n) => n in l.values)).map((l) => {
      const corners = axes.map((a, i) => {
        const v = a.at(l.values[a.name]);
        if (v > a.high) out[0].push([at(i), m.top]);
        if (v < a.low) out[1].push([at(i), height - m.bottom]);
        return [at(i), a.x(Math.max(a.low, Math.min(a.high, v)))];
      });
      const foot = y(l.score) > height - m.bottom;
      if (foot) out[1].push([at(shown.length), height - m.bottom]);
      return [l, [...corners, [at(shown.length), foot ? height - m.bottom : y(l.score)]]];
    });
    const drawnAs = (test) => paths.filter(([l]) => test(l)).map(([, c]) => "M" + c.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")).join("");
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("width", width);
    picture.setAttribute("height", height);
    const text = (x, yy, words, cls = "tick", anchor = "middle") => svg("text", { class: cls, x, y: yy, "text-anchor": anchor }, words);
    const step = (width - m.left - m.right) / shown.length;
    picture.replaceChildren(
      svg("path", { class: "line others", d: drawnAs((l) => l.verdict !== "kept") }),
      svg("path", { class: "line kept", d: drawnAs((l) => l.verdict === "kept" && l.id !== champion) }),
      svg("path", { class: "line champion", d: drawnAs((l) => l.id === champion) }),
      chosen,
      ...axes.flatMap((a, i) => [
        svg("line", { class: "axis", x1: at(i), x2: at(i), y1: m.top, y2: height - m.bottom }),
        text(at(i), i % 2 ? 24 : 12, cut(inert(a.name), Math.floor((2 * step) / 7)), "tick name", i ? "middle" : "start"),
        ...ends(a).map(([v, where]) => text(at(i), where === "top" ? m.top - 3 : height - m.bottom + 14, cut(String(a.word(v)).replace(/^"|"$/g, ""), Math.floor(step / 7)))),
      ]),
      svg("line", { class: "axis", x1: at(shown.length), x2: at(shown.length), y1: m.top, y2: height - m.bottom }),
      text(at(shown.length), shown.length % 2 ? 24 : 12, "val_bpb", "tick name"),
      ...[best, y.domain[1]].map((v, i) => text(at(shown.length) + 6, i ? height - m.bottom : y(best) + 4, v.toFixed(4), "tick", "start")),
      svg("path", { class: "wedge beyond", d: wedges(out[0], "up") }),
      svg("path", { class: "wedge beyond", d: wedges(out[1], "down") }),
    );
  }

  // ends are the two outermost values of an axis, which are named.
  const ends = (a) => [[a.ends.at(-1), "top"], ...(a.ends.length > 1 ? [[a.ends[0], "foot"]] : [])];

  // near finds the line by the pointer.
  function near(e) {
    const box = picture.getBoundingClientRect();
    const [px, py] = [e.clientX - box.left, e.clientY - box.top];
    let best = null;
    let far = 12;
    for (const [l, c] of paths) {
      const i = c.findIndex(([a]) => a >= px);
      if (i < 1) continue;
      const [[ax, ay], [bx, by]] = [c[i - 1], c[i]];
      const off = Math.abs(ay + ((px - ax) / (bx - ax)) * (by - ay) - py) - (l.id === champion ? 2 : 0);
      if (off < far) [best, far] = [[l, c], off];
    }
    return best;
  }
  holder.addEventListener("pointermove", (e) => {
    const found = near(e);
    holder.classList.toggle("on-mark", Boolean(found));
    chosen.setAttribute("d", found ? "M" + found[1].map((p) => p.join(" ")).join("L") : "");
    said.textContent = found ? `candidate ${found[0].id}${found[0].id === champion ? ", champion" : ""}: ${bpb(found[0].score)}` : "";
  });
  holder.addEventListener("click", (e) => {
    const found = near(e);
    if (found) location.hash = `#/candidate/${found[0].id}`;
  });
  room.append(holder);
  drawn(room, draw);
  return h("section", { class: "panel upright grows", "aria-labelledby": "across-name" }, h("div", { class: "panel-head" }, h("h2", { id: "across-name" }, "Across the constants"), said), room);
}

