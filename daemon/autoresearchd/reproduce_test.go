package main

import (
	"testing"

	"autoresearchd/search"
)

// TestSlower says when a score cannot be expected again.
func TestSlower(t *testing.T) {
	t.Parallel()
	ran := func(steps int, tokens int64, seconds float64) search.Outcome {
		return search.Outcome{Steps: steps, Tokens: tokens, TrainingSeconds: seconds}
	}
	timed, counted := search.Budget{Seconds: 300}, search.Budget{Steps: 100}
	for _, c := range []struct {
		budget    search.Budget
		then, now search.Outcome
		want      string
	}{
		{timed, ran(900, 9e6, 300), ran(720, 7.2e6, 300), ""},
		{timed, ran(900, 9e6, 300), ran(1800, 18e6, 300), ""},
		{timed, ran(900, 9e6, 300), ran(0, 0, 0), ""},
		{timed, ran(900, 9e6, 300), ran(540, 5.4e6, 300),
			"note: the machine was much slower this time: it trained at 0.60 of the speed, so the same 300 seconds bought 540 steps instead of 900, and a worse score says little"},
		{timed, ran(900, 0, 300), ran(450, 5e6, 300), // imported, say
			"note: the machine was much slower this time: it trained at 0.50 of the speed, so the same 300 seconds bought 450 steps instead of 900, and a worse score says little"},
		{counted, ran(100, 1e6, 10), ran(100, 1e6, 40),
			"note: the machine was much slower this time: it trained at 0.25 of the speed, over the same number of steps, so the scores can be compared"},
	} {
		if got := slower(c.budget, c.then, c.now); got != c.want {
			t.Errorf("%+v after %+v: %q, want %q", c.now, c.then, got, c.want)
		}
	}
}
