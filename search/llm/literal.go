package llm

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
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
	v, err := search.ParseLiteral(text)
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
