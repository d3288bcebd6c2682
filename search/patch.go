package search

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Patch returns source with the literals of the named constants replaced, in
// the way in which each is written: 2**19 becomes 2**18, 1_000 becomes 2_000,
// (0.8, 0.95) keeps its blanks. Every other byte stays, and a value that a
// constant already has changes nothing. consts are those of source. Its error
// joins every fault: a constant that source has not, a value of another type,
// a span that is not the literal that consts says it is.
func Patch(source []byte, consts []Constant, values map[string]Value) ([]byte, error) {
	type edit struct {
		start, end int
		text       string
	}
	var edits []edit
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		at := slices.IndexFunc(consts, func(c Constant) bool { return c.Name == name })
		if at < 0 {
			faults = append(faults, fmt.Errorf("set %s: train.py has no such constant", name))
			continue
		}
		c := consts[at]
		v, err := convert(values[name], c.Value)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("set %s: %w", name, err))
		case c.Start < 0 || c.End < c.Start || c.End > len(source) || string(source[c.Start:c.End]) != c.Text:
			faults = append(faults, fmt.Errorf("set %s: its literal %s is not at bytes %d to %d of the source: the constants are not this source's", name, c.Text, c.Start, c.End))
		case !v.Equal(c.Value):
			edits = append(edits, edit{c.Start, c.End, rewrite(c.Text, c.Value, v)})
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	out := make([]byte, 0, len(source)+16)
	last := 0
	for _, e := range edits {
		if e.start < last {
			return nil, fmt.Errorf("replace bytes %d to %d: the spans of two constants overlap", e.start, e.end)
		}
		out = append(append(out, source[last:e.start]...), e.text...)
		last = e.end
	}
	return append(out, source[last:]...), nil
}

// Changed returns the names in to whose values differ from those in from, or
// that from has not, in to's order.
func Changed(from, to []Constant) []string {
	var names []string
	for i := range to {
		c := &to[i]
		k := i // where it is unless code was edited
		if k >= len(from) || from[k].Name != c.Name {
			k = slices.IndexFunc(from, func(o Constant) bool { return o.Name == c.Name })
		}
		if k < 0 || !from[k].Value.Equal(c.Value) {
			names = append(names, c.Name)
		}
	}
	return names
}

// Describe says in one line how to differs from from: "MATRIX_LR 0.04 -> 0.052,
// DEPTH 8 -> 9", with new and removed constants; "nothing changed" if nothing is.
func Describe(from, to []Constant) string {
	old, now := byName(from), byName(to)
	var parts []string
	for _, name := range Changed(from, to) {
		c := now[name]
		if o, ok := old[name]; ok {
			parts = append(parts, fmt.Sprintf("%s %s -> %s", name, inWriting(o, o.Value), inWriting(o, c.Value)))
		} else {
			parts = append(parts, fmt.Sprintf("%s = %s (new)", name, c.Value))
		}
	}
	for _, c := range from {
		if _, ok := now[c.Name]; !ok {
			parts = append(parts, c.Name+" removed")
		}
	}
	if len(parts) == 0 {
		return "nothing changed"
	}
	return strings.Join(parts, ", ")
}

// inWriting writes v as c's literal is written, on one line.
func inWriting(c Constant, v Value) string {
	if c.Text == "" || strings.ContainsAny(c.Text, "\n\r") || c.Value.Kind() != v.Kind() {
		return v.Literal()
	}
	if v.Equal(c.Value) {
		return c.Text
	}
	return rewrite(c.Text, c.Value, v)
}

func byName(consts []Constant) map[string]Constant {
	m := make(map[string]Constant, len(consts))
	for _, c := range consts {
		m[c.Name] = c
	}
	return m
}

// convert returns v as the kind of old: an int for a float, a whole float for
// an int, a tuple element by element. A tuple keeps its length.
func convert(v, old Value) (Value, error) {
	mismatch := func() (Value, error) {
		return Value{}, fmt.Errorf("%s is %s, but train.py has %s, %s: give a value of that type", v, article(v.Kind()), old, article(old.Kind()))
	}
	switch {
	case v.Kind() == Float && (math.IsNaN(v.num) || math.IsInf(v.num, 0)):
		return Value{}, fmt.Errorf("%s is not a finite number", number(v.num))
	case old.Kind() == Tuple && v.Kind() == Tuple:
		if len(v.items) != len(old.items) {
			return Value{}, fmt.Errorf("%s has %d elements, but train.py has %s with %d", v, len(v.items), old, len(old.items))
		}
		items := make([]Value, len(v.items))
		for i := range items {
			var err error
			if items[i], err = convert(v.items[i], old.items[i]); err != nil {
				return Value{}, fmt.Errorf("element %d: %w", i, err)
			}
		}
		return Value{kind: Tuple, items: items}, nil
	case v.Kind() == old.Kind():
		return v, nil
	case old.Kind() == Float && v.Kind() == Int:
		return FloatValue(float64(v.whole)), nil
	case old.Kind() == Int && v.Kind() == Float:
		if v.num != math.Trunc(v.num) || math.Abs(v.num) >= 1<<63 {
			return Value{}, fmt.Errorf("%s is not whole, but train.py has %s, an int: give a whole number", v, old)
		}
		return IntValue(int64(v.num)), nil
	}
	return mismatch()
}

