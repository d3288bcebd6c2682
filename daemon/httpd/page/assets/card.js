// The study in one sentence, as the daemon puts it.

import { byId } from "./dom.js";
import { store, watch } from "./store.js";

export function startCard() {
  watch((what) => {
    const card = store.status?.card;
    if (what !== "status" || !card) return;
    const parts = [card.time, card.tried, card.gains, card.gain, card.failed, card.trained].filter(Boolean);
    byId("card").textContent = parts.map((part) => part.replaceAll(" %", "\u202f%")).join("\u00a0\u00b7 ");
  });
}
