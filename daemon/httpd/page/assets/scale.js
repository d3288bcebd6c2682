// Scales and ticks of the charts.

import { brief, literal } from "./format.js";

export function linear([a, b], [from, to]) {
  const span = b - a || 1;
  const scale = (v) => from + ((v - a) / span) * (to - from);
  scale.invert = (p) => a + ((p - from) / (to - from)) * span;
  scale.domain = [a, b];
  return scale;
}

export function logarithmic([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  const scale = (v) => inner(Math.log10(v));
  scale.invert = (p) => 10 ** inner.invert(p);
  scale.domain = [a, b];
  return scale;
}

// ticks are about n round values inside the domain, or multiples of one of steps.
export function ticks([a, b], n, steps) {
  const rough = (b - a) / Math.max(1, n);
  if (!(rough > 0)) return [a];
  const power = 10 ** Math.floor(Math.log10(rough));
  const fit = (s) => s >= rough * 0.999;
  const step = steps?.find(fit) ?? [1, 2, 5, 10].map((m) => m * power).find(fit);
  const out = [];
  for (let i = Math.ceil(a / step - 1e-9); i * step <= b + step * 1e-9; i++) out.push(i * step);
  return out;
}

// decimals that tell neighbouring ticks apart.
export function decimals(values) {
  if (values.length < 2) return 2;
  return Math.max(0, Math.min(8, Math.ceil(-Math.log10(Math.abs(values[1] - values[0])) - 1e-9)));
}

// padded widens a domain, so that no mark lies on the frame.
export function padded(lo, hi, share = 0.06) {
  const pad = (hi - lo) * share || Math.abs(lo) * 0.001 || 1;
  return [lo - pad, hi + pad];
}

export function quantile(sorted, q) {
  const i = (sorted.length - 1) * q;
  const lo = Math.floor(i);
  return sorted[lo] + (sorted[Math.ceil(i)] - sorted[lo]) * (i - lo);
}

// bulk is where most of sorted values lie: without those that are farther out
// than three times the middle half of all different ones is wide.
export function bulk(sorted) {
  const different = sorted.filter((v, i) => !i || v !== sorted[i - 1]);
  const [low, high] = [quantile(different, 0.25), quantile(different, 0.75)];
  const reach = 3 * (high - low);
  const inside = different.filter((v) => v >= low - reach && v <= high + reach);
  return different.length < 5 ? [different[0], different.at(-1)] : [inside[0], inside.at(-1)];
}

// worst is the highest of sorted scores that a chart shows; what is worse lies
// on its edge.
export function worst(scores) {
  return scores.length > 4 ? Math.min(bulk(scores)[1], quantile(scores, 0.9)) : scores.at(-1);
}

// along is the scale of a constant's values, without what lies far out: at is a
// value's place, low and high are the last places inside, ends are named by word.
// What is no number gets its place in the order of appearance.
export function along(values, log, range) {
  if (values.every((v) => typeof v === "number")) {
    const scaled = log && values.every((v) => v > 0);
    const [lo, hi] = bulk((scaled ? values.map(Math.log10) : [...values]).sort((a, b) => a - b)).map((v) => (scaled ? 10 ** v : v));
    const ends = lo === hi ? [lo] : [lo, hi];
    const x = scaled && hi > lo ? logarithmic([lo * (lo / hi) ** 0.06, hi * (hi / lo) ** 0.06], range) : linear(padded(lo, hi), range);
    return { x, at: (v) => v, word: brief, ends, low: lo - 1e-9 * Math.abs(lo), high: hi + 1e-9 * Math.abs(hi) };
  }
  const names = [...new Set(values.map(literal))];
  const last = names.length - 1;
  return { x: linear(padded(0, Math.max(1, last)), range), at: (v) => names.indexOf(literal(v)), word: (i) => names[i] ?? "", ends: names.map((_, i) => i).slice(0, 6), low: 0, high: last };
}
