package search_test

import (
	"math"
	"testing"

	"autoresearchd/search"
)

func TestStudentT(t *testing.T) {
	for _, want := range []struct{ p, nu, t float64 }{
		{0.95, 1, 6.3138}, {0.95, 2, 2.9200}, {0.95, 3, 2.3534}, {0.95, 4, 2.1318}, {0.95, 10, 1.8125}, {0.95, 100, 1.6602},
		{0.975, 1, 12.7062}, {0.975, 3, 3.1824}, {0.975, 9, 2.2622}, {0.975, 29, 2.0452}, {0.5, 5, 0}, {0.05, 10, -1.8125},
	} {
		if got := search.StudentT(want.p, want.nu); math.Abs(got-want.t) > 0.01*math.Abs(want.t)+1e-9 {
			t.Errorf("t(%g, %g) = %.4f, want %.4f", want.p, want.nu, got, want.t)
		}
	}
}
