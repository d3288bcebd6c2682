package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// choice says which trials a table has, and in what order.
type choice struct {
	most int    // 0: all
	sort string // "": as they were decided
	keep bool
}

// sorted are the keys by which trials can be put in order, named as in --json.
// The order is that of what is sought: low scores, much memory, long runs first.
var sorted = map[string]func(a, b journal.Record) int{
	"id": func(a, b journal.Record) int { return cmp.Compare(a.Trial.ID, b.Trial.ID) },
	"val_bpb": func(a, b journal.Record) int {
		x, scored := a.Score()
		y, other := b.Score()
		switch {
		case scored && other:
			return cmp.Compare(x, y)
		case scored: // those without a score come last
			return -1
		case other:
			return 1
		}
		return 0
	},
	"peak_vram_bytes": func(a, b journal.Record) int { return cmp.Compare(b.Outcome.PeakVRAM, a.Outcome.PeakVRAM) },
	"wall_seconds":    func(a, b journal.Record) int { return cmp.Compare(b.Outcome.WallSeconds, a.Outcome.WallSeconds) },
}

func (w *choice) flags(c *cobra.Command) {
	keys := slices.Sorted(maps.Keys(sorted))
	c.Flags().IntVarP(&w.most, "number", "n", 0, "show only `N`: the latest, or the first in --sort order")
	c.Flags().StringVar(&w.sort, "sort", "", "sort by `KEY`: "+strings.Join(keys, ", "))
	c.Flags().BoolVar(&w.keep, "keep", false, "show only those that were kept")
	completes(c, "sort", keys...)
}

// of returns the trials that are asked for.
func (w *choice) of(all []journal.Record) ([]journal.Record, error) {
	if w.most < 0 {
		return nil, usageError{fmt.Errorf("-n %d: give a positive number", w.most)}
	}
	if w.keep {
		all = slices.DeleteFunc(all, func(r journal.Record) bool { return r.Decision.Verdict != search.Keep })
	}
	if w.sort == "" {
		if w.most > 0 {
			all = all[max(0, len(all)-w.most):]
		}
		return all, nil
	}
	order, ok := sorted[w.sort]
	if !ok {
		return nil, usageError{fmt.Errorf("--sort %s: there is no such key: give one of %s", w.sort, strings.Join(slices.Sorted(maps.Keys(sorted)), ", "))}
	}
	slices.SortStableFunc(all, order)
	if w.most > 0 {
		all = all[:min(len(all), w.most)]
	}
	return all, nil
}

// runningIDs completes what cancel can end: the trials that run.
func (g *globals) runningIDs(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	state, err := g.stateDir()
	if err != nil || cmd.Name() != "cancel" || len(args) > 0 {
		return nil, none
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	now, err := statusOf(ctx, state)
	if err != nil {
		return nil, none
	}
	var ids []cobra.Completion
	for _, r := range now.Running() {
		ids = append(ids, cobra.CompletionWithDesc(strconv.FormatInt(r.ID, 10), terminal.Cut(foreign(r.Description), 60)))
	}
	return ids, none
}

// trialIDs completes a trial's ID for the shell: best, and every number, the
// newest first. What cannot be read completes nothing.
func (g *globals) trialIDs(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const asGiven = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if most := map[string]int{"diff": 2}[cmd.Name()]; len(args) >= max(1, most) {
		return nil, asGiven
	}
	r, _, err := g.reader()
	if err != nil {
		return nil, asGiven
	}
	defer r.Close()
	all, err := r.Trials()
	if err != nil {
		return nil, asGiven
	}
	about := func(r journal.Record) string {
		score := string(r.Outcome.Status)
		if bpb, ok := r.Score(); ok {
			score = fmt.Sprintf("%.6f", bpb)
		}
		return terminal.Cut(strings.TrimSpace(score+" "+foreign(r.Trial.Proposal.Description)), 60)
	}
	var out []cobra.Completion
	if best, ok, err := r.Champion(); err == nil && ok && strings.HasPrefix("best", begun) {
		out = append(out, cobra.CompletionWithDesc("best", about(best)))
	}
	slices.SortFunc(all, func(a, b journal.Record) int { return cmp.Compare(b.Trial.ID, a.Trial.ID) })
	for _, rec := range all {
		if id := strconv.FormatInt(rec.Trial.ID, 10); strings.HasPrefix(id, begun) {
			out = append(out, cobra.CompletionWithDesc(id, about(rec)))
		}
	}
	return out, asGiven
}
