package gp_test

import (
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/gp"
	"autoresearchd/search/searchtest"
)

func TestConformance(t *testing.T) { searchtest.Run(t, gp.New) }

func TestConformanceWithoutOpening(t *testing.T) {
	searchtest.Run(t, func(seed uint64, _ func(any) error) (search.Strategy, error) {
		return gp.New(seed, func(o any) error {
			*o.(*gp.Options) = gp.Options{Reach: 1, Memory: 20, Candidates: 1}
			return nil
		})
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := gp.New(1, func(o any) error {
		*o.(*gp.Options) = gp.Options{Opening: -1, Reach: 0, Memory: 5, Candidates: 0, Climbs: -1}
		return nil
	})
	if err == nil || strings.Count(err.Error(), "\n") != 4 {
		t.Fatalf("five bad options: %v", err)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, gp.New, 1000) }
