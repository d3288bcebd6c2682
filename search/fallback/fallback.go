// Package fallback is the strategy that proposes where a program of the user's
// cannot, so that the study goes on.
package fallback

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"autoresearchd/search"
)

// Fallback stands in for another strategy.
type Fallback struct {
	owner, name string
	strategy    search.Strategy
}

// New makes the strategy called name, with the options of its own table, as the
// fallback of owner, whose environment env is.
func New(owner, name string, env search.Environment) (*Fallback, error) {
	switch name {
	case "exec", "agent", "portfolio":
		return nil, fmt.Errorf("search.%s.fallback = %q: name a strategy that needs no program: evolution, random", owner, name)
	}
	strategy, err := env.Build(name, env.Seed)
	if errors.Is(err, search.ErrUnknown) {
		err = fmt.Errorf("search.%s.fallback: %w", owner, err)
	}
	if err != nil {
		return nil, err
	}
	return &Fallback{owner, name, strategy}, nil
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
