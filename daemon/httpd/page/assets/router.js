// Which view is shown, by the part of the address after "#".

import { byId, h } from "./dom.js";

let leave = () => {};
let turn = 0;

// route shows views: [[pattern, open(match)]…]; open returns {root, end, title}
// or a promise of it.
export function route(views) {
  async function go() {
    const at = location.hash.replace(/^#/, "") || "/";
    const holder = byId("view");
    const mine = ++turn;
    const [match, open] = views.map(([p, o]) => [p.exec(at), o]).find(([m]) => m) ?? [[at], missing];
    let view;
    try {
      view = await open(match);
    } catch (e) {
      view = failure(e);
    }
    if (mine !== turn) {
      view.end?.();
      return;
    }
    leave();
    leave = view.end ?? (() => {});
    holder.replaceChildren(view.root);
    holder.dataset.at = at;
    byId("facts").hidden = at !== "/";
    for (const a of document.querySelectorAll("nav a")) {
      if (a.getAttribute("href") === "#" + at) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
    if (mine > 1) {
      scrollTo(0, 0);
      holder.focus({ preventScroll: true });
    }
  }
  addEventListener("hashchange", go);
  return go();
}

const missing = () => failure(new Error("there is no such page"));

export const failure = (e) => ({ root: h("section", { class: "panel" }, h("p", { class: "empty" }, "Cannot show this: " + e.message + "."), h("p", {}, h("a", { href: "#/" }, "To the overview"))) });
