package simulate

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"autoresearchd/search"
)

// Line is one constant of a train.py: `NAME = Text  # Comment`.
type Line struct {
	Name    string
	Text    string
	Value   search.Value
	Comment string
}

// Upstream is karpathy/autoresearch's constants block @228791f: names and
// start values as they stand there.
func Upstream() []Line {
	f, n := search.FloatValue, search.IntValue
	return []Line{
		{"ASPECT_RATIO", "64", n(64), "model_dim = depth * ASPECT_RATIO"},
		{"HEAD_DIM", "128", n(128), "target head dimension for attention"},
		{"WINDOW_PATTERN", `"SSSL"`, search.StringValue("SSSL"), "L=full, S=half context"},
		{"TOTAL_BATCH_SIZE", "2**19", n(1 << 19), "tokens per optimizer step"},
		{"EMBEDDING_LR", "0.6", f(0.6), ""},
		{"UNEMBEDDING_LR", "0.004", f(0.004), ""},
		{"MATRIX_LR", "0.04", f(0.04), ""},
		{"SCALAR_LR", "0.5", f(0.5), ""},
		{"WEIGHT_DECAY", "0.2", f(0.2), ""},
		{"ADAM_BETAS", "(0.8, 0.95)", search.TupleValue(f(0.8), f(0.95)), ""},
		{"WARMUP_RATIO", "0.0", f(0), "share of the budget"},
		{"WARMDOWN_RATIO", "0.5", f(0.5), ""},
		{"FINAL_LR_FRAC", "0.0", f(0), ""},
		{"DEPTH", "8", n(8), "number of transformer layers"},
		{"DEVICE_BATCH_SIZE", "128", n(128), "reduce if out of memory"},
	}
}

// Source writes a train.py that has these constants, and then code, a line
// each, and reads the constants back.
func Source(lines []Line, code ...string) ([]byte, []search.Constant) {
	var b strings.Builder
	var consts []search.Constant
	b.WriteString("import prepare\n\n")
	for i, l := range lines {
		b.WriteString(l.Name + " = ")
		c := search.Constant{Name: l.Name, Value: l.Value, Text: l.Text, Line: i + 3, Start: b.Len(), Comment: l.Comment}
		b.WriteString(l.Text)
		c.End = b.Len()
		consts = append(consts, c)
		if l.Comment != "" {
			b.WriteString("  # " + l.Comment)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for _, line := range code {
		b.WriteString(line + "\n")
	}
	b.WriteString("print(prepare)\n")
	return []byte(b.String()), consts
}

// Lines are constants as Source takes them.
func Lines(consts []search.Constant) []Line {
	lines := make([]Line, len(consts))
	for i, c := range consts {
		lines[i] = Line{c.Name, c.Text, c.Value, c.Comment}
	}
	return lines
}

// Code returns what Source wrote behind the constants.
func Code(source []byte) []string {
	text := strings.TrimSuffix(string(source), "print(prepare)\n")
	at := strings.LastIndex(text, "\n\n")
	if at < 0 {
		return nil
	}
	return strings.Fields(text[at:])
}

// Apply is Patch and a reading of the result, for sources that Source wrote.
// It fails if the patch changed anything beside the literals of values.
func Apply(source []byte, consts []search.Constant, values map[string]search.Value) ([]byte, []search.Constant, error) {
	patched, err := search.Patch(source, consts, values)
	if err != nil {
		return nil, nil, err
	}
	lines := Lines(consts)
	rows := strings.Split(string(patched), "\n")
	for i, c := range consts {
		if v, ok := values[c.Name]; ok {
			lines[i].Value = v
		}
		if c.Line > len(rows) {
			return nil, nil, fmt.Errorf("line %d of %s is gone", c.Line, c.Name)
		}
		text, _ := strings.CutPrefix(rows[c.Line-1], c.Name+" = ")
		if c.Comment != "" {
			text = strings.TrimSuffix(text, "  # "+c.Comment)
		}
		lines[i].Text = text
	}
	again, read := Source(lines, Code(source)...)
	if string(again) != string(patched) {
		return nil, nil, fmt.Errorf("the patch changed more than literals:\n%s", patched)
	}
	return patched, read, nil
}

// Read finds the constants of a train.py in the style of Source: one a line,
// each a literal that stands alone.
func Read(source []byte) ([]search.Constant, error) {
	var out []search.Constant
	at := 0
	for n, row := range strings.SplitAfter(string(source), "\n") {
		name, rest, ok := strings.Cut(strings.TrimRight(row, "\n"), " = ")
		if ok && name != "" && name == strings.ToUpper(name) && !strings.ContainsAny(name, " (.#") {
			text, comment, _ := strings.Cut(rest, "  # ")
			v, err := literal(text)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			start := at + len(name) + len(" = ")
			out = append(out, search.Constant{Name: name, Value: v, Text: text, Line: n + 1, Start: start, End: start + len(text), Comment: comment})
		}
		at += len(row)
	}
	return out, nil
}

// literal reads the literals that Source's lines have.
func literal(text string) (search.Value, error) {
	text = strings.TrimSpace(text)
	plain := strings.ReplaceAll(text, "_", "")
	if base, exponent, ok := strings.Cut(plain, "**"); ok {
		b, err := strconv.ParseInt(strings.TrimSpace(base), 10, 64)
		e, err2 := strconv.Atoi(strings.TrimSpace(exponent))
		if x := math.Pow(float64(b), float64(e)); err == nil && err2 == nil && e >= 0 && math.Abs(x) < 1<<62 {
			return search.IntValue(int64(x)), nil
		}
	}
	if n, err := strconv.ParseInt(plain, 10, 64); err == nil {
		return search.IntValue(n), nil
	}
	if f, err := strconv.ParseFloat(plain, 64); err == nil {
		return search.FloatValue(f), nil
	}
	switch {
	case text == "True" || text == "False":
		return search.BoolValue(text == "True"), nil
	case text == "None":
		return search.Value{}, nil
	case len(text) >= 2 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0]:
		return search.StringValue(text[1 : len(text)-1]), nil
	case strings.HasPrefix(text, "(") && strings.HasSuffix(text, ")"):
		var items []search.Value
		for _, item := range strings.Split(strings.Trim(text, "(), "), ",") {
			v, err := literal(item)
			if err != nil {
				return search.Value{}, err
			}
			items = append(items, v)
		}
		return search.TupleValue(items...), nil
	}
	return search.Value{}, fmt.Errorf("%s is no literal", text)
}
