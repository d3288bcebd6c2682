// Which candidate came from which: a tree, as nested lists would be, in lines.

import { get } from "./api.js";
import { h, say } from "./dom.js";
import { bpb, plural, signed } from "./format.js";
import { address, amend } from "./query.js";
import { fresh } from "./refresh.js";
import { standing } from "./verdict.js";

const most = 2000; // rows
const widest = 6; // columns

// rows puts the tree in order, parents before children. A chain of only
// children stays in one column; every fork moves its side branches in.
export function rows(nodes) {
  const children = new Map();
  const known = new Set(nodes.map((n) => n.id));
  for (const n of nodes) {
    const parent = known.has(n.parent) ? n.parent : 0;
    if (!children.has(parent)) children.set(parent, []);
    children.get(parent).push(n);
  }
  const depth = new Map(); // how far the line below a node goes
  for (const n of [...nodes].sort((a, b) => b.id - a.id)) {
    depth.set(n.id, 1 + Math.max(0, ...(children.get(n.id) ?? []).map((c) => depth.get(c.id) ?? 0)));
  }
  const out = [];
  const stack = (children.get(0) ?? []).sort((a, b) => b.id - a.id).map((n) => [n, 0, null]);
  while (stack.length) {
    const [n, column, parent, side] = stack.pop();
    out.push({ node: n, column, parent, side });
    const next = (children.get(n.id) ?? []).sort((a, b) => depth.get(a.id) - depth.get(b.id) || b.id - a.id);
    const main = next.pop(); // the longest line goes on, last
    if (main) stack.push([main, column, n]);
    for (const branch of next) stack.push([branch, column + 1, n, true]);
  }
  return out;
}

function item({ node, column, parent, side }) {
  const delta = parent?.val_bpb && node.val_bpb ? node.val_bpb - parent.val_bpb : null;
  const line = !parent ? "" : side ? "side" : "main";
  const li = h("li", { class: `${line} ${node.verdict}` },
    h("i", { class: "knot", "aria-hidden": "true" }),
    h("a", { href: `#/candidate/${node.id}`, class: "num" }, String(node.id)),
    h("span", { class: "num" }, bpb(node.val_bpb)),
    h("span", { class: "num dim delta" }, delta === null ? "" : signed(delta)),
    standing(node),
    h("span", { class: "dim strategy" }, say(node.strategy)),
    say(node.label, "div"));
  li.style.setProperty("--column", Math.min(column, widest));
  return li;
}

const depths = { kept: "kept ones and their ancestors", all: "every candidate" };

export async function lineage() {
  let asked = "";
  const draw = ({ nodes }) => {
    const list = rows(nodes);
    const shown = list.slice(0, most);
    const forks = new Set(list.filter((r) => r.side).map((r) => r.parent.id)).size;
    const tree = h("ol", { class: "tree" }, shown.map(item));
    tree.style.setProperty("--columns", Math.min(widest, Math.max(0, ...shown.map((r) => r.column))));
    return h("section", { class: "panel", "aria-labelledby": "lineage-name" },
      h("div", { class: "panel-head" }, h("h2", { id: "lineage-name" }, "Lineage"),
        h("p", { class: "dim" }, nodes.length ? `${depths[asked]}: ${plural(nodes.length, "candidate")}${shown.length < nodes.length ? `, the first ${most} shown` : ""}${forks ? `, ${plural(forks, "fork")}` : ""}` : ""),
        h("div", { class: "choice", role: "group", "aria-label": "Which candidates" }, Object.keys(depths).map((name) => h("button", { type: "button", "aria-pressed": String(asked === name), onclick: () => amend({ depth: name === "kept" ? null : name }) }, name)))),
      nodes.length ? tree : h("p", { class: "empty" }, "The tree starts with the first candidate that is kept."));
  };
  const read = (query) => (asked = depths[query.get("depth")] ? query.get("depth") : "kept");
  read(address().query);
  const view = await fresh(() => get(asked === "all" ? "/lineage?all=1" : "/lineage"), draw);
  const update = async (query) => {
    read(query);
    const held = document.activeElement?.closest(".choice");
    await view.again();
    if (held) document.querySelector('.choice [aria-pressed="true"]')?.focus();
  };
  return { ...view, update };
}
