// The list of studies: its server makes the rows, and is asked for them again
// while somebody looks.

import { byId } from "./dom.js";
import { startTheme } from "./switch.js";

const every = 10_000; // ms

async function renew() {
  if (document.hidden) return;
  const answer = await fetch("./").catch(() => null);
  if (!answer?.ok) return; // what is shown stays
  const now = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("tbody");
  const shown = document.querySelector("tbody");
  if (!now || now.isEqualNode(shown)) return;
  const at = document.activeElement?.getAttribute("href");
  shown.replaceWith(document.adoptNode(now));
  if (at) [...now.querySelectorAll("a")].find((a) => a.getAttribute("href") === at)?.focus();
}

startTheme(byId("theme"));
setInterval(renew, every);
document.addEventListener("visibilitychange", renew);
