// What each strategy and each model was given, and what it brought.

import { get } from "./api.js";
import { h, inert } from "./dom.js";
import { brief, duration, percent, whole } from "./format.js";
import { fresh } from "./refresh.js";

const dollars = (v) => (Number.isFinite(v) ? "$" + v.toFixed(2) : "\u2013");

function ledger(name, columns, rows) {
  return h("div", { class: "sheet", tabindex: 0, role: "region", "aria-label": name }, h("table", { class: "ledger" }, h("caption", { class: "hidden" }, name),
    h("thead", {}, h("tr", {}, columns.map(([n], i) => h("th", { scope: "col", class: i ? "right" : "" }, n)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([, of], i) => h(i ? "td" : "th", i ? { class: "num right" } : { scope: "row" }, of(row))))))));
}

const share = (v) => {
  const bar = h("span", { class: "bar" }, h("span", {}));
  bar.firstChild.style.width = 100 * (v ?? 0) + "%";
  return h("span", { class: "share" }, bar, percent(v));
};

export function strategies() {
  return fresh(() => get("/strategies"), ({ strategies: list, models, max_cost: most }) => {
    const spent = models.reduce((sum, m) => sum + (m.dollars ?? 0), 0);
    const given = list.some((s) => s.weight !== null && s.weight !== undefined);
    return h("div", { class: "stack" },
      h("section", { class: "panel", "aria-labelledby": "strategies-name" },
        h("div", { class: "panel-head" }, h("h2", { id: "strategies-name" }, "Strategies")),
        list.length ? ledger("Strategies", [
          ["Strategy", (s) => inert(s.name)],
          ["Candidates", (s) => whole(s.candidates)],
          ["Of all", (s) => share(s.share)],
          ["Runs", (s) => whole(s.runs)],
          ["Kept", (s) => whole(s.kept)],
          ["Gain", (s) => (s.gain ? s.gain.toFixed(6) : "\u2013")],
          ["Device time", (s) => duration(s.seconds)],
          ["Gain an hour", (s) => (s.seconds > 0 ? brief(s.gain / (s.seconds / 3600)) : "\u2013")],
          ...(given ? [["Weight now", (s) => percent(s.weight)]] : []),
        ], list) : h("p", { class: "empty" }, "No strategy has proposed anything yet.")),
      h("section", { class: "panel", "aria-labelledby": "models-name" },
        h("div", { class: "panel-head" }, h("h2", { id: "models-name" }, "Models"), models.length && most > 0 ? h("p", { class: "dim num" }, `${dollars(spent)} of ${dollars(most)} spent`) : ""),
        models.length ? ledger("Models", [
          ["Model", (m) => inert(m.model)],
          ["Requests", (m) => whole(m.requests)],
          ["Tokens in", (m) => brief(m.prompt_tokens)],
          ["Tokens out", (m) => brief(m.completion_tokens)],
          ["Cost", (m) => dollars(m.dollars)],
        ], models) : h("p", { class: "empty" }, "No language model has been asked; [llm] in autoresearch.toml configures them.")));
  });
}
