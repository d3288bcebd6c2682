package llm

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"autoresearchd/search"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// value reads a setting as a value of the kind that the constant has.
func (s setting) value(old search.Value) (search.Value, error) {
	if old.Kind() == search.String {
		return search.StringValue(strings.Trim(s.text, `"'`)), nil
	}
	text := s.text
	switch {
	case old.Kind() == search.Tuple && strings.Contains(text, ",") && !strings.HasPrefix(text, "(") && !strings.HasPrefix(text, "["):
		text = "(" + text + ")"
	case old.Kind() == search.Int && thousands.MatchString(text):
		text = strings.ReplaceAll(text, ",", "")
	case old.Kind() == search.Float && strings.HasSuffix(text, "%") && old.Number() >= 0 && old.Number() <= 1: // of the whole
		text = strings.TrimSuffix(text, "%") + "/100"
	}
	v, err := literal(text)
	if err != nil {
		return search.Value{}, fmt.Errorf("%s = %s: %w", s.name, inline(s.text, 60), err)
	}
	if v = fit(v, old); v.Kind() != old.Kind() || v.Kind() == search.Tuple && len(v.Items()) != len(old.Items()) {
		return search.Value{}, fmt.Errorf("%s = %s: train.py has %s, a %s: give a value of that type", s.name, inline(s.text, 60), old, old.Kind())
	}
	return v, nil
}

var thousands = regexp.MustCompile(`^[+-]?\d{1,3}(?:,\d{3})+$`)

// fit turns whole floats and ints into each other where train.py has the other.
func fit(v, old search.Value) search.Value {
	switch {
	case old.Kind() == search.Float && v.Kind() == search.Int:
		return search.FloatValue(v.Number())
	case old.Kind() == search.Int && v.Kind() == search.Float && v.Number() == math.Trunc(v.Number()) && math.Abs(v.Number()) < 1<<53:
		return search.IntValue(int64(v.Number()))
	case old.Kind() == search.Tuple && v.Kind() == search.Tuple && len(v.Items()) == len(old.Items()):
		items := make([]search.Value, len(v.Items()))
		for i := range items {
			items[i] = fit(v.Items()[i], old.Items()[i])
		}
		return search.TupleValue(items...)
	}
	return v
}

// literal reads a Python literal as models write them: 0.05, 1e-3, 2**18,
// 1 << 10, 64 * 1024, 524_288, True, (0.8, 0.95), [0.8, 0.95], "SSSL".
func literal(text string) (search.Value, error) {
	return literalAt(strings.TrimSpace(text), 0)
}

func literalAt(text string, depth int) (search.Value, error) {
	bad := fmt.Errorf("not a literal")
	switch {
	case text == "" || len(text) > 1000 || depth > 4:
		return search.Value{}, bad
	case text == "True" || text == "true":
		return search.BoolValue(true), nil
	case text == "False" || text == "false":
		return search.BoolValue(false), nil
	}
	first, last := text[0], text[len(text)-1]
	switch {
	case len(text) > 1 && (first == '"' || first == '\'') && first == last:
		return search.StringValue(text[1 : len(text)-1]), nil
	case first == '(' && last == ')' || first == '[' && last == ']':
		inner := strings.TrimSuffix(strings.TrimSpace(text[1:len(text)-1]), ",")
		var items []search.Value
		for _, part := range strings.Split(inner, ",") {
			v, err := literalAt(strings.TrimSpace(part), depth+1)
			if err != nil {
				return search.Value{}, err
			}
			items = append(items, v)
		}
		return search.TupleValue(items...), nil
	}
	if at, op := operator(text); at > 0 {
		x, err1 := literalAt(strings.TrimSpace(text[:at]), depth+1)
		y, err2 := literalAt(strings.TrimSpace(text[at+len(op):]), depth+1)
		if err1 != nil || err2 != nil {
			return search.Value{}, bad
		}
		return arithmetic(op, x, y)
	}
	plain := strings.ReplaceAll(text, "_", "")
	if n, err := strconv.ParseInt(plain, 10, 64); err == nil {
		return search.IntValue(n), nil
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(plain, "xXpPnN") {
		return search.Value{}, bad
	}
	return search.FloatValue(f), nil
}

// operator is the operator of an expression that is worked out last, and its
// place; -1: there is none.
func operator(text string) (int, string) {
	if at := strings.LastIndex(text, "<<"); at >= 0 {
		return at, "<<"
	}
	for i := len(text) - 1; i > 0; i-- {
		switch {
		case text[i] == '*' && text[i-1] == '*':
			i--
		case text[i] == '*' || text[i] == '/':
			return i, text[i : i+1]
		}
	}
	return strings.Index(text, "**"), "**"
}

// arithmetic works out what Python would.
func arithmetic(op string, x, y search.Value) (search.Value, error) {
	bad := fmt.Errorf("not a literal")
	whole := x.Kind() == search.Int && y.Kind() == search.Int
	if !whole && (op == "<<" || x.Kind() != search.Int && x.Kind() != search.Float || y.Kind() != search.Int && y.Kind() != search.Float) {
		return search.Value{}, bad
	}
	var n float64
	switch op {
	case "**":
		n = math.Pow(x.Number(), y.Number())
	case "<<":
		n = x.Number() * math.Pow(2, y.Number())
	case "/":
		n, whole = x.Number()/y.Number(), false
	default:
		n = x.Number() * y.Number()
	}
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		return search.Value{}, bad
	case !whole:
		return search.FloatValue(n), nil
	case math.Abs(n) > 1<<53 || n != math.Trunc(n):
		return search.Value{}, bad
	}
	return search.IntValue(int64(n)), nil
}
