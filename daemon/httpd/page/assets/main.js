import { candidateView } from "./candidate.js";
import { startCard } from "./card.js";
import { compareView } from "./compare.js";
import { constants } from "./constants.js";
import { byId, h } from "./dom.js";
import { startFacts } from "./facts.js";
import { lineage } from "./lineage.js";
import { live } from "./live.js";
import { address } from "./query.js";
import { route } from "./router.js";
import { runView } from "./run.js";
import { seats } from "./seats.js";
import { staircase } from "./staircase.js";
import { start } from "./store.js";
import { strategies } from "./strategies.js";
import { table } from "./table.js";
import { startTheme } from "./switch.js";
import { timeline } from "./timeline.js";

let filter = null;
let home = "#/"; // the overview, as it was seen last

function overview() {
  const list = table();
  const parts = [staircase(), live(), seats(), list];
  filter = list.search;
  return {
    root: h("div", { class: "overview" }, parts.map((p) => p.root)),
    update: (query) => parts.forEach((p) => p.update?.(query)),
    end: () => {
      filter = null;
      parts.forEach((p) => p.end());
    },
  };
}

startTheme(byId("theme"));
startCard();
startFacts();
start();
route([
  [/^\/$/, overview],
  [/^\/candidate\/(\d+)$/, candidateView],
  [/^\/trial\/(\d+)$/, runView],
  [/^\/compare\/(\d+(?:,\d+)+)$/, compareView],
  [/^\/lineage$/, lineage],
  [/^\/constants$/, constants],
  [/^\/timeline$/, timeline],
  [/^\/strategies$/, strategies],
]);

const remember = () => address().path === "/" && (home = location.hash || "#/");
remember();
addEventListener("hashchange", remember);

addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.matches("input, select, textarea")) return;
  if (e.key === "/" && filter) {
    e.preventDefault();
    filter.focus();
  }
  if (e.key === "Escape" && address().path !== "/") location.hash = home;
});
