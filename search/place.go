package search

import "math"

// Place returns where a trial's constants lie on the dimension: in [0, 1], or
// beyond the ends, by a whole range at most, if the range has moved away from
// them. It reports whether they have a value there at all, of the dimension's
// type and on its grid; Encode counts the champion's value instead.
func (d *Dimension) Place(consts []Constant) (u float64, ok bool) {
	v, ok := d.of(consts)
	if !ok {
		return 0, false
	}
	x := v.Number()
	if d.Scale == Grid {
		if !d.Ordered {
			for i, c := range d.Choices {
				if c.Equal(v) {
					return (float64(i) + 0.5) / float64(len(d.Choices)), true
				}
			}
			return 0, false
		}
		low, high := d.ends()
		notch := 1 / float64(len(d.Choices))
		span := (math.Asinh(high) - math.Asinh(low)) / (1 - notch)
		switch u = d.encodeChoice(v); {
		case x < low:
			u -= math.Min(1, (math.Asinh(low)-math.Asinh(x))/span)
		case x > high:
			u += math.Min(1, (math.Asinh(x)-math.Asinh(high))/span)
		}
		return u, !math.IsNaN(u)
	}
	u = d.encode(v)
	if x >= d.Low && x <= d.High {
		return u, true
	}
	u = (d.scale(x) - d.from) / (d.to - d.from)
	switch {
	case math.IsNaN(x), math.IsNaN(u) && x > d.Low && x < d.High:
		return 0, false
	case math.IsNaN(u) && x <= d.Low: // off the scale: a logarithm's zero
		u = -1
	case math.IsNaN(u):
		u = 2
	}
	return math.Min(2, math.Max(-1, u)), true
}

// Places returns where the dimension's values lie in [0, 1], in ascending
// order; nil if they are more than limit, or a continuum.
func (d *Dimension) Places(limit int) []float64 {
	if d.Scale == Grid {
		n := len(d.Choices)
		if n > limit {
			return nil
		}
		at := make([]float64, n)
		for i := range at {
			at[i] = (float64(i) + 0.5) / float64(n)
		}
		return at
	}
	if !(d.Step > 0) || (d.High-d.Low)/d.Step+1 > float64(limit) {
		return nil
	}
	var at []float64
	for x := d.Step * math.Ceil(d.Low/d.Step); x <= d.High; x += d.Step {
		at = append(at, d.encode(FloatValue(x)))
	}
	return at
}
