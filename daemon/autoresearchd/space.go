package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// spaceReport says what a study would search in the workspace's train.py, and
// what it would not.
type spaceReport struct {
	Commit     string          `json:"commit"` // whose train.py was read
	Fault      string          `json:"fault,omitempty"`
	Searched   []searchedAxis  `json:"searched"`
	Unsearched []unsearchedOne `json:"unsearched"`
	Cache      string          `json:"cache,omitempty"` // why a given one does not reach prepare.py
	Edits      bool            `json:"edits"`           // the strategy can change code
	Begun      bool            `json:"begun"`           // the state directory holds a study
}

type searchedAxis struct {
	Name    string         `json:"name"`
	Start   search.Value   `json:"start"`
	Scale   string         `json:"scale"`
	Low     *float64       `json:"low,omitempty"`
	High    *float64       `json:"high,omitempty"`
	Whole   bool           `json:"whole,omitempty"`
	Choices []search.Value `json:"choices,omitempty"`
}

type unsearchedOne struct {
	Name   string        `json:"name"`
	Line   int           `json:"line"`
	Value  *search.Value `json:"value,omitempty"`
	Why    string        `json:"why"`
	TakeIn string        `json:"take_in,omitempty"` // the line for [search.space]; empty: nothing there helps
}

// readSpace reads the committed train.py as the daemon would. Its error is one
// of reading; what is wrong with [search.space] is joined in the second.
func readSpace(ctx context.Context, c *config.Config) (r spaceReport, faults error, err error) {
	r.Edits = c.Edits()
	repo, err := lineage.Open(ctx, c.Study.Workspace)
	if err != nil {
		return r, nil, err
	}
	var past study.Known
	if j, err := journal.OpenReader(c.Study.State); err == nil {
		defer j.Close()
		past = j
	}
	plan, err := study.Foresee(ctx, c, repo, past, time.Now())
	r.Begun = plan.Begun
	switch {
	case plan.Begun: // the champion is what the next trials start from
		r.Commit, err = repo.BranchTip(ctx, plan.Study.Tag)
	case err == nil:
		r.Commit = plan.Study.BaseCommit
	default: // something else keeps the study from starting
		r.Commit, err = repo.Head(ctx)
	}
	if err == nil && r.Commit == "" {
		r.Commit, err = repo.Head(ctx)
	}
	if err != nil {
		return r, nil, err
	}
	source, err := repo.ReadFile(ctx, r.Commit, "train.py")
	if err != nil {
		return r, nil, err
	}
	python, err := basePython()
	if err != nil {
		return r, nil, err
	}
	p, err := trainer.NewProcess(trainer.Options{Python: python, Owner: "autoresearchd:check"})
	if err != nil {
		return r, nil, err
	}
	defer p.Close()
	var i trainer.Inspection
	if i, r.Fault, err = study.Examine(ctx, repo, p.Inspect, r.Commit, source, c.Trial.Budget); err != nil {
		return r, nil, err
	}
	if i.Error != "" {
		return r, nil, nil
	}
	if r.Cache, err = unheeded(ctx, c, repo, p.Inspect, r.Commit); err != nil {
		return r, nil, err
	}
	space, faults := i.Space(c.Search.Overrides())
	r.fill(space, i.Others)
	return r, faults, nil
}

// unheeded says why a cache that is given does not reach the commit's prepare.py;
// "" if it does.
func unheeded(ctx context.Context, c *config.Config, repo *lineage.Repo, inspect study.Inspect, commit string) (string, error) {
	cache, err := c.GivenCache()
	if err != nil || cache == "" {
		return "", err
	}
	source, err := repo.ReadFile(ctx, commit, "prepare.py")
	if err != nil {
		return "", err
	}
	i, err := inspect(ctx, source)
	return study.Unheeded(i, cache), err
}

