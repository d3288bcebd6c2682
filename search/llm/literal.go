package llm

import (
	"fmt"
	"maps"
	"math"
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
	v, err := literal(s.text)
	if err != nil {
		return search.Value{}, fmt.Errorf("%s = %s: %w", s.name, inline(s.text, 60), err)
	}
	if v = fit(v, old); v.Kind() != old.Kind() || v.Kind() == search.Tuple && len(v.Items()) != len(old.Items()) {
		return search.Value{}, fmt.Errorf("%s = %s: train.py has %s, a %s: give a value of that type", s.name, inline(s.text, 60), old, old.Kind())
	}
	return v, nil
}

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
	for _, op := range []string{"**", "<<", "*"} {
		if a, b, ok := strings.Cut(text, op); ok {
			x, err1 := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(a), "_", ""), 10, 64)
			y, err2 := literalAt(strings.TrimSpace(b), depth+1)
			if err1 != nil || err2 != nil || y.Kind() != search.Int {
				return search.Value{}, bad
			}
			var n float64
			switch op {
			case "**":
				n = math.Pow(float64(x), y.Number())
			case "<<":
				n = float64(x) * math.Pow(2, y.Number())
			default:
				n = float64(x) * y.Number()
			}
			if math.Abs(n) > 1<<53 || n != math.Trunc(n) {
				return search.Value{}, bad
			}
			return search.IntValue(int64(n)), nil
		}
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
