package search

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Point reads values that come from outside, by the name of a dimension
// ("ADAM_BETAS[0]") or of a whole tuple, and returns the snapped point that
// they mean; what is not named is the champion's. Its error joins every fault:
// a name that is not searched, a value of another type, out of range, or not
// among the choices.
func (s Space) Point(values map[string]Value) ([]float64, error) {
	u := s.Start()
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := values[name]
		if at := slices.IndexFunc(s.dims, func(d Dimension) bool { return d.Name == name }); at >= 0 {
			place, err := s.dims[at].strict(v)
			faults = append(faults, err)
			u[at] = place
			continue
		}
		c := slices.IndexFunc(s.consts, func(c Constant) bool { return c.Name == name })
		if c < 0 {
			faults = append(faults, s.unknown(name))
			continue
		}
		old := s.consts[c].Value
		v, err := convert(v, old)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
			continue
		case old.Kind() != Tuple:
			if !v.Equal(old) {
				faults = append(faults, fmt.Errorf("%s = %s: it is not searched and stays at %s", name, v, old))
			}
			continue
		}
		for k, item := range v.Items() {
			at := slices.IndexFunc(s.dims, func(d Dimension) bool { return d.Constant == name && d.Element == k })
			switch {
			case at >= 0:
				place, err := s.dims[at].strict(item)
				faults = append(faults, err)
				u[at] = place
			case !item.Equal(old.Items()[k]):
				faults = append(faults, fmt.Errorf("%s[%d] = %s: it is not searched and stays at %s", name, k, item, old.Items()[k]))
			}
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s.Snap(u), nil
}

// Outside says of values that constants are to have which lie beyond the space,
// each in words that name it and where the space ends.
func (s Space) Outside(values map[string]Value) []string {
	consts := s.resolve(values)
	var out []string
	for i := range s.dims {
		d := &s.dims[i]
		if _, given := values[d.Constant]; !given {
			continue
		}
		if v, ok := d.of(consts); ok {
			if _, err := d.strict(v); err != nil {
				out = append(out, err.Error())
			}
		}
	}
	return out
}

// strict encodes a value that must lie on the dimension. A range's ends may be
// missed by what computing with them costs in the last digits.
func (d *Dimension) strict(v Value) (float64, error) {
	v, err := convert(v, d.Start)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", d.Name, err)
	}
	if d.Scale == Grid {
		if !slices.ContainsFunc(d.Choices, v.Equal) {
			return 0, fmt.Errorf("%s = %s is not a choice: it has %s", d.Name, v, list(d.Choices))
		}
		return d.encodeChoice(v), nil
	}
	slack := 1e-9 * math.Max(math.Abs(d.Low), math.Abs(d.High))
	if x := v.Number(); !(x >= d.Low-slack && x <= d.High+slack) {
		return 0, fmt.Errorf("%s = %s is outside %s to %s", d.Name, v, number(d.Low), number(d.High))
	}
	return d.encode(v), nil
}

// list writes choices, the first dozen of many.
func list(choices []Value) string {
	var parts []string
	for i, v := range choices {
		if i == 12 {
			parts = append(parts, fmt.Sprintf("%d more", len(choices)-i))
			break
		}
		parts = append(parts, v.Literal())
	}
	return strings.Join(parts, ", ")
}

// unknown says that there is no such constant, and which one may be meant.
func (s Space) unknown(name string) error {
	var names []string
	best, distance := "", 2+len(name)/4
	for i := range s.dims {
		names = append(names, s.dims[i].Name)
		if n := EditDistance(name, s.dims[i].Name); n < distance {
			best, distance = s.dims[i].Name, n
		}
	}
	if best != "" {
		return fmt.Errorf("%s is no constant of train.py: the nearest is %s", name, best)
	}
	return fmt.Errorf("%s is no constant of train.py: searched are %s", name, strings.Join(names, ", "))
}
