// One block a seat, where there are several: what it does and how far it has come.

import { line } from "./chart.js";
import { h, inert, say, svg } from "./dom.js";
import { phases } from "./facts.js";
import { brief, duration, percent } from "./format.js";
import { linear, quantile } from "./scale.js";
import { store, watch } from "./store.js";

const roomy = 12; // more seats have small blocks, with no curve
const spark = { width: 100, height: 22 }; // of a curve, in its own units

export function seats() {
  const grid = h("ul", { class: "seats" });
  const root = h("section", { class: "panel", "aria-labelledby": "seats-name", hidden: true }, h("div", { class: "panel-head" }, h("h2", { id: "seats-name" }, "Seats")), grid);
  let blocks = [];

  function update() {
    const all = store.status?.seats ?? [];
    root.hidden = all.length < 2;
    if (root.hidden) return;
    grid.classList.toggle("many", all.length > roomy);
    if (blocks.map((b) => b.name).join("\n") !== all.map((s) => s.name).join("\n")) {
      blocks = all.map((s) => block(s.name));
      grid.replaceChildren(...blocks.map((b) => b.root));
    }
    const hosts = new Set(all.map((s) => s.host)).size > 1;
    const classes = new Set(all.map((s) => s.class).filter(Boolean)).size > 1;
    all.forEach((seat, i) => blocks[i].show(seat, all.length <= roomy, [hosts ? seat.host || "this machine" : "", classes ? seat.class : ""].filter(Boolean).join(" \u00b7 ")));
  }

  update();
  const end = watch((what) => what === "status" && update());
  return { root, end };
}

// block is made once a seat and changed in place, so that a link in it keeps the
// focus.
function block(name) {
  const doing = h("span", { class: "doing" });
  const at = h("p", { class: "note at" });
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Share of the budget spent on ${inert(name)}` });
  const what = h("p", { class: "note what" });
  const curve = svg("path", { class: "line now" });
  const picture = svg("svg", { viewBox: `0 0 ${spark.width} ${spark.height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, curve);
  const numbers = h("p", { class: "note num" });
  const next = h("p", { class: "note next" });
  const root = h("li", { class: "seat" }, h("h3", {}, say(name, "span"), doing), at, bar, what, picture, numbers, next);
  let shown = ""; // the trials whose links stand here

  function show(seat, drawn, place) {
    const r = seat.trial;
    root.dataset.state = seat.state;
    at.textContent = inert(place);
    const training = r?.phase === "train";
    doing.textContent = [training && !drawn ? "" : (r ? (phases[r.phase] ?? r.phase) : seat.state), training ? percent(r.progress) : ""].join(" ").trim();
    bar.value = r ? Math.max(0, Math.min(1, r.progress ?? 0)) : 0;
    picture.toggleAttribute("hidden", !r);
    if (drawn) curve.setAttribute("d", r ? path(r.curve ?? []) : "");
    numbers.textContent = r ? figures(r) : since(seat);
    const now = [r?.id, r ? "" : seat.why, seat.next?.id, seat.next?.phase].join("\n");
    if (now === shown) return;
    shown = now;
    what.replaceChildren(...(r ? [link(r), ` ${inert(r.strategy ?? "")} `, say(r.description)] : [say(seat.why)]));
    next.replaceChildren(...(seat.next ? [link(seat.next), ` gets ready beside it: ${(phases[seat.next.phase] ?? "").toLowerCase()}`] : []));
  }
  return { name, root, show };
}

const link = (r) => h("a", { href: `#/trial/${r.id}` }, `trial ${r.id}`);

function figures(r) {
  const left = Number.isFinite(r.seconds_left) && r.seconds_left > 0 ? `${duration(r.seconds_left)} left` : `${duration(r.phase_seconds)} in`;
  return [left, r.loss ? `loss ${r.loss.toFixed(3)}` : "", r.tokens_per_second ? `${brief(r.tokens_per_second)} tokens/s` : "", r.mfu ? `${percent(r.mfu, 1)} MFU` : ""].filter(Boolean).join(" \u00b7 ");
}

function since(seat) {
  const seconds = (Date.now() - new Date(seat.since)) / 1000;
  return seconds >= 0 && seconds < 1e9 ? `for ${duration(seconds)}` : ""; // a time that nobody knows is in the year 1
}

// path draws a curve without the first, steep part.
function path(points) {
  if (points.length < 2) return "";
  const losses = points.map((p) => p[1]).sort((a, b) => a - b);
  const top = losses.length > 12 ? quantile(losses, 0.8) : losses.at(-1);
  const y = linear([losses[0], Math.max(top, losses[0] + 1e-6)], [spark.height - 2, 2]);
  return line(points.filter((p) => p[1] <= top), linear([0, 1], [0, spark.width]), y);
}
