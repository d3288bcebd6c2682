package tpe

import (
	"math"
	"math/rand/v2"

	"autoresearchd/search"
)

// axis is one factor of the product kernels: a dimension of the space.
type axis struct {
	kind   kind
	places []float64 // of cells: their values
	edges  []float64 // of cells: the ends between which each value lies, one more than places
	whole  bool      // of cells: whole numbers of a range, no grid
	n      int       // of a category: choices
	home   float64   // the champion's place
}

type kind uint8

const (
	line     kind = iota // any place in [0, 1]
	cells                // one of a few places, neighbours are alike
	category             // one of a few places, equal or not
)

const maxCells = 64 // values beyond which whole numbers are as good as a continuum

func newAxes(space search.Space) []axis {
	dims := space.Dimensions()
	axes := make([]axis, len(dims))
	for i, home := range space.Start() {
		d, a := &dims[i], &axes[i]
		a.home = home
		if d.Scale == search.Grid && !d.Ordered {
			a.kind, a.n = category, len(d.Choices)
			continue
		}
		if a.places = d.Places(maxCells); len(a.places) < 2 {
			continue
		}
		a.kind, a.whole = cells, d.Scale != search.Grid
		a.edges = append(a.edges, 0)
		for k := 1; k < len(a.places); k++ {
			a.edges = append(a.edges, (a.places[k-1]+a.places[k])/2)
		}
		a.edges = append(a.edges, 1)
	}
	return axes
}

// index is the number of the value at u, on an axis of cells or a category.
func (a *axis) index(u float64) int {
	if a.kind == category {
		return min(a.n-1, max(0, int(u*float64(a.n))))
	}
	k := 0
	for k < len(a.places)-1 && u >= a.edges[k+1] {
		k++
	}
	return k
}

// width is how wide the prior is on an axis, and narrow the bandwidth of what
// lies about a trial.
type width struct {
	prior  float64   // standard deviation of the prior
	other  float64   // chance of another category than the champion's under the prior
	narrow []float64 // by axis: a standard deviation, or the chance of another category
}

// density is a mixture of product kernels, one about each trial, and a prior
// about the champion. A trial that lacks a constant has the prior there, so it
// says of it what is believed anyway. All its parts integrate to one over
// [0, 1], or sum to one over the values.
type density struct {
	axes   []axis
	w      width
	chosen []float64   // chance of each kernel
	bias   []float64   // log of the kernel's chance over what normalises its lines
	mu     []float64   // kernel by axis: centre on a line
	inv    []float64   // kernel by axis: 1/deviation on a line
	rows   [][]float64 // kernel by axis: log of the chance of each value
	memory []map[float64][]float64
	home   [][]float64 // rows of the prior
}

// newDensity takes the places of trials (NaN: none) and their weights, and the
// prior's weight.
func newDensity(axes []axis, w width, at [][]float64, weights []float64, prior float64) *density {
	d := &density{axes: axes, w: w, memory: make([]map[float64][]float64, len(axes)), home: make([][]float64, len(axes))}
	total := prior
	for _, x := range weights {
		total += x
	}
	n := len(axes)
	add := func(u []float64, chance float64) {
		norm := 1.0
		for i := range axes {
			a := &axes[i]
			centre, deviation := a.home, w.prior
			known := u != nil && !math.IsNaN(u[i])
			if known {
				centre, deviation = u[i], w.narrow[i]
			}
			mu, inv := 0.0, 0.0
			var row []float64
			if a.kind == line {
				centre = within(centre, deviation)
				mu, inv = centre, 1/deviation
				norm *= math.Sqrt(2*math.Pi) * deviation * (phi((1-centre)*inv) - phi(-centre*inv))
			} else {
				row = d.row(i, centre, known)
			}
			d.mu, d.inv, d.rows = append(d.mu, mu), append(d.inv, inv), append(d.rows, row)
		}
		d.chosen, d.bias = append(d.chosen, chance), append(d.bias, math.Log(chance/norm))
	}
	d.mu, d.inv, d.rows = make([]float64, 0, n*(len(at)+1)), make([]float64, 0, n*(len(at)+1)), make([][]float64, 0, n*(len(at)+1))
	for k := range at {
		add(at[k], weights[k]/total)
	}
	if prior > 0 {
		add(nil, prior/total)
	}
	return d
}

