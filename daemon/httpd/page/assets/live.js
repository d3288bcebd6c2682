// The running trial's loss beside the champion's, and the GPUs.

import { curves } from "./curve.js";
import { h, inert } from "./dom.js";
import { bytes, percent } from "./format.js";
import { running, store, watch } from "./store.js";

export function live() {
  const room = h("div", { class: "curve-room" });
  const chart = curves("Training loss of the running trial and of the champion", room);
  room.append(chart.holder);
  const empty = h("p", { class: "empty" });
  const loss = h("section", { class: "panel upright", "aria-labelledby": "loss-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "loss-name" }, "Loss"), chart.legend), empty, room);
  const gauges = h("div", { class: "gauges" });
  const gpus = h("section", { class: "panel", "aria-labelledby": "gpus-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "gpus-name" }, "GPUs")), gauges);
  const root = h("div", { class: "side" }, loss, gpus);

  function update() {
    const s = store.status;
    if (!s) return;
    const trials = running(s).filter((r) => r.curve?.length);
    const any = chart.show([
      { name: s.champion ? `champion, trial ${s.champion.id}` : "champion", cls: "past", points: s.champion_curve ?? [] },
      ...trials.map((r, i) => ({ name: i ? "" : trials.length > 1 ? `now, ${trials.length} trials` : `now, trial ${r.id}`, cls: trials.length > 1 ? "now several" : "now", points: r.curve })),
    ]);
    room.hidden = !any;
    empty.hidden = any > 0;
    empty.textContent = running(s).length ? "The loss appears here with the first steps." : "No trial is training.";
    gpus.hidden = !s.gpus?.length;
    gauges.replaceChildren(...(s.gpus ?? []).map(gauge));
  }

  update();
  const end = watch((what) => what === "status" && update());
  return { root, end };
}

function meter(name, value, most, text, cls) {
  const bar = h("span", { class: "bar " + cls }, h("span", {}));
  bar.firstChild.style.width = Math.max(0, Math.min(1, value / most)) * 100 + "%";
  return [h("dt", {}, name), h("dd", {}, bar, h("span", { class: "num" }, text))];
}

function gauge(g) {
  const facts = [];
  if (g.utilization !== null && g.utilization !== undefined) facts.push(meter("busy", g.utilization, 1, percent(g.utilization), "busy"));
  if (g.memory_total) facts.push(meter("memory", g.memory_used, g.memory_total, `${bytes(g.memory_used)} of ${bytes(g.memory_total)}`, "memory"));
  const rest = [g.power_watts > 0 && `${Math.round(g.power_watts)} W`, g.temperature_celsius > 0 && `${Math.round(g.temperature_celsius)} \u00b0C`].filter(Boolean);
  return h("div", { class: "gpu" },
    h("h3", {}, h("span", { class: "num" }, String(g.index)), " ", inert(g.name), h("span", { class: "dim num" }, rest.join(" \u00b7 "))),
    h("dl", {}, facts));
}
