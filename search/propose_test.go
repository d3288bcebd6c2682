package search

import "testing"

// TestStream draws the same numbers for no two Asks of a study, whatever is
// decided and vetoed in between.
func TestStream(t *testing.T) {
	seen := map[uint64]bool{}
	for begun := range 60 {
		for vetoed := range 6 {
			first := Stream(7, History{Done: make([]Result, begun), Pending: make([]Trial, vetoed), Vetoed: vetoed}).Uint64()
			if seen[first] {
				t.Errorf("with %d begun and %d vetoed it draws again what it drew before", begun, vetoed)
			}
			seen[first] = true
			for running := range begun { // a decision changes nothing
				h := History{Done: make([]Result, begun-running), Pending: make([]Trial, running+vetoed), Vetoed: vetoed}
				if Stream(7, h).Uint64() != first {
					t.Fatalf("with %d of %d decided it draws something else", begun-running, begun)
				}
			}
		}
	}
}
