package gp

import (
	"math"
	"slices"
	"strings"

	"autoresearchd/search"
)

// axis is one input of the kernel, with one length scale: a dimension of the
// space, or, as the last one, the version of the code.
type axis struct {
	name   string
	kind   kind
	shares []float64 // of letters: by choice, the share of the last one
}

type kind uint8

const (
	ordered  kind = iota // its place in [0, 1], beyond that for values outside the range
	category             // the index of the choice: equal or not
	letters              // the same, but patterns with like shares of letters are alike
)

// code is the name of the axis on which trials differ whose train.py differs
// by more than its constants. No constant can have it.
const code = "<code>"

// encoder turns points and trials into inputs of the kernel.
type encoder struct {
	space search.Space
	dims  []search.Dimension
	axes  []axis
	here  float64 // the champion's version of the code
}

func newEncoder(space search.Space) *encoder {
	e := &encoder{space: space, dims: space.Dimensions()}
	for i := range e.dims {
		d := &e.dims[i]
		a := axis{name: d.Name}
		if d.Scale == search.Grid && !d.Ordered {
			a.kind = category
			if a.shares = shares(d.Choices); a.shares != nil {
				a.kind = letters
			}
		}
		e.axes = append(e.axes, a)
	}
	return e
}

// shares returns the share of each choice's highest letter, if all choices are
// made of two letters.
func shares(choices []search.Value) []float64 {
	seen := ""
	for _, c := range choices {
		for _, l := range c.Text() {
			if l < 'A' || l > 'Z' {
				return nil
			}
			if !strings.ContainsRune(seen, l) {
				seen += string(l)
			}
		}
	}
	if len(seen) != 2 {
		return nil
	}
	last := string(max(seen[0], seen[1]))
	out := make([]float64, len(choices))
	for i, c := range choices {
		out[i] = float64(strings.Count(c.Text(), last)) / float64(max(1, len(c.Text())))
	}
	return out
}

// point encodes a point of the space that is snapped, or on its way there.
func (e *encoder) point(u []float64) []float64 {
	x := make([]float64, len(e.axes))
	for i := range u {
		x[i] = e.place(i, u[i])
	}
	if len(x) > len(u) {
		x[len(u)] = e.here
	}
	return x
}

func (e *encoder) place(i int, u float64) float64 {
	if e.axes[i].kind == ordered {
		return u
	}
	n := len(e.dims[i].Choices)
	return float64(min(n-1, max(0, int(u*float64(n)))))
}

// trial encodes a trial's constants. The range moves with the champion, so old
// trials may lie outside: they keep their distance, up to a whole range.
func (e *encoder) trial(t *search.Trial) []float64 {
	u := e.space.Encode(t.Constants)
	x := e.point(u)
	for i := range e.dims {
		if e.axes[i].kind == ordered && (u[i] < 0.1 || u[i] > 0.9) {
			if v, ok := valueOf(&e.dims[i], t.Constants); ok {
				x[i] = beyond(&e.dims[i], u[i], v)
			}
		}
	}
	return x
}

func valueOf(d *search.Dimension, consts []search.Constant) (float64, bool) {
	at := slices.IndexFunc(consts, func(c search.Constant) bool { return c.Name == d.Constant })
	if at < 0 {
		return 0, false
	}
	v := consts[at].Value
	if d.Element >= 0 {
		if d.Element >= len(v.Items()) {
			return 0, false
		}
		v = v.Items()[d.Element]
	}
	x := v.Number()
	return x, v.Kind() == search.Int && d.Start.Kind() == search.Int || v.Kind() == search.Float && d.Start.Kind() == search.Float
}

// beyond extends the scale of a dimension past its ends.
func beyond(d *search.Dimension, u, v float64) float64 {
	low, high := d.Low, d.High
	scale := func(x float64) float64 { return x }
	width := 1.0
	switch d.Scale {
	case search.Log:
		scale = math.Log
	case search.Logit:
		scale = func(x float64) float64 { return math.Log(x / (1 - x)) }
	case search.Grid:
		low, high = d.Choices[0].Number(), d.Choices[len(d.Choices)-1].Number()
		scale, width = math.Asinh, 1-d.Notch(u)
	}
	end := low
	if v > high {
		end = high
	} else if v >= low {
		return u
	}
	far := (scale(v) - scale(end)) / (scale(high) - scale(low)) * width
	switch {
	case math.IsNaN(far):
		return u
	case far < -1:
		far = -1
	case far > 1:
		far = 1
	}
	return u + far
}

// apart is the squared distance of two inputs on one axis.
func (a *axis) apart(x, y float64) float64 {
	switch a.kind {
	case ordered:
		return (x - y) * (x - y)
	case category:
		if x == y {
			return 0
		}
		return 1
	}
	if x == y {
		return 0
	}
	by := a.shares[int(x)] - a.shares[int(y)]
	return 0.1 + by*by
}
