package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"

	"autoresearchd/daemon/plot"
	"autoresearchd/search/simulate"
)

// compare plays all studies, as many at once as there are cores.
func (s *simulation) compare(ctx context.Context) error {
	type job struct {
		task     madeTask
		strategy string
		seed     uint64
	}
	var jobs []job
	for i := range s.seeds { // seed by seed, so that an early end is balanced
		for _, t := range s.made {
			for _, name := range s.strategies {
				jobs = append(jobs, job{t, name, s.seed + uint64(i)})
			}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	results := make([]simulate.Finished, len(jobs))
	var mu sync.Mutex
	done := 0
	live := false
	if f, ok := s.errs.(*os.File); ok {
		live = term.IsTerminal(int(f.Fd()))
	}
	var workers sync.WaitGroup
	for range min(s.jobs, len(jobs)) {
		workers.Go(func() {
			for i := range next {
				f, err := s.study(ctx, jobs[i].task, jobs[i].strategy, jobs[i].seed, nil)
				if err != nil {
					cancel(err)
					return
				}
				mu.Lock()
				results[i] = f
				if done++; live {
					fmt.Fprintf(s.errs, "\r%d of %d studies ", done, len(jobs))
				}
				mu.Unlock()
			}
		})
	}
feed:
	for i := range jobs {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
	if live {
		fmt.Fprint(s.errs, "\r\x1b[K")
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if s.command != "" { // nobody knows the truth
		simulate.Rescale(results)
	}
	if s.json {
		e := json.NewEncoder(s.out)
		for _, f := range results {
			if err := e.Encode(f); err != nil {
				return err
			}
		}
	} else {
		s.print(results)
	}
	return errors.Join(s.draw(results), hollow(results))
}

// marks are the numbers of trials that the table shows.
func (s *simulation) marks() []int {
	marks := []int{25, 50, 100}
	if !slices.Contains(marks, s.trials) {
		marks = append(marks, s.trials)
	}
	marks = slices.DeleteFunc(marks, func(m int) bool { return m > s.trials })
	slices.Sort(marks)
	return marks
}

func (s *simulation) print(results []simulate.Finished) {
	scale := "0 is the optimum, 1 what half of all points are below"
	if s.command != "" {
		scale = "0 is the best value that any of them saw, 1 the first"
	}
	fmt.Fprintf(s.out, "mean normalised regret of the champion after so many trials, with 95 %% intervals over %d seeds; %s\n", s.seeds, scale)
	for _, t := range s.made {
		s.block(t.name, func(strategy string) []simulate.Finished {
			return slices.DeleteFunc(slices.Clone(results), func(f simulate.Finished) bool { return f.Task != t.name || f.Strategy != strategy })
		})
	}
	if len(s.made) > 1 {
		s.block(fmt.Sprintf("all %d tasks", len(s.made)), func(strategy string) []simulate.Finished { return s.overTasks(results, strategy) })
	}
}

// overTasks averages a strategy's studies of the same seed over the tasks.
func (s *simulation) overTasks(results []simulate.Finished, strategy string) []simulate.Finished {
	all := make([]simulate.Finished, s.seeds)
	for i := range all {
		all[i] = simulate.Finished{Strategy: strategy, Regret: make([]float64, s.trials)}
	}
	share := 1 / float64(len(s.made))
	for _, f := range results {
		if f.Strategy != strategy {
			continue
		}
		all[0].Asked += f.Asked
		for why, n := range f.Instead {
			if all[0].Instead == nil {
				all[0].Instead = map[string]int{}
			}
			all[0].Instead[why] += n
		}
		to := &all[f.Seed-s.seed]
		for i := range to.Regret {
			to.Regret[i] += share * f.Regret[i]
		}
		to.Failed += share * f.Failed
		to.Ask += share * f.Ask
	}
	return all
}

func (s *simulation) block(title string, of func(strategy string) []simulate.Finished) {
	fmt.Fprintf(s.out, "\n%s\n%-12s", title, "strategy")
	for _, m := range s.marks() {
		fmt.Fprintf(s.out, " %18s", fmt.Sprintf("%d trials", m))
	}
	fmt.Fprintf(s.out, " %8s %9s\n", "failed", "ask ms")
	var starred []simulate.Finished
	for _, name := range s.strategies {
		mine := of(name)
		label := name
		if slices.ContainsFunc(mine, func(f simulate.Finished) bool { return len(f.Instead) > 0 }) {
			label += "*"
			starred = append(starred, mine...)
		}
		fmt.Fprintf(s.out, "%-12s", label)
		for _, m := range s.marks() {
			i := simulate.Regret(mine, m)
			if math.IsNaN(i.Half) {
				fmt.Fprintf(s.out, " %18s", fmt.Sprintf("%.4f", i.Mean))
			} else {
				fmt.Fprintf(s.out, " %18s", fmt.Sprintf("%.4f ± %.4f", i.Mean, i.Half))
			}
		}
		var failed, ask float64
		for _, f := range mine {
			failed += f.Failed / float64(len(mine))
			ask += f.Ask / float64(len(mine))
		}
		fmt.Fprintf(s.out, " %7.1f%% %9.2f\n", 100*failed, 1000*ask)
	}
	s.note(starred)
}

// note says of a strategy's studies which proposals are not its own.
func (s *simulation) note(studies []simulate.Finished) {
	asked := map[string]int{}
	counts := map[string]map[string]int{}
	for _, f := range studies {
		asked[f.Strategy] += f.Asked
		for why, n := range f.Instead {
			if counts[f.Strategy] == nil {
				counts[f.Strategy] = map[string]int{}
			}
			counts[f.Strategy][why] += n
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		for _, why := range slices.Sorted(maps.Keys(counts[name])) {
			fmt.Fprintf(s.out, "* %s: %d of %d proposals are of %s\n", name, counts[name][why], asked[name], why)
		}
	}
}

// draw writes the picture, if one was asked for.
func (s *simulation) draw(results []simulate.Finished) error {
	if s.picture == "" {
		return nil
	}
	var names []string
	for _, t := range s.made {
		names = append(names, t.name)
	}
	c := plot.Comparison{
		Title:  fmt.Sprintf("%s: mean normalised regret, %d seeds, 95 %% intervals", strings.Join(names, ", "), s.seeds),
		YLabel: "normalised regret (lower is better)",
	}
	for _, name := range s.strategies {
		curve := plot.Curve{Name: name}
		mine := s.overTasks(results, name)
		if n := mine[0].StoodIn(); n > 0 {
			curve.Name += fmt.Sprintf(" (%d of %d proposals by a fallback)", n, mine[0].Asked)
		}
		for n := 1; n <= s.trials; n++ {
			i := simulate.Regret(mine, n)
			curve.Mean, curve.Half = append(curve.Mean, i.Mean), append(curve.Half, i.Half)
		}
		c.Curves = append(c.Curves, curve)
	}
	var b bytes.Buffer
	if err := plot.Curves(&b, c); err != nil {
		return err
	}
	if err := os.WriteFile(s.picture, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	return nil
}
