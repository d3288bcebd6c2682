// The table of trials: sorted, filtered, however many.

import { h, inert, say } from "./dom.js";
import { bpb, duration, signed, whole } from "./format.js";
import { windowed } from "./rows.js";
import { store, watch } from "./store.js";

const decisions = ["keep", "discard", "crash"];

const columns = [
  { key: "id", name: "Trial", of: (t) => t.id, down: true },
  { key: "score", name: "val_bpb", of: (t) => t.score },
  { key: "delta", name: "Against best", of: (t) => (t.score === null || t.before === null ? null : t.score - t.before) },
  { key: "decision", name: "Decision", of: (t) => decisions.indexOf(t.decision) },
  { key: "strategy", name: "Strategy", of: (t) => t.strategy },
  { key: "description", name: "Description", of: (t) => t.description.toLowerCase() },
  { key: "hours", name: "After", of: (t) => t.hours, down: true },
];

// order compares two trials by a column; what is unknown comes last.
function order(column, down) {
  return (a, b) => {
    const [x, y] = [column.of(a), column.of(b)];
    if (x === null || y === null) return (x === null) - (y === null) || b.id - a.id;
    const c = x < y ? -1 : x > y ? 1 : 0;
    return (down ? -c : c) || b.id - a.id;
  };
}

const cell = (cls, ...children) => h("td", { class: cls }, children);

function cells(t) {
  const delta = columns[2].of(t);
  return [
    cell("c-id num", h("a", { href: `#/trial/${t.id}` }, String(t.id))),
    cell("c-score num", bpb(t.score)),
    cell("c-delta num" + (delta < 0 ? " better" : ""), delta === null ? "" : signed(delta)),
    cell("c-decision", h("span", { class: "decision " + t.decision }, t.decision)),
    cell("c-strategy", say(t.strategy)),
    cell("c-description", say(t.description)),
    cell("c-hours num", t.hours === null ? "" : duration(t.hours * 3600)),
  ];
}

export function table() {
  const chosen = { key: "id", down: true, decision: "", strategy: "", text: "" };

  const search = h("input", { type: "search", placeholder: "Filter\u2026", "aria-label": "Filter by text", autocomplete: "off", spellcheck: "false" });
  const decision = h("select", { "aria-label": "Decision" }, h("option", { value: "" }, "every decision"), decisions.map((d) => h("option", { value: d }, d)));
  const strategy = h("select", { "aria-label": "Strategy" });
  const count = h("p", { class: "dim count", role: "status" });
  const headings = columns.map((c) => h("th", { class: "c-" + c.key, scope: "col" }, h("button", { type: "button", onclick: () => sort(c) }, c.name)));
  const grid = h("table", { class: "trials" }, h("caption", { class: "hidden" }, "Finished trials"), h("thead", {}, h("tr", { "aria-rowindex": 1 }, headings)));
  const box = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Finished trials" }, grid);
  const empty = h("p", { class: "empty" });
  const root = h("section", { class: "panel", "aria-labelledby": "trials-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "trials-name" }, "Trials"), count, h("div", { class: "filters" }, search, decision, strategy)),
    empty, box);
  const show = windowed(box, grid, cells);

  function sort(column) {
    chosen.down = chosen.key === column.key ? !chosen.down : Boolean(column.down);
    chosen.key = column.key;
    update();
  }

  function passes(t) {
    if (chosen.decision && t.decision !== chosen.decision) return false;
    if (chosen.strategy && t.strategy !== chosen.strategy) return false;
    return !chosen.text || `${t.id} ${t.description} ${t.strategy}`.toLowerCase().includes(chosen.text);
  }

  function update(keep) {
    const column = columns.find((c) => c.key === chosen.key);
    headings.forEach((th, i) => {
      if (columns[i] === column) th.setAttribute("aria-sort", chosen.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    const items = store.trials.filter(passes).sort(order(column, chosen.down));
    const all = store.trials.length;
    count.textContent = !all ? "" : items.length === all ? whole(all) : `${whole(items.length)} of ${whole(all)}`;
    box.hidden = !items.length;
    empty.hidden = items.length > 0;
    empty.textContent = all ? "No trial matches the filters." : "Finished trials will be listed here.";
    box.classList.toggle("short", items.length < 16);
    show(items, keep);
  }

  function strategies() {
    const names = [...new Set(store.trials.map((t) => t.strategy))].filter(Boolean).sort();
    if (strategy.options.length === names.length + 1) return;
    strategy.replaceChildren(h("option", { value: "" }, "every strategy"), ...names.map((n) => h("option", { value: n }, inert(n))));
    strategy.value = chosen.strategy;
  }

  search.addEventListener("input", () => {
    chosen.text = search.value.trim().toLowerCase();
    update();
  });
  decision.addEventListener("change", () => {
    chosen.decision = decision.value;
    update();
  });
  strategy.addEventListener("change", () => {
    chosen.strategy = strategy.value;
    update();
  });

  const fresh = () => {
    strategies();
    update(true);
  };
  fresh();
  const end = watch((what) => what === "trials" && fresh());
  return { root, end, search };
}
