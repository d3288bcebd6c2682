// Verdicts on candidates, in words.

import { h } from "./dom.js";

export const verdicts = ["pending", "kept", "discarded", "refuted", "crashed", "tampered", "interrupted"];

// outcome is a candidate's verdict in a word: of one that crashed, of what.
export const outcome = (c) => (c.verdict === "crashed" && c.failure ? c.failure : c.failure === "pruned" ? "pruned" : c.verdict);

// standing shows it, with both words where there are two.
export function standing(c) {
  const word = outcome(c);
  return h("span", { class: "standing " + c.verdict, title: word === c.verdict ? null : `${c.verdict} (${c.failure})` }, word);
}
