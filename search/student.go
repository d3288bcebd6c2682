package search

import "math"

// StudentT returns the quantile p of Student's t distribution with nu degrees
// of freedom, 1 or more: exact for 1 and 2, else by Fisher and Cornish's
// expansion, which errs by less than 1 % from 3 degrees of freedom on for p
// within 0.02 and 0.98.
func StudentT(p, nu float64) float64 {
	switch {
	case nu <= 1:
		return math.Tan(math.Pi * (p - 0.5))
	case nu == 2:
		return (2*p - 1) * math.Sqrt(2/(4*p*(1-p)))
	}
	z := math.Sqrt2 * math.Erfinv(2*p-1)
	y := z * z
	return z * (1 + (y+1)/4/nu + ((5*y+16)*y+3)/96/(nu*nu) + (((3*y+19)*y+17)*y-15)/384/(nu*nu*nu) +
		((((79*y+776)*y+1482)*y-1920)*y-945)/92160/(nu*nu*nu*nu))
}
