package cmaes

import (
	"math"
	"math/rand/v2"
)

// directions returns a generation's steps in units in which the distribution
// is round: as many at a time as there are dimensions stand at right angles to
// each other, with the lengths of normal ones.
func (s *state) directions(generation int) [][]float64 {
	r := rand.New(rand.NewPCG(s.seed^0x67656e, uint64(s.run)<<32|uint64(generation)))
	out := make([][]float64, 0, s.lambda)
	for len(out) < s.lambda {
		from := len(out)
		for range min(s.d, s.lambda-from) {
			z := make([]float64, s.d)
			for j := range z {
				z[j] = r.NormFloat64()
			}
			length := norm(z)
			for _, b := range out[from:] {
				dot, sq := 0.0, 0.0
				for j := range z {
					dot += z[j] * b[j]
					sq += b[j] * b[j]
				}
				for j := range z {
					z[j] -= dot / sq * b[j]
				}
			}
			if now := norm(z); now > 1e-9 {
				for j := range z {
					z[j] *= length / now
				}
			}
			out = append(out, z)
		}
	}
	return out
}

// sample returns the point for a place in the generation, those behind its end
// being in the next ones, which begin before it is decided where several trials
// run at once; from the second try on it is drawn from r, wider and wider.
func (s *state) sample(r *rand.Rand, slot, try int) []float64 {
	u := make([]float64, len(s.f.dims))
	wide := 1.0
	if try > 10 {
		wide += 0.05 * float64(try-10)
	}
	if s.d > 0 {
		var z []float64
		if try == 0 {
			z = s.directions(s.generation + slot/s.lambda)[slot%s.lambda]
		} else {
			z = make([]float64, s.d)
			for j := range z {
				z[j] = r.NormFloat64() * wide
			}
		}
		for j, i := range s.f.moves {
			y := 0.0
			for k := range z {
				y += s.basis.At(j, k) * s.root[k] * z[k]
			}
			u[i] = mirror(s.mean[j] + s.sigma*s.scale[j]*y)
		}
	}
	flat := math.Min(1, (wide-1)/4)
	for k, i := range s.f.picks {
		x := r.Float64()
		q := s.chances[k]
		c := 0
		for ; c < len(q)-1; c++ {
			if x -= q[c]*(1-flat) + flat/float64(len(q)); x < 0 {
				break
			}
		}
		u[i] = (float64(c) + 0.5) / float64(len(q))
	}
	return u
}

// mirror reflects what lies outside of [0, 1] at the end that it has passed.
func mirror(x float64) float64 {
	if x < 0 {
		x = -x
	}
	if x > 1 {
		x = 2 - x
	}
	return math.Min(1, math.Max(0, x))
}
