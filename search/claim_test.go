package search_test

import (
	"math"
	"testing"

	"autoresearchd/search"
)

// TestTotal has a study claim two gains, one over the other: in all it claims both,
// and before the first nothing.
func TestTotal(t *testing.T) {
	s := begin(t, 0)
	level := 0.9980
	s.try(0, scored(level))
	claims := 0
	for x := int64(1); x < 400 && claims < 2; x++ {
		before := s.judge.(search.Claimer).Claim(s.h)
		if p, again := s.judge.(search.Rerunner).Rerun(s.h); again {
			bpb := level
			if p.Parent != s.h.Champion.ID {
				bpb = 0.9980 - 0.0100*float64(claims)
			}
			s.end(search.Trial{ID: int64(len(s.h.Done) + 1), Proposal: p, Seed: p.Seed}, scored(bpb))
		} else if before.Over == 0 || before.Claimed {
			level -= 0.0100
			s.try(x, scored(level))
		} else {
			s.try(x, scored(0.9995))
		}
		c := s.judge.(search.Claimer).Claim(s.h)
		if c.Claimed && c.Champion != before.Proven && !before.Claimed {
			claims++
		}
		if want := 0.0100 * float64(claims); math.Abs(c.Total-want) > 1e-12 || (c.Within > 0) != (claims > 0) {
			t.Fatalf("after %d trials and %d claims the total is %g ± %g: %s", len(s.h.Done), claims, c.Total, c.Within, c.Words)
		}
	}
	if claims != 2 {
		t.Errorf("%d gains are claimed after %d trials", claims, len(s.h.Done))
	}
}
