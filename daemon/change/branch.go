package change

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Branch is a kept candidate's own change as it goes on a branch of its own.
type Branch struct {
	Step
	Name string // "final/nov23/7-depth-4-to-6"
	// On is the kept candidate on whose branch it is stacked; 0: it applies to the
	// baseline by itself.
	On int64
	// Whole says that not even one other branch is enough, so that it stands on
	// candidate From as the study has it.
	Whole   bool
	Why     string // it does not apply by itself; "": it does
	Program Program
	Empty   bool // against the baseline it changes nothing
}

// Branches puts each kept candidate's own change on the baseline where it applies
// by itself, and else on the nearest kept one before it on which it does.
func (s *Study) Branches(ctx context.Context, inspect Inspect, tag string) ([]Branch, error) {
	kept, err := s.Kept()
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	baseline, err := s.Program(s.Baseline.ID)
	if err != nil {
		return nil, err
	}
	var out []Branch
	for _, step := range kept {
		b := Branch{Step: step, Name: fmt.Sprintf("final/%s/%d-%s", tag, step.ID, slug(step.Change))}
		b.Program, err = Merge(ctx, inspect, step.before, baseline, step.after)
		if b.Why, err = conflict(err); err != nil {
			return nil, err
		}
		for a := step.From; b.Why != "" && b.On == 0 && a != s.Baseline.ID; {
			below := out[slices.IndexFunc(out, func(o Branch) bool { return o.ID == a })]
			if !below.Empty {
				b.Program, err = Merge(ctx, inspect, step.before, below.Program, step.after)
				if why, err := conflict(err); err != nil {
					return nil, err
				} else if why == "" {
					b.On = a
				}
			}
			a = below.From
		}
		if b.Why != "" && b.On == 0 {
			b.On, b.Whole, b.Program = step.From, true, step.after
		}
		b.Empty = b.On == 0 && bytes.Equal(b.Program.Source, baseline.Source)
		out = append(out, b)
	}
	return out, nil
}

var noWord = regexp.MustCompile(`[^a-z0-9.]+`)

// slug makes a part of a branch's name of a change in words.
func slug(words string) string {
	s := noWord.ReplaceAllString(strings.ToLower(strings.ReplaceAll(words, "->", "to")), "-")
	s = regexp.MustCompile(`\.(\D|$)`).ReplaceAllString(s, "-$1") // a dot stays in a number alone
	if len(s) > 40 {
		s = s[:40]
		if i := strings.LastIndexByte(s, '-'); i > 20 {
			s = s[:i]
		}
	}
	if s = strings.Trim(s, ".-"); s == "" {
		return "change"
	}
	return s
}

// Into makes of a train.py that some work tree has the one of a candidate. Where
// it is not the baseline's nor that of an ancestor, the candidate's whole change
// since the baseline is made in it, or a Conflict says why it cannot be. known is
// the candidate whose train.py it was; 0: none. Line ends stay as they are.
func (s *Study) Into(ctx context.Context, inspect Inspect, have []byte, of int64) (source []byte, known int64, err error) {
	lf, crlf := []byte("\n"), []byte("\r\n")
	ends := func(b []byte) []byte { return b }
	if bytes.Contains(have, crlf) {
		have = bytes.ReplaceAll(have, crlf, lf)
		ends = func(b []byte) []byte { return bytes.ReplaceAll(bytes.ReplaceAll(b, crlf, lf), lf, crlf) }
	}
	want, err := s.Program(of)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range append([]int64{of, s.Baseline.ID}, s.Ancestors(of)...) {
		p, err := s.Program(id)
		if err != nil {
			return nil, 0, err
		}
		if bytes.Equal(bytes.ReplaceAll(p.Source, crlf, lf), have) {
			return ends(want.Source), id, nil
		}
	}
	base, err := s.Program(s.Baseline.ID)
	if err != nil {
		return nil, 0, err
	}
	ours := Program{Source: have}
	var fault string
	if ours.Constants, fault, err = inspect(ctx, have); err == nil && fault != "" {
		err = Conflict{fault}
	}
	if err != nil {
		return nil, 0, err
	}
	merged, err := Merge(ctx, inspect, base, ours, want)
	return ends(merged.Source), 0, err
}

// Constant is one that differs; nil: the program has it not.
type Constant struct {
	Name   string        `json:"name"`
	From   *search.Value `json:"from"`
	To     *search.Value `json:"to"`
	Change string        `json:"change"` // as the programs write it: "DEPTH 4 -> 6"
}

// Constants are those that differ between two candidates.
func (s *Study) Constants(from, to int64) []Constant {
	before, after := s.runs[from].Trial.Constants, s.runs[to].Trial.Constants
	out := []Constant{}
	add := func(name string) {
		c := Constant{Name: name}
		var was, is []search.Constant
		if b := named(before, name); b != nil {
			c.From, was = &b.Value, []search.Constant{*b}
		}
		if a := named(after, name); a != nil {
			c.To, is = &a.Value, []search.Constant{*a}
		}
		c.Change = search.Describe(was, is)
		out = append(out, c)
	}
	for _, name := range search.Changed(before, after) {
		add(name)
	}
	for _, b := range before {
		if named(after, b.Name) == nil {
			add(b.Name)
		}
	}
	return out
}
