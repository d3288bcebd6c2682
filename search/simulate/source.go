package simulate

import (
	"fmt"
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

// Source writes a train.py that has these constants, and reads them back.
func Source(lines []Line) ([]byte, []search.Constant) {
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
	b.WriteString("\nprint(prepare)\n")
	return []byte(b.String()), consts
}

// Apply is Patch and a reading of the result, for sources that Source wrote.
// It fails if the patch changed anything beside the literals of values.
func Apply(source []byte, consts []search.Constant, values map[string]search.Value) ([]byte, []search.Constant, error) {
	patched, err := search.Patch(source, consts, values)
	if err != nil {
		return nil, nil, err
	}
	lines := make([]Line, len(consts))
	rows := strings.Split(string(patched), "\n")
	for i, c := range consts {
		lines[i] = Line{Name: c.Name, Value: c.Value, Comment: c.Comment}
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
	again, read := Source(lines)
	if string(again) != string(patched) {
		return nil, nil, fmt.Errorf("the patch changed more than literals:\n%s", patched)
	}
	return patched, read, nil
}
