package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"

	"autoresearchd/search"
)

// dimensions is how many constants the functions have.
const dimensions = 10

// function is a test function of the literature in ten dimensions: its lowest
// value, 0, lies at the origin of turned and moved coordinates.
type function struct {
	name  string
	about string
	reach float64 // the coordinates' range, either way, before they are moved
	at    func(z []float64) float64
}

var functions = []function{
	{"ellipsoid", "a rotated ellipsoid of condition 1,000, ten dimensions, noise", 1, func(z []float64) float64 {
		sum := 0.0
		for i, x := range z {
			sum += math.Pow(10, 3*float64(i)/(dimensions-1)) * x * x
		}
		return sum
	}},
	{"rosenbrock", "Rosenbrock's valley, rotated, ten dimensions, noise", 1.5, func(z []float64) float64 {
		sum := 0.0
		for i := range len(z) - 1 {
			a, b := z[i]+1, z[i+1]+1
			sum += 100*math.Pow(b-a*a, 2) + math.Pow(1-a, 2)
		}
		return sum
	}},
	{"ackley", "Ackley's function: one funnel among many holes, rotated, ten dimensions, noise", 10, func(z []float64) float64 {
		square, wave := 0.0, 0.0
		for _, x := range z {
			square += x * x / dimensions
			wave += math.Cos(2*math.Pi*x) / dimensions
		}
		return 20 + math.E - 20*math.Exp(-0.2*math.Sqrt(square)) - math.Exp(wave)
	}},
	{"levy", "Levy's function: waves over a bowl, rotated, ten dimensions, noise", 2.5, func(z []float64) float64 {
		w := func(i int) float64 { return 1 + z[i] }
		last := len(z) - 1
		sum := math.Pow(math.Sin(math.Pi*w(0)), 2) + math.Pow(w(last)-1, 2)*(1+math.Pow(math.Sin(2*math.Pi*w(last)), 2))
		for i := range last {
			sum += math.Pow(w(i)-1, 2) * (1 + 10*math.Pow(math.Sin(math.Pi*w(i)+1), 2))
		}
		return sum
	}},
	{"schaffer", "Schaffer's F7: a cone of rings, ever finer, rotated, ten dimensions, noise", 10, func(z []float64) float64 {
		sum := 0.0
		for i := range len(z) - 1 {
			s := math.Hypot(z[i], z[i+1])
			sum += math.Sqrt(s) * (1 + math.Pow(math.Sin(50*math.Pow(s, 0.2)), 2)) / float64(len(z)-1)
		}
		return sum * sum
	}},
	{"rastrigin", "Rastrigin's function: a bowl full of holes, rotated, ten dimensions, noise", 2.5, func(z []float64) float64 {
		sum := 0.0
		for _, x := range z {
			sum += x*x + 10 - 10*math.Cos(2*math.Pi*x)
		}
		return sum
	}},
}

// task turns and moves the function as seed says. Values are 1 at the optimum
// and 1.2 at the median of random points; the noise is a fiftieth of that.
func (f function) task(seed uint64) Task {
	r := rand.New(rand.NewPCG(seed, 0x66756e63))
	turn := rotation(r)
	shift, start := make([]float64, dimensions), make([]float64, dimensions)
	for i := range dimensions {
		shift[i] = r.Float64() - 0.5
	}
	for i := range dimensions {
		start[i] = math.Round(1600*r.Float64()-800) / 1000
	}
	at := func(x []float64) float64 {
		z := make([]float64, dimensions)
		for i := range z {
			for j := range x {
				z[i] += f.reach * turn[i][j] * (x[j] - shift[j])
			}
		}
		return f.at(z)
	}
	values := make([]float64, 1001)
	for i := range values {
		x := make([]float64, dimensions)
		for j := range x {
			x[j] = 2*r.Float64() - 1
		}
		values[i] = at(x)
	}
	unit := 0.2 / median(values)
	t := Task{Name: f.name, Noise: 0.004, Floor: 1, Middling: 1.2, Overrides: map[string]search.Override{}}
	names := make([]string, dimensions)
	low, high := -1.0, 1.0
	for i := range names {
		names[i] = fmt.Sprintf("X%d", i)
		v := search.FloatValue(start[i])
		t.Lines = append(t.Lines, Line{Name: names[i], Text: v.Literal(), Value: v})
		t.Overrides[names[i]] = search.Override{Low: &low, High: &high}
	}
	t.True = func(v map[string]search.Value) (float64, search.Status) {
		x := make([]float64, dimensions)
		for i, name := range names {
			x[i] = v[name].Number()
		}
		return 1 + unit*at(x), search.Completed
	}
	return t
}

// rotation draws a turn of the coordinates by Gram and Schmidt's method.
func rotation(r *rand.Rand) [][]float64 {
	rows := make([][]float64, dimensions)
	for i := range rows {
		rows[i] = make([]float64, dimensions)
		for j := range rows[i] {
			rows[i][j] = r.NormFloat64()
		}
		for _, before := range rows[:i] {
			along := 0.0
			for j, x := range before {
				along += x * rows[i][j]
			}
			for j, x := range before {
				rows[i][j] -= along * x
			}
		}
		length := 0.0
		for _, x := range rows[i] {
			length += x * x
		}
		for j := range rows[i] {
			rows[i][j] /= math.Sqrt(length)
		}
	}
	return rows
}
