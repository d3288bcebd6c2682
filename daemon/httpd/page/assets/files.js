// What a model was asked and what it answered: fetched when opened.

import { getText } from "./api.js";
import { h, inert, inertLines } from "./dom.js";

export function files(id, names) {
  return names.map((name) => {
    const text = h("pre", { class: "log", tabindex: 0, role: "region", "aria-label": inert(name) }, "\u2026");
    let asked = false;
    const open = async (e) => {
      if (!e.target.open || asked) return;
      asked = true;
      try {
        text.textContent = inertLines(await getText(`/trials/${id}/files/${encodeURIComponent(name)}`));
      } catch (fault) {
        asked = false;
        text.textContent = fault.message;
      }
    };
    return h("details", { ontoggle: open }, h("summary", {}, inert(name)), text);
  });
}