func (r *spaceReport) fill(space search.Space, others []trainer.Other) {
	for _, d := range space.Dimensions() {
		a := searchedAxis{Name: d.Name, Start: d.Start, Scale: d.Scale.String(), Whole: d.Step > 0, Choices: d.Choices}
		if d.Scale != search.Grid {
			low, high := d.Low, d.High
			a.Low, a.High = &low, &high
		}
		r.Searched = append(r.Searched, a)
	}
	for _, u := range space.Unsearched() {
		r.Unsearched = append(r.Unsearched, unsearchedOne{u.Name, u.Line, &u.Value, u.Why, takeIn(u)})
	}
	for _, o := range others {
		r.Unsearched = append(r.Unsearched, unsearchedOne{Name: o.Name, Line: o.Line, Why: o.Why})
	}
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// takeIn is the line of [search.space] by which a constant would be searched.
func takeIn(u search.Unsearched) string {
	key := u.Name
	if !bareKey.MatchString(key) {
		key = strconv.Quote(key)
	}
	number := func(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
	switch o := u.TakeIn; {
	case o.Low != nil:
		log := ""
		if o.Log {
			log = ", log = true"
		}
		return fmt.Sprintf("%s = { low = %s, high = %s%s }", key, number(*o.Low), number(*o.High), log)
	case len(o.Choices) > 0:
		var all []string
		for _, v := range o.Choices {
			text, _ := json.Marshal(v) // TOML writes them so, too
			all = append(all, string(text))
		}
		return fmt.Sprintf("%s = { choices = [%s] }", key, strings.Join(all, ", "))
	}
	return ""
}

// print writes the report for people. Names that share a reason share a line.
func (r *spaceReport) print(w io.Writer) {
	if r.Fault != "" {
		fmt.Fprintf(w, "train.py at commit %.7s cannot be a trial: %s\n", r.Commit, r.Fault)
	}
	if r.Cache != "" {
		fmt.Fprintln(w, r.Cache)
	}
	fmt.Fprintf(w, "\nsearched in train.py at commit %.7s: %s\n", r.Commit, count(len(r.Searched), "constant"))
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	for _, a := range r.Searched {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", a.Name, a.Start.Literal(), a.words())
	}
	t.Flush()
	if len(r.Unsearched) > 0 {
		fmt.Fprintf(w, "\nnot searched: %s\n", count(len(r.Unsearched), "name"))
	}
	var lines []string
	for at := 0; at < len(r.Unsearched); {
		u := r.Unsearched[at]
		names, end := []string{u.Name}, at+1
		for ; end < len(r.Unsearched) && u.Value == nil && r.Unsearched[end].Why == u.Why; end++ {
			names = append(names, r.Unsearched[end].Name)
		}
		at = end
		value := ""
		if u.Value != nil {
			value = " = " + u.Value.Literal()
		}
		fmt.Fprintln(w, fold(w, fmt.Sprintf("  %s%s (line %d): %s", strings.Join(names, ", "), value, u.Line, u.Why), "  "))
		if u.TakeIn != "" {
			lines = append(lines, u.TakeIn)
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(w, "\nto search one of them, add a line under [search.space]:\n")
		for _, l := range lines {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	if n := r.nothing(); n != "" {
		fmt.Fprintf(w, "\n%s\n", n)
	}
}

// nothing says what it means that no constant is searched; "" where one is.
func (r *spaceReport) nothing() string {
	switch {
	case len(r.Searched) > 0:
		return ""
	case r.Edits:
		return "no constant is searched: only changes to train.py's code can be proposed"
	}
	return "no constant is searched, and this strategy changes no code: give train.py constants (NAME = 0.04 at the top of the module), or set search.strategy = \"llm\" and llm.enabled = true"
}

func (a *searchedAxis) words() string {
	if a.Low == nil {
		var all []string
		for i, v := range a.Choices {
			if i == 8 {
				all = append(all, fmt.Sprintf("and %d more", len(a.Choices)-i))
				break
			}
			all = append(all, v.Literal())
		}
		return strings.Join(all, ", ")
	}
	out := fmt.Sprintf("%s to %s, %s", strconv.FormatFloat(*a.Low, 'g', -1, 64), strconv.FormatFloat(*a.High, 'g', -1, 64), a.Scale)
	if a.Whole {
		out += ", whole"
	}
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// err is what keeps a study from starting; nil where one has begun.
func (r *spaceReport) err() error {
	switch {
	case r.Begun:
		return nil
	case r.Fault != "":
		return fmt.Errorf("train.py cannot be a trial: %s", r.Fault)
	case len(r.Searched) == 0 && !r.Edits:
		return errors.New("there is nothing to search")
	}
	return nil
}

// checkSpace reads the workspace of a sound configuration. A workspace that
// cannot be read is no fault of the configuration.
func (g *globals) checkSpace(cmd *cobra.Command, c *config.Config) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	if ctx == nil {
		ctx = context.Background()
	}
	r, faults, err := readSpace(ctx, c)
	if g.json {
		answer := struct {
			Configuration string       `json:"configuration"`
			Space         *spaceReport `json:"space,omitempty"`
			Unread        string       `json:"unread,omitempty"` // why train.py could not be read
		}{Configuration: c.File()}
		if err != nil {
			answer.Unread = err.Error()
		} else {
			answer.Space = &r
		}
		if err := printJSON(out, answer); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%s is sound\n", c.File())
		if err != nil {
			fmt.Fprintf(out, "train.py was not read, so which constants are searched is not known: %v\n", err)
		} else {
			r.print(out)
		}
	}
	switch {
	case err != nil:
		return nil
	case faults != nil:
		return usageError{fmt.Errorf("read the search space out of train.py: %w", faults)}
	}
	if err := r.err(); err != nil {
		return err
	}
	if !g.json {
		g.next(out, "doctor")
	}
	return nil
}
