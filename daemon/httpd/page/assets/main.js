import { constants } from "./constants.js";
import { byId, h } from "./dom.js";
import { startFacts } from "./facts.js";
import { lineage } from "./lineage.js";
import { live } from "./live.js";
import { route } from "./router.js";
import { seats } from "./seats.js";
import { staircase } from "./staircase.js";
import { start } from "./store.js";
import { strategies } from "./strategies.js";
import { table } from "./table.js";
import { startTheme } from "./switch.js";
import { trialView } from "./trial.js";

let filter = null;

function overview() {
  const list = table();
  const parts = [staircase(), live(), seats(), list];
  filter = list.search;
  return {
    root: h("div", { class: "overview" }, parts.map((p) => p.root)),
    end: () => {
      filter = null;
      parts.forEach((p) => p.end());
    },
  };
}

startTheme(byId("theme"));
startFacts();
start();
route([
  [/^\/$/, overview],
  [/^\/trial\/(\d+)$/, trialView],
  [/^\/lineage$/, lineage],
  [/^\/constants$/, constants],
  [/^\/strategies$/, strategies],
]);

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, textarea")) return;
  if (e.key === "/" && filter) {
    e.preventDefault();
    filter.focus();
  }
  if (e.key === "Escape" && location.hash.length > 2) location.hash = "#/";
});
