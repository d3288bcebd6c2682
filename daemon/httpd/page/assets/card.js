// The study in one sentence, as the daemon puts it.

import { byId, h } from "./dom.js";
import { store, watch } from "./store.js";

export function startCard() {
  watch((what) => {
    const card = store.status?.card;
    if (what !== "status" || !card) return;
    const parts = [card.time, card.tried, card.gains, card.gain, card.failed, card.trained].filter(Boolean);
    byId("card").replaceChildren(...parts.flatMap((part, i) => [i ? " \u00b7 " : "", h("span", {}, part)]));
  });
}