// row is the log of the chance of each value under one factor of a kernel.
func (d *density) row(i int, centre float64, known bool) []float64 {
	a := &d.axes[i]
	if !known {
		if d.home[i] == nil {
			d.home[i] = a.chances(centre, d.w.prior, d.w.other)
		}
		return d.home[i]
	}
	if d.memory[i] == nil {
		d.memory[i] = map[float64][]float64{}
	}
	row, ok := d.memory[i][centre]
	if !ok {
		row = a.chances(centre, d.w.narrow[i], d.w.narrow[i])
		d.memory[i][centre] = row
	}
	return row
}

func (a *axis) chances(centre, deviation, other float64) []float64 {
	if a.kind == category {
		row := make([]float64, a.n)
		other = math.Min(other, float64(a.n-1)/float64(a.n))
		for k := range row {
			row[k] = math.Log(other / float64(a.n-1))
		}
		row[a.index(centre)] = math.Log(1 - other)
		return row
	}
	row := make([]float64, len(a.places))
	centre = within(centre, deviation)
	all := phi((1-centre)/deviation) - phi(-centre/deviation)
	for k := range row {
		row[k] = math.Log(math.Max(1e-12, (phi((a.edges[k+1]-centre)/deviation)-phi((a.edges[k]-centre)/deviation))/all))
	}
	return row
}

// within brings a centre that lies outside of the range so near to it that
// its tail there can be normalised.
func within(centre, deviation float64) float64 {
	return math.Min(1+2*deviation, math.Max(-2*deviation, centre))
}

func phi(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

// log returns the logarithm of the density at u. scratch has room for a number
// a kernel.
func (d *density) log(u []float64, scratch []float64) float64 {
	n := len(d.axes)
	at := make([]int, n)
	for i := range d.axes {
		if d.axes[i].kind != line {
			at[i] = d.axes[i].index(u[i])
		}
	}
	top := math.Inf(-1)
	for k := range d.bias {
		sum, far := d.bias[k], 0.0
		mu, inv, rows := d.mu[k*n:k*n+n], d.inv[k*n:k*n+n], d.rows[k*n:k*n+n]
		for i, row := range rows {
			if row == nil {
				z := (u[i] - mu[i]) * inv[i]
				far += z * z
			} else {
				sum += row[at[i]]
			}
		}
		sum -= far / 2
		scratch[k] = sum
		if sum > top {
			top = sum
		}
	}
	total := 0.0
	for _, x := range scratch[:len(d.bias)] {
		if x > top-16 {
			total += math.Exp(x - top)
		}
	}
	return top + math.Log(total)
}

// sample draws a point.
func (d *density) sample(r *rand.Rand) []float64 {
	n := len(d.axes)
	k, x := 0, r.Float64()
	for k < len(d.chosen)-1 && x >= d.chosen[k] {
		x -= d.chosen[k]
		k++
	}
	u := make([]float64, n)
	for i := range u {
		a, row := &d.axes[i], d.rows[k*n+i]
		if row == nil {
			mu, inv := d.mu[k*n+i], d.inv[k*n+i]
			low, high := phi(-mu*inv), phi((1-mu)*inv)
			p := low + r.Float64()*(high-low)
			u[i] = math.Min(1, math.Max(0, mu+math.Sqrt2*math.Erfinv(2*p-1)/inv))
			continue
		}
		v, x := 0, r.Float64()
		for ; v < len(row)-1; v++ {
			if x -= math.Exp(row[v]); x < 0 {
				break
			}
		}
		if a.kind == cells {
			u[i] = a.places[v]
		} else {
			u[i] = (float64(v) + 0.5) / float64(a.n)
		}
	}
	return u
}
