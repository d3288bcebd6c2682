// A unified diff of Python, coloured.

import { h, inertLines } from "./dom.js";
import { tokens } from "./python.js";

const longest = 4000; // lines

function code(line) {
  return tokens(line).map(([kind, text]) => (kind ? h("span", { class: "py-" + kind }, text) : text));
}

const kinds = { "+": "added", "-": "removed", " ": "same" };

// numbers of a hunk: @@ -12,9 +12,10 @@
function hunk(line) {
  const m = /^@@ -(\d+)(?:,\d+)? \+(\d+)/.exec(line);
  return m ? [Number(m[1]), Number(m[2])] : null;
}

export function diffView(text) {
  if (!text) return h("p", { class: "dim" }, "Nothing differs.");
  const rows = [];
  let [old, now] = [0, 0];
  for (const line of inertLines(text).split("\n").slice(0, longest)) {
    const start = hunk(line);
    if (start) {
      [old, now] = start;
      if (rows.length) rows.push(h("tr", { class: "between" }, h("td", { colspan: 3 }, "\u22ef")));
      continue;
    }
    if (!old && !now) continue; // the two lines of names
    const kind = kinds[line[0]];
    if (!kind) continue;
    const number = kind === "removed" ? old++ : now++;
    if (kind === "same") old++;
    rows.push(h("tr", { class: kind }, h("td", { class: "no num" }, String(number)), h("td", { class: "sign" }, line[0]), h("td", {}, code(line.slice(1)))));
  }
  return h("div", { class: "diff", tabindex: 0, role: "region", "aria-label": "Changes to train.py" }, h("table", {}, h("tbody", {}, rows)));
}
