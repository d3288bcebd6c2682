// Numbers, as people read them. null and undefined are unknown: a dash.

const none = "\u2013";
const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

export const bpb = (v) => (known(v) ? v.toFixed(6) : none);
export const whole = (v) => (known(v) ? Math.round(v).toLocaleString("en") : none);
export const percent = (v, digits = 0) => (known(v) ? (100 * v).toFixed(digits) + "\u202f%" : none);

// signed is a difference of val_bpb, with a real minus.
export const signed = (v, digits = 6) => (known(v) ? (v > 0 ? "+" : v < 0 ? "\u2212" : "\u00b1") + Math.abs(v).toFixed(digits) : none);

export function duration(seconds) {
  if (!known(seconds)) return none;
  const s = Math.max(0, seconds);
  if (s < 10) return s.toFixed(1) + " s";
  if (s < 60) return Math.round(s) + " s";
  const whole = Math.round(s);
  const [d, hours, m] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (d) return `${d} d ${hours} h`;
  if (hours) return `${hours} h ${m} min`;
  return `${m} min ${String(whole % 60).padStart(2, "0")} s`;
}

export function bytes(v) {
  if (!known(v)) return none;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (v >= 1024 && i < units.length - 1) {
    v /= 1024;
    i++;
  }
  return (i && v < 100 ? v.toFixed(1) : Math.round(v)) + " " + units[i];
}

// brief is a number in four places at most: 1.66 M, 0.04, 3e-5.
export function brief(v) {
  if (!known(v)) return none;
  const a = Math.abs(v);
  if (a >= 1e9) return +(v / 1e9).toPrecision(3) + " G";
  if (a >= 1e6) return +(v / 1e6).toPrecision(3) + " M";
  if (a >= 1e4) return +(v / 1e3).toPrecision(3) + " k";
  if (a !== 0 && a < 1e-3) return v.toExponential(1).replace("-", "\u2212");
  return String(+v.toPrecision(4)).replace("-", "\u2212");
}

export function when(time) {
  const t = new Date(time);
  if (Number.isNaN(+t)) return none;
  return t.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

// literal shows a constant's value as train.py has it.
export function literal(v) {
  if (v === null || v === undefined) return "None";
  if (Array.isArray(v)) return "(" + v.map(literal).join(", ") + (v.length === 1 ? ",)" : ")");
  if (v === true) return "True";
  if (v === false) return "False";
  return typeof v === "string" ? JSON.stringify(v) : String(v);
}

export const plural = (n, one, many = one + "s") => `${whole(n)} ${n === 1 ? one : many}`;
