// Names beside marks: each where nothing is hidden, or not at all.

const measure = document.createElement("canvas").getContext("2d");

export function textWidth(text, font) {
  measure.font = font;
  return measure.measureText(text).width;
}

const meet = (a, b) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;

// Below the staircase there is room: nothing is better than the best.
const places = Array.from({ length: 12 }, (_, i) => [
  { dx: -5, dy: 15 + 15 * i, end: true, tied: i > 0 },
  { dx: 4, dy: 16 + 15 * i, end: false, tied: i > 0 },
]).flat();

// placed gives those of items [{x, y, text}], the most wanted first, that have a
// place inside the bounds and off the obstacles (boxes).
export function placed(items, { font, bounds, obstacles, most }) {
  const taken = [...obstacles];
  const out = [];
  for (const item of items) {
    if (out.length >= most) break;
    const width = textWidth(item.text, font);
    for (const p of places) {
      const x = item.x + p.dx;
      const y = item.y + p.dy;
      const box = { x0: (p.end ? x - width : x) - 3, x1: (p.end ? x : x + width) + 3, y0: y - 11, y1: y + 4 };
      if (box.x0 < bounds.x0 || box.x1 > bounds.x1 || box.y1 > bounds.y1 || taken.some((t) => meet(t, box))) continue;
      const tie = { x0: item.x - 1, x1: item.x + 1, y0: item.y + 5, y1: box.y0 };
      if (p.tied && taken.some((t) => meet(t, tie))) continue;
      taken.push(box);
      if (p.tied) taken.push(tie);
      out.push({ ...item, at: { x, y }, end: p.end, tied: p.tied });
      break;
    }
  }
  return out;
}
