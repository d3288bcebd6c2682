// Scales and ticks of the charts.

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

// ticks are about n round values inside the domain.
export function ticks([a, b], n) {
  const rough = (b - a) / Math.max(1, n);
  if (!(rough > 0)) return [a];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
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
