package fallback_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/evolution"
	"autoresearchd/search/fallback"
	"autoresearchd/search/simulate"
)

// TestAsk says instead of whom and why it proposes, and works with its own table.
func TestAsk(t *testing.T) {
	decoded := ""
	env := search.Environment{Seed: 1, Tools: search.Tools{Options: func(name string) func(any) error {
		return func(o any) error {
			decoded = name
			o.(*evolution.Options).Population = 5
			return nil
		}
	}}}
	f, err := fallback.New("exec", "evolution", env)
	if err != nil {
		t.Fatal(err)
	}
	if decoded != "evolution" {
		t.Errorf("it has read the table of %q", decoded)
	}
	own, err := evolution.New(search.Environment{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	study, err := simulate.NewStudy(simulate.NewTask(1, 0), own, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range study.History.Done {
		f.Tell(r)
	}
	p, err := f.Ask(context.Background(), study.History, errors.New("it ended:\n\texit status 1"))
	if err != nil || p.Strategy != "evolution" || p.Instead != "exec: it ended: exit status 1" || !strings.HasSuffix(p.Description, " (evolution, not exec: it ended: exit status 1)") {
		t.Errorf("%s: %q, %v", p.Strategy, p.Description, err)
	}
	why := errors.New("it ended")
	if _, err := f.Ask(context.Background(), search.History{}, why); !errors.Is(err, search.ErrNoDimension) || !errors.Is(err, why) {
		t.Errorf("with nothing to search: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, name := range []string{"exec", "agent", "portfolio", "nobody", ""} {
		if _, err := fallback.New("exec", name, search.Environment{}); err == nil || !strings.HasPrefix(err.Error(), "search.exec.fallback") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestNewRefusesABadTable in the words of that table's own strategy.
func TestNewRefusesABadTable(t *testing.T) {
	env := search.Environment{Tools: search.Tools{Options: func(string) func(any) error {
		return func(o any) error { o.(*evolution.Options).Population = 1; return nil }
	}}}
	if _, err := fallback.New("exec", "evolution", env); err == nil || err.Error() != "search.evolution.population = 1: use 2 or more" {
		t.Errorf("%v", err)
	}
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		" a\tb\r\n c ":         "a b c",
		"\x1b[31mred\x1b[0m":   "[31mred [0m",
		"\u202ertl\u2066 \xff": "rtl ?",
		"éééééééééééééééééééééé end": "ééééééééééééééééééé…",
	} {
		if got := fallback.Line(text, 20); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
