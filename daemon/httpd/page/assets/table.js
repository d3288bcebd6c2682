// The table of candidates: sorted, filtered, however many. What it shows stands
// in the address.

import { get } from "./api.js";
import { h, inert, say } from "./dom.js";
import { bpb, duration, plural, signed, whole } from "./format.js";
import { address, amend } from "./query.js";
import { windowed } from "./rows.js";
import { store, watch } from "./store.js";
import { outcome, standing, verdicts } from "./verdict.js";

const columns = [
  { key: "id", name: "ID", of: (c) => c.id, down: true },
  { key: "score", name: "val_bpb", of: (c) => c.val_bpb },
  { key: "runs", name: "Runs", of: (c) => c.runs.length, down: true },
  { key: "delta", name: "Against best", of: (c) => c.delta },
  { key: "verdict", name: "Verdict", of: (c) => verdicts.indexOf(c.verdict) + outcome(c) },
  { key: "strategy", name: "Strategy", of: (c) => c.strategy },
  { key: "change", name: "Change", of: (c) => c.description.toLowerCase() },
  { key: "reason", name: "Reason", of: (c) => c.reason },
  { key: "hours", name: "After", of: (c) => c.hours, down: true },
];

// order compares two candidates by a column; what is unknown comes last.
function order(column, down) {
  return (a, b) => {
    const [x, y] = [column.of(a), column.of(b)];
    if (x === null || y === null) return (x === null) - (y === null) || b.id - a.id;
    const c = x < y ? -1 : x > y ? 1 : 0;
    return (down ? -c : c) || b.id - a.id;
  };
}

const cell = (cls, ...children) => h("td", { class: cls }, children);

function cells(c) {
  return [
    cell("c-id num", h("a", { href: `#/candidate/${c.id}` }, String(c.id))),
    cell("c-score num", bpb(c.val_bpb)),
    cell("c-runs num", String(c.runs.length)),
    cell("c-delta num" + (c.verdict === "kept" && c.delta < 0 ? " better" : ""), c.delta === null ? "" : signed(c.delta)),
    cell("c-verdict", standing(c)),
    cell("c-strategy", say(c.strategy)),
    cell("c-change", h("bdi", { class: "said", title: inert(c.description) }, inert(c.label))),
    cell("c-reason", h("bdi", { class: "said", title: inert(c.reason) }, inert(brief(c)))),
    cell("c-hours num", duration(c.hours * 3600)),
  ];
}

// brief leaves out of a reason what other columns of its row say.
const brief = (c) => c.reason.replace(/^val_bpb [\d.]+ (is )?/, "").replace(c.failure ? `${c.failure}: ` : "", "");

