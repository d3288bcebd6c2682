// Package fallback is the strategy that proposes where a program of the user's
// cannot, so that the study goes on.
package fallback

import (
	"context"
	"fmt"
	"strings"

	"autoresearchd/search"
)

// Fallback stands in for another strategy.
type Fallback struct {
	owner, name string
	seed        uint64
	strategy    search.Strategy
}

// New makes the strategy called name, with the options of an empty table, as
// owner's fallback.
func New(owner, name string, seed uint64) (*Fallback, error) {
	switch name {
	case "exec", "agent", "portfolio":
		return nil, fmt.Errorf("search.%s.fallback = %q: name a strategy that needs no program: evolution, random", owner, name)
	}
	f := &Fallback{owner: owner, name: name, seed: seed}
	if err := f.make(func(any) error { return nil }); err != nil {
		return nil, fmt.Errorf("search.%s.fallback: %w", owner, err)
	}
	return f, nil
}

func (f *Fallback) make(decode func(any) error) error {
	factory, err := search.Default.Lookup(f.name)
	if err != nil {
		return err
	}
	strategy, err := factory(f.seed, decode)
	if err == nil {
		f.strategy = strategy
	}
	return err
}

// Equip gives it its own options, before the first Tell.
func (f *Fallback) Equip(t search.Tools) {
	if t.Options != nil {
		if err := f.make(t.Options(f.name)); err != nil && t.Log != nil {
			t.Log.Warn("the fallback works with its defaults", "strategy", f.name, "err", err)
		}
	}
	if e, ok := f.strategy.(search.Equipper); ok {
		e.Equip(t)
	}
}

// Tell forwards a result.
func (f *Fallback) Tell(r search.Result) { f.strategy.Tell(r) }

// Ask proposes, and says instead of whom and why.
func (f *Fallback) Ask(ctx context.Context, h search.History, why error) (search.Proposal, error) {
	p, err := f.strategy.Ask(ctx, h)
	if err != nil {
		return p, fmt.Errorf("%s, in place of %s (%w): %w", f.name, f.owner, why, err)
	}
	if p.Strategy == "" {
		p.Strategy = f.name
	}
	p.Instead = f.owner + ": " + Line(why.Error(), 400)
	p.Description += fmt.Sprintf(" (%s, not %s: %s)", f.name, f.owner, Line(why.Error(), 120))
	return p, nil
}

// Line makes one line of a text, of at most limit characters, that is inert
// for a terminal and for results.tsv.
func Line(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		text = strings.TrimSpace(string(runes[:limit-1])) + "…"
	}
	return text
}