var (
	powerForm    = regexp.MustCompile(`^2(\s*\*\*\s*)\d+$`)
	shiftForm    = regexp.MustCompile(`^\d+(\s*<<\s*)(\d+)$`)
	productForm  = regexp.MustCompile(`^\d+(\s*\*\s*)(\d[\d_]*)$`)
	groupedForm  = regexp.MustCompile(`^-?\d{1,3}(_\d{3})+(\.\d*)?$`)
	exponentForm = regexp.MustCompile(`^-?[\d_]*\.?[\d_]*[eE]([+-]?)(0?)\d+$`)
	quotedForm   = regexp.MustCompile(`^(['"])[^'"\\\n]*['"]$`)
)

// rewrite writes v, of old's kind and not equal to it, as text writes old.
func rewrite(text string, old, v Value) string {
	switch v.Kind() {
	case Int:
		return rewriteInt(text, v)
	case Float:
		return rewriteFloat(text, v)
	case String:
		if m := quotedForm.FindStringSubmatch(text); m != nil && m[1] == "'" && !strings.ContainsAny(v.text, "'\\") {
			inner := stringLiteral(v.text)
			inner = inner[1 : len(inner)-1]
			return "'" + strings.ReplaceAll(inner, `\"`, `"`) + "'"
		}
	case Tuple:
		if spans := elementSpans(text); len(spans) == len(v.items) {
			var b strings.Builder
			last := 0
			for i, s := range spans {
				b.WriteString(text[last:s[0]])
				if v.items[i].Equal(old.items[i]) {
					b.WriteString(text[s[0]:s[1]])
				} else {
					b.WriteString(rewrite(text[s[0]:s[1]], old.items[i], v.items[i]))
				}
				last = s[1]
			}
			return b.String() + text[last:]
		}
	}
	return v.Literal()
}

func rewriteInt(text string, v Value) string {
	n := v.whole
	if m := powerForm.FindStringSubmatch(text); m != nil && n > 0 && n&(n-1) == 0 {
		return "2" + m[1] + strconv.Itoa(bits.TrailingZeros64(uint64(n)))
	}
	if m := shiftForm.FindStringSubmatch(text); m != nil && n > 0 {
		if by, err := strconv.Atoi(m[2]); err == nil && by < 63 {
			if strings.HasPrefix(text, "1") && text[1] < '0' && n&(n-1) == 0 {
				return "1" + m[1] + strconv.Itoa(bits.TrailingZeros64(uint64(n)))
			}
			if n>>by<<by == n {
				return strconv.FormatInt(n>>by, 10) + m[1] + m[2]
			}
		}
	}
	if m := productForm.FindStringSubmatch(text); m != nil && n > 0 {
		if unit, err := strconv.ParseInt(strings.ReplaceAll(m[2], "_", ""), 10, 64); err == nil && unit > 0 && n%unit == 0 {
			return strconv.FormatInt(n/unit, 10) + m[1] + m[2]
		}
	}
	if strings.HasPrefix(text, "0x") && n >= 0 {
		return "0x" + strconv.FormatInt(n, 16)
	}
	if groupedForm.MatchString(text) {
		return group(strconv.FormatInt(n, 10))
	}
	return v.Literal()
}

func rewriteFloat(text string, v Value) string {
	if m := exponentForm.FindStringSubmatch(text); m != nil {
		s := strconv.FormatFloat(v.num, 'e', -1, 64)
		mantissa, exponent, _ := strings.Cut(s, "e")
		sign, figures := exponent[:1], strings.TrimLeft(exponent[1:], "0")
		if figures == "" {
			return v.Literal()
		}
		if sign == "+" {
			sign = m[1]
			if sign == "-" {
				sign = ""
			}
		}
		if m[2] != "" && len(figures) == 1 {
			figures = "0" + figures
		}
		e := "e"
		if strings.Contains(text, "E") {
			e = "E"
		}
		return mantissa + e + sign + figures
	}
	s := v.Literal()
	if abs := math.Abs(v.num); abs >= 1e-6 && abs < 1e-4 { // Literal turns to exponents there
		s = strconv.FormatFloat(v.num, 'f', -1, 64)
	}
	if groupedForm.MatchString(text) && !strings.ContainsAny(s, "eE") {
		return group(s)
	}
	return s
}

// group writes 1234567.5 as 1_234_567.5.
func group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, rest, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "_" + whole[i:]
	}
	if point {
		whole += "." + rest
	}
	return sign + whole
}

// elementSpans returns the places of a tuple's elements in its text, without
// the blanks and comments around them; nil if the text is not understood.
func elementSpans(text string) [][2]int {
	if len(text) < 2 || text[0] != '(' || text[len(text)-1] != ')' {
		return nil
	}
	var spans [][2]int
	first, last, depth := -1, -1, 0
	end := func() {
		if first >= 0 {
			spans = append(spans, [2]int{first, last + 1})
		}
		first = -1
	}
	for i := 1; i < len(text)-1; i++ {
		switch ch := text[i]; ch {
		case ' ', '\t', '\n', '\r':
			continue
		case '\\': // a continued line
			return nil
		case '#':
			for i < len(text)-1 && text[i] != '\n' {
				i++
			}
			continue
		case ',':
			if depth == 0 {
				end()
				continue
			}
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return nil
			}
		case '\'', '"':
			close := strings.IndexByte(text[i+1:len(text)-1], ch)
			if close < 0 || strings.Contains(text[i+1:i+1+close], `\`) || close == 0 && text[i+2] == ch {
				return nil
			}
			if first < 0 {
				first = i
			}
			i += close + 1
		}
		if first < 0 {
			first = i
		}
		last = i
	}
	if depth != 0 {
		return nil
	}
	end()
	return spans
}
