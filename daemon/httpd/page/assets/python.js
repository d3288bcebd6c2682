// Python's words, line by line: enough to colour a diff.

const keywords = new Set("and as assert async await break class continue def del elif else except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield match case".split(" "));
const values = new Set(["True", "False", "None", "self", "cls"]);

const shape = /(#.*)|([rbfuRBFU]{0,2}(?:"""(?:.*?"""|.*)|'''(?:.*?'''|.*)|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?))|(\b\d[\w.]*(?:[eE][+-]?\d+)?)|(@[\w.]+)|([A-Za-z_]\w*)/g;

// tokens splits a line into [kind, text]; kind is "" for what has no colour.
export function tokens(line) {
  const out = [];
  let at = 0;
  for (const m of line.matchAll(shape)) {
    if (m.index > at) out.push(["", line.slice(at, m.index)]);
    out.push([kind(m), m[0]]);
    at = m.index + m[0].length;
  }
  if (at < line.length) out.push(["", line.slice(at)]);
  return out;
}

function kind([text, comment, string, number, decorator]) {
  if (comment) return "comment";
  if (string) return "string";
  if (number) return "number";
  if (decorator) return "decorator";
  if (keywords.has(text)) return "keyword";
  if (values.has(text)) return "value";
  return /^[A-Z][A-Z0-9_]+$/.test(text) ? "constant" : "";
}
