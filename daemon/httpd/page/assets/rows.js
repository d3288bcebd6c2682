// A table of any length: only the rows in sight exist.

import { h } from "./dom.js";

// windowed fills tbody inside the scrolling box. render(item) makes a row's
// cells; every row is as high as the first that is shown. The keyboard leaves
// the rows upwards, or with Escape, by leave(). Returns show(items) and focus(i).
export function windowed(box, table, render, leave) {
  const above = h("tr", { class: "gap", "aria-hidden": "true" }, h("td"));
  const below = h("tr", { class: "gap", "aria-hidden": "true" }, h("td"));
  const body = h("tbody", {}, above, below);
  table.append(body);
  let items = [];
  let height = 0;
  let from = 0;
  let to = 0;

  function paint(force) {
    const held = body.contains(document.activeElement) ? Number(document.activeElement.closest("tr")?.dataset.index) : -1;
    if (!height && items.length) {
      const probe = row(0);
      below.before(probe); // beside what is there, so that nothing scrolls
      height = probe.offsetHeight;
      probe.remove();
      if (!height) return; // not in sight
    }
    const shown = Math.ceil(box.clientHeight / (height || 32)) + 1;
    const start = Math.max(0, Math.min(Math.floor(box.scrollTop / (height || 32)) - 8, items.length - shown));
    const end = Math.min(items.length, start + shown + 16);
    if (!force && start === from && end === to) return;
    [from, to] = [start, end];
    above.firstChild.style.height = from * height + "px";
    below.firstChild.style.height = (items.length - to) * height + "px";
    const rows = [];
    for (let i = from; i < to; i++) rows.push(row(i));
    const top = box.scrollTop;
    body.replaceChildren(above, ...rows, below);
    if (box.scrollTop !== top) box.scrollTop = top; // which a browser may move as the rows change
    if (held >= from && held < to) rows[held - from].querySelector("a")?.focus({ preventScroll: true });
  }

  function row(i) {
    return h("tr", { "data-index": i, "aria-rowindex": i + 2 }, render(items[i]));
  }

  function focus(i) {
    i = Math.max(0, Math.min(items.length - 1, i));
    const head = table.tHead?.offsetHeight ?? 0;
    const at = i * height;
    if (at < box.scrollTop) box.scrollTop = at;
    else if (at + height > box.scrollTop + box.clientHeight - head) box.scrollTop = at + height - box.clientHeight + head;
    paint();
    body.querySelector(`tr[data-index="${i}"] a`)?.focus({ preventScroll: true });
  }

  box.addEventListener("scroll", () => paint(), { passive: true });
  new ResizeObserver(() => {
    height = 0;
    paint(true);
  }).observe(box);
  body.addEventListener("keydown", (e) => {
    const at = Number(e.target.closest("tr")?.dataset.index);
    if (Number.isNaN(at)) return;
    if (e.key === "Escape" || (e.key === "ArrowUp" && at === 0)) {
      e.preventDefault();
      e.stopPropagation(); // it leaves the rows, not the view
      leave();
      return;
    }
    const page = Math.max(1, Math.floor(box.clientHeight / (height || 32)) - 2);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: items.length - 1 }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    focus(to);
  });

  function show(next, keep) {
    items = next;
    table.setAttribute("aria-rowcount", items.length + 1);
    if (!keep) box.scrollTop = 0;
    paint(true);
  }

  return { show, focus };
}
