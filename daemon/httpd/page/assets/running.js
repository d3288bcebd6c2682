// A run while it is under way: its phase, how far it has come, its loss beside
// the champion's, and the GPU that it has.

import { curves } from "./curve.js";
import { h } from "./dom.js";
import { phases } from "./facts.js";
import { brief, duration, percent, whole } from "./format.js";
import { gpuHistory } from "./gpus.js";
import { order, pairs } from "./parts.js";
import { store, watch } from "./store.js";

// seatOf finds a run among the seats: [seat, run], or nothing.
export function seatOf(id) {
  for (const seat of store.status?.seats ?? []) {
    for (const r of [seat.trial, seat.next]) if (r?.id === id) return [seat, r];
  }
  return null;
}

// runningPanel is of the run id, which must be on a seat: head says how far it
// is, root shows its loss and its GPU.
export function runningPanel(id) {
  const steps = order.map((p) => h("li", { "data-phase": p }, phases[p]));
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Share of the budget spent" });
  const said = h("p", { class: "value num" });
  const numbers = h("div", {});
  const room = h("div", { class: "curve-room" });
  const chart = curves(`Training loss of trial ${id} and of the champion`, room);
  const wait = h("p", { class: "empty" }, "The loss appears here with the first steps.");
  room.append(wait, chart.holder);
  const [seat] = seatOf(id);
  const gpus = gpuHistory(seat);
  const head = h("section", { class: "panel under-way", "aria-label": `Trial ${id}, under way` },
    h("div", { class: "panel-head" }, h("h2", {}, `Trial ${id} is under way`), h("ol", { class: "steps" }, steps)),
    said, bar, numbers);
  const root = h("div", { class: "stacked" },
    h("section", { class: "panel upright grows" }, h("div", { class: "panel-head" }, h("h2", {}, "Loss"), chart.legend), room),
    gpus.root);

  function update() {
    const found = seatOf(id);
    if (!found) return;
    const [at, r] = found;
    const now = order.indexOf(r.phase);
    steps.forEach((step, i) => {
      step.dataset.state = i < now ? "over" : i === now ? "now" : "ahead";
      if (i === now) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    bar.value = Math.max(0, Math.min(1, r.progress ?? 0));
    const left = Number.isFinite(r.seconds_left) && r.seconds_left > 0 ? `, ${duration(r.seconds_left)} left` : "";
    said.replaceChildren(phases[r.phase] ?? r.phase, h("small", {}, r.phase === "train" ? ` ${percent(r.progress)} of the budget${left}` : ` for ${duration(r.phase_seconds)}${left}`));
    numbers.replaceChildren(pairs([
      ["loss", Number.isFinite(r.nan_at) ? "not a number" : r.loss ? r.loss.toFixed(4) : null],
      ["step", r.step ? whole(r.step) : null],
      ["tokens a second", r.tokens_per_second ? brief(r.tokens_per_second) : null],
      ["MFU", r.mfu ? percent(r.mfu, 1) : null],
      ["since it began", duration(r.seconds)],
      ["seat", at.name],
    ]));
    const champion = store.status.champion;
    const any = chart.show([
      { name: champion ? `champion, candidate ${champion.id}` : "champion", cls: "past", points: store.status.champion_curve ?? [] },
      { name: r.curve?.length ? `trial ${id}` : "", cls: "now", points: [...(r.curve ?? []), ...(Number.isFinite(r.nan_at) ? [[r.nan_at, null]] : [])] },
    ]);
    wait.hidden = any > 0;
    chart.holder.hidden = !any;
  }

  update();
  const end = watch((what) => what === "status" && update());
  return {
    head,
    root,
    end: () => {
      end();
      gpus.end();
    },
  };
}
