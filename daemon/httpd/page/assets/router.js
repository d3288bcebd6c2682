// Which view is shown, by the address.

import { byId, h } from "./dom.js";
import { address } from "./query.js";

let shown = null; // {path, view}
let turn = 0;

// route shows views: [[pattern, open(match)]…]; open returns {root, end, update}
// or a promise of it. update(query) takes in what the address asks of the view
// that is open already; a view without it is opened anew.
export function route(views) {
  async function go() {
    const { path, query } = address();
    const holder = byId("view");
    const mine = ++turn;
    const at = () => (holder.dataset.at = location.hash.replace(/^#/, "") || "/");
    if (shown?.path === path && shown.view.update) {
      shown.view.update(query);
      at();
      return;
    }
    const [match, open] = views.map(([p, o]) => [p.exec(path), o]).find(([m]) => m) ?? [[path], missing];
    let view;
    try {
      view = await open(match, query);
    } catch (e) {
      view = failure(e);
    }
    if (mine !== turn) {
      view.end?.();
      return;
    }
    const same = shown?.path === path;
    shown?.view.end?.();
    shown = { path, view };
    holder.replaceChildren(view.root);
    at();
    byId("card").hidden = byId("facts").hidden = path !== "/";
    for (const a of document.querySelectorAll("nav a")) {
      if (a.getAttribute("href") === "#" + path) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
    if (mine > 1 && !same) {
      scrollTo(0, 0);
      holder.focus({ preventScroll: true });
    }
  }
  addEventListener("hashchange", go);
  return go();
}

const missing = () => failure(new Error("there is no such page"));

export const failure = (e) => ({ root: h("section", { class: "panel" }, h("p", { class: "empty" }, "Cannot show this: " + e.message + "."), h("p", {}, h("a", { href: "#/" }, "To the overview"))) });
