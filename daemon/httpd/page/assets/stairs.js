// The champions' line, and the range of scores in which it is seen.

import { padded, quantile } from "./scale.js";

// domain shows the line, its candidates' runs and nine in ten of the scores;
// what is worse lies on the upper edge.
export function domain(candidates, steps, baseline) {
  const scores = candidates.filter((c) => c.val_bpb !== null).map((c) => c.val_bpb).sort((a, b) => a - b);
  if (!scores.length) return [0, 1];
  const line = steps.map((s) => s.val_bpb);
  const runs = candidates.filter((c) => c.verdict === "kept" && c.scores).flatMap((c) => c.scores);
  const lo = Math.min(scores[0], ...line, ...runs);
  const hi = Math.max(quantile(scores, 0.9), ...line, ...runs, baseline ?? -Infinity);
  const room = (hi - lo) * 0.2; // below the stairs, for names
  return padded(lo - room, hi, 0.05);
}

// stairs is the path of the line up to the end, with its corners.
export function stairs(steps, x, y, across, end) {
  let d = "";
  const corners = [];
  for (const s of steps) {
    const [at, level] = [x(across(s)), y(s.val_bpb)];
    d += d ? `H${at.toFixed(1)}V${level.toFixed(1)}` : `M${at.toFixed(1)} ${level.toFixed(1)}`;
    corners.push([at, level]);
  }
  if (d) {
    d += `H${x(end).toFixed(1)}`;
    corners.push([x(end), corners.at(-1)[1]]);
  }
  return { d, corners };
}
