package random_test

import (
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/random"
	"autoresearchd/search/searchtest"
)

func with(change func(*random.Options)) search.Factory {
	return func(env search.Environment) (search.Strategy, error) {
		env.Table = func(o any) error { change(o.(*random.Options)); return nil }
		return random.New(env)
	}
}

func TestConformance(t *testing.T) {
	t.Run("champion", func(t *testing.T) { searchtest.Run(t, random.New) })
	t.Run("space", func(t *testing.T) {
		searchtest.Run(t, with(func(o *random.Options) { o.Around, o.Change = "space", 0 }))
	})
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := with(func(o *random.Options) { *o = random.Options{Around: "here", Change: -1, Scale: 2} })(search.Environment{Seed: 1})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("three bad options: %v", err)
	}
	if f, err := search.Default.Lookup(random.Name); err != nil || f == nil {
		t.Fatalf("look it up: %v", err)
	}
}

func BenchmarkAsk1000(b *testing.B) { searchtest.Benchmark(b, random.New, 1000) }