// counted are the values of a property with how many candidates have each, in
// the order of known ones, then by name.
function counted(of, known = []) {
  const counts = new Map();
  for (const c of store.candidates) {
    const value = of(c);
    if (value) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const rank = (v) => (known.includes(v) ? known.indexOf(v) : known.length);
  return [...counts].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

// choice is a filter with a count for each value; it hides where there is none.
function choice(name, label, every, values) {
  const select = h("select", { "aria-label": label, onchange: () => amend({ [name]: select.value }) });
  function fill(chosen) {
    const all = values();
    if (chosen && !all.some(([v]) => v === chosen)) all.push([chosen, 0]);
    select.hidden = all.length === 0;
    const key = JSON.stringify(all);
    if (select.dataset.key !== key) {
      select.dataset.key = key;
      select.replaceChildren(h("option", { value: "" }, every), ...all.map(([v, n]) => h("option", { value: v }, `${inert(v)} (${whole(n)})`)));
    }
    select.value = chosen;
  }
  return { name, select, fill };
}

export function table() {
  const search = h("input", { type: "search", placeholder: "Filter: words, reasons\u2026", "aria-label": "Filter by text", "aria-describedby": "keys", autocomplete: "off", spellcheck: "false" });
  const filters = [
    choice("verdict", "Verdict", "every verdict", () => counted((c) => c.verdict, verdicts)),
    choice("failure", "Failure", "any failure", () => counted((c) => c.failure)),
    choice("strategy", "Strategy", "every strategy", () => counted((c) => c.strategy)),
  ];
  const count = h("p", { class: "dim count", role: "status" });
  const keys = h("p", { class: "keys", id: "keys" }, h("kbd", {}, "/"), " filter ", h("kbd", {}, "\u2193"), " rows ", h("kbd", {}, "Esc"), " back");
  const headings = columns.map((c) => h("th", { class: "c-" + c.key, scope: "col" }, h("button", { type: "button", onclick: () => sort(c) }, c.name)));
  const grid = h("table", { class: "trials" }, h("caption", { class: "hidden" }, "Candidates"), h("thead", {}, h("tr", { "aria-rowindex": 1 }, headings)));
  const box = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Candidates" }, grid);
  const empty = h("p", { class: "empty" });
  const clear = h("button", { type: "button", class: "quiet", hidden: true, onclick: () => amend({ q: null, verdict: null, failure: null, strategy: null }) }, "Clear");
  const tools = h("div", { class: "filters" }, clear, search, filters.map((f) => f.select));
  const root = h("section", { class: "panel", "aria-labelledby": "candidates-name" },
    h("div", { class: "panel-head" }, h("h2", { id: "candidates-name" }, "Candidates"), count, keys, tools),
    empty, box);
  const { show, focus } = windowed(box, grid, cells, () => search.focus());

  let asked = {}; // what the address says
  let found = null; // ids of what the text is in; null: no text is asked for
  let fault = "";
  let turn = 0;

  function sort(column) {
    const down = asked.column === column ? !asked.down : Boolean(column.down);
    amend({ sort: column === columns[0] ? null : column.key, order: down === Boolean(column.down) ? null : down ? "desc" : "asc" });
  }

  function read(query) {
    const column = columns.find((c) => c.key === query.get("sort")) ?? columns[0];
    const down = query.has("order") ? query.get("order") === "desc" : Boolean(column.down);
    asked = { column, down, q: (query.get("q") ?? "").trim() };
    for (const { name } of filters) asked[name] = query.get(name) ?? "";
  }

  const passes = (c) => filters.every(({ name }) => !asked[name] || c[name] === asked[name]) && (!found || found.has(c.id));

  function draw(keep) {
    headings.forEach((th, i) => {
      if (columns[i] === asked.column) th.setAttribute("aria-sort", asked.down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
    for (const f of filters) f.fill(asked[f.name]);
    const items = store.candidates.filter(passes).sort(order(asked.column, asked.down));
    const all = store.candidates.length;
    const filtered = asked.q || filters.some((f) => asked[f.name]);
    count.textContent = !all ? "" : filtered ? `${whole(items.length)} of ${whole(all)}` : `${whole(all)} in ${plural(store.candidates.reduce((n, c) => n + c.runs.length, 0), "run")}`;
    clear.hidden = !filtered;
    keys.hidden = tools.hidden = !all;
    box.hidden = !items.length;
    empty.hidden = items.length > 0;
    empty.textContent = fault || (all ? "No candidate matches the filters." : "Candidates are listed here once their first run has finished.");
    box.classList.toggle("short", items.length < 16);
    show(items, keep);
  }

  // look asks the daemon, which has the whole texts, and draws.
  async function look(keep) {
    const mine = ++turn;
    fault = "";
    if (!asked.q) {
      found = null;
      draw(keep);
      return;
    }
    try {
      const answer = await get(`/search?q=${encodeURIComponent(asked.q)}`);
      if (mine !== turn) return;
      found = new Set(answer.candidates);
    } catch (e) {
      if (mine !== turn) return;
      found = new Set();
      fault = `Cannot search: ${e.message}.`;
    }
    draw(keep);
  }

  search.addEventListener("input", () => amend({ q: search.value.trim() }, Boolean(asked.q)));
  search.addEventListener("keydown", (e) => {
    if (e.key === "ArrowDown") {
      e.preventDefault();
      focus(0);
    } else if (e.key === "Escape" && !search.value) search.blur();
  });

  function update(query) {
    read(query);
    if (search.value.trim() !== asked.q) search.value = asked.q;
    look();
  }
  update(address().query);
  const end = watch((what) => what === "trials" && look(true));
  return { root, end, update, search };
}
