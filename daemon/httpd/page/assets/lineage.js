// Which trial came from which: a tree, as nested lists would be, in lines.

import { get } from "./api.js";
import { h, say } from "./dom.js";
import { bpb, plural, signed } from "./format.js";
import { fresh } from "./refresh.js";

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
    h("a", { href: `#/trial/${node.id}`, class: "num" }, String(node.id)),
    h("span", { class: "num" }, bpb(node.val_bpb)),
    h("span", { class: "num dim delta" }, delta === null ? "" : signed(delta)),
    h("span", { class: "dim strategy" }, say(node.strategy)),
    say(node.label, "div"));
  li.style.setProperty("--column", Math.min(column, widest));
  return li;
}

export function lineage() {
  let all = false;
  const fetched = () => get(all ? "/lineage?all=1" : "/lineage");
  const draw = ({ nodes }) => {
    const shown = rows(nodes).slice(0, most);
    const tree = h("ol", { class: "tree" }, shown.map(item));
    tree.style.setProperty("--columns", Math.min(widest, Math.max(0, ...shown.map((r) => r.column))));
    const root = h("section", { class: "panel", "aria-labelledby": "lineage-name" },
      h("div", { class: "panel-head" }, h("h2", { id: "lineage-name" }, "Lineage"), h("p", { class: "dim" }, nodes.length ? `${plural(nodes.length, "trial")}${shown.length < nodes.length ? `, the first ${most} shown` : ""}; what came from what` : ""),
        h("div", { class: "choice", role: "group", "aria-label": "Which trials" }, [["kept", false], ["all", true]].map(([name, value]) => h("button", { type: "button", "aria-pressed": String(all === value), onclick: () => choose(value) }, name)))),
      nodes.length ? tree : h("p", { class: "empty" }, "The tree starts with the first one kept."));
    return root;
  };
  let view = null;
  async function choose(value) {
    all = value;
    await view.again();
  }
  return fresh(fetched, draw).then((v) => (view = v));
}
