package evolution_test

import (
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/searchtest"
)

func TestConformance(t *testing.T) { searchtest.Run(t, evolution.New) }

func TestConformanceWithoutOpening(t *testing.T) {
	searchtest.Run(t, func(env search.Environment) (search.Strategy, error) {
		env.Table = func(o any) error {
			*o.(*evolution.Options) = evolution.Options{Population: 2, Lifetime: 2, Step: 0.3}
			return nil
		}
		return evolution.New(env)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := evolution.New(search.Environment{Seed: 1, Table: func(o any) error {
		*o.(*evolution.Options) = evolution.Options{Population: 1, Lifetime: 0, Step: 0, Opening: -1}
		return nil
	}})
	if err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Fatalf("four bad options: %v", err)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, evolution.New, 1000) }
