package cmaes

import (
	"encoding/binary"
	"hash/fnv"
	"math"

	"autoresearchd/search"
)

// frame is what the state's coordinates mean: the champion's space, in which
// all trials are read anew when it changes.
type frame struct {
	space search.Space
	dims  []search.Dimension
	axes  []axis
	moves []int // dimensions of the normal distribution: those that are ordered
	picks []int // dimensions of categorical distributions
	print uint64
}

// axis is one dimension.
type axis struct {
	edges []float64 // ordered, of a few values: the ends between which each lies
	n     int       // unordered: how many choices; 0 if ordered
}

const maxCells = 64 // values beyond which whole numbers are as good as a continuum

func newFrame(space search.Space) *frame {
	f := &frame{space: space, dims: space.Dimensions(), print: fingerprint(space)}
	f.axes = make([]axis, len(f.dims))
	for i := range f.dims {
		d, a := &f.dims[i], &f.axes[i]
		if d.Scale == search.Grid && !d.Ordered {
			a.n = len(d.Choices)
			f.picks = append(f.picks, i)
			continue
		}
		f.moves = append(f.moves, i)
		at := d.Places(maxCells)
		if len(at) < 2 {
			continue
		}
		a.edges = append(a.edges, 0)
		for k := 1; k < len(at); k++ {
			a.edges = append(a.edges, (at[k-1]+at[k])/2)
		}
		a.edges = append(a.edges, 1)
	}
	return f
}

// fingerprint tells spaces apart by their axes.
func fingerprint(space search.Space) uint64 {
	h := fnv.New64a()
	var b []byte
	number := func(x float64) { b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x)) }
	for _, d := range space.Dimensions() {
		b = append(append(b[:0], d.Name...), byte(d.Scale), byte(d.Start.Kind()), 0)
		number(d.Low)
		number(d.High)
		number(d.Step)
		for _, c := range d.Choices {
			b = append(append(b, c.Literal()...), 0)
		}
		h.Write(b)
	}
	return h.Sum64()
}

// cell is the number of the value at u.
func (a *axis) cell(u float64) int {
	k := 0
	for k < len(a.edges)-2 && u >= a.edges[k+1] {
		k++
	}
	return k
}

func (a *axis) choice(u float64) int { return min(a.n-1, max(0, int(u*float64(a.n)))) }

// places returns where a trial lies, NaN on axes that it has no place on.
func (f *frame) places(t *search.Trial) []float64 {
	u := make([]float64, len(f.dims))
	for i := range f.dims {
		var ok bool
		if u[i], ok = f.dims[i].Place(t.Constants); !ok {
			u[i] = math.NaN()
		}
	}
	return u
}
