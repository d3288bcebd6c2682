package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// reader opens the record of the state directory for reading.
func (g *globals) reader() (*journal.Reader, string, error) {
	state, err := g.stateDir()
	if err != nil {
		return nil, "", err
	}
	r, err := journal.OpenReader(state)
	return r, state, err
}

// find resolves an ID: a number, a commit, or "best".
func find(r *journal.Reader, id string) (journal.Record, error) {
	if id == "best" {
		rec, ok, err := r.Champion()
		if err == nil && !ok {
			err = errors.New("there is no champion yet")
		}
		return rec, err
	}
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && len(id) < 7 {
		rec, err := r.Trial(n)
		if errors.Is(err, journal.ErrUnknown) {
			return rec, fmt.Errorf("there is no trial %d: `autoresearchd trials` lists them", n)
		}
		return rec, err
	}
	all, err := r.Trials()
	if err != nil {
		return journal.Record{}, err
	}
	var found *journal.Record
	for i := range all {
		if len(id) >= 4 && strings.HasPrefix(all[i].Commit, id) && (found == nil || all[i].Commit != found.Commit) {
			if found != nil {
				return journal.Record{}, fmt.Errorf("%q matches more than one commit: give more characters", id)
			}
			found = &all[i]
		}
	}
	if found == nil {
		return journal.Record{}, fmt.Errorf("there is no trial %q: give a number, a commit (4 characters or more) or \"best\"", id)
	}
	return r.Trial(found.Trial.ID)
}

func (g *globals) statusCommand() *cobra.Command {
	var watch bool
	c := &cobra.Command{Use: "status", Short: "show the champion, the running trial, the rate and what comes next", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && g.json {
				return usageError{errors.New("--watch is for people: use it without --json, or poll")}
			}
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			if watch {
				return watchStatus(cmd.Context(), state, os.Stdout)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			now, err := statusOf(ctx, state)
			if err != nil {
				return err
			}
			if g.json {
				return printJSON(cmd.OutOrStdout(), now)
			}
			printStatus(cmd.OutOrStdout(), now)
			return nil
		}}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "keep showing it until interrupted")
	return g.reads(c)
}

func printStatus(w io.Writer, now supervisor.Status) {
	line := labelled(w, 9)
	line("study", "%s (%s), begun %s", now.Study.Tag, now.Study.Workspace, now.Study.StartedAt.Local().Format("2 Jan 15:04"))
	line("state", "%s", now.State)
	line("summary", "%s", now.Card.Words)
	if c := now.Champion; c != nil {
		on := ""
		if several(seated(now)) && c.Class != "" {
			on = " on " + foreign(c.Class)
		}
		line("champion", "%.6f, %s%s of candidate %d (%.7s): %s", c.ValBPB, meanOf(c.Runs), on, c.ID, c.Commit, foreign(c.Description))
		if now.Study.Baseline > 0 {
			line("baseline", "%.6f (gain %s)", now.Study.Baseline, strings.TrimSuffix(fmt.Sprintf("%.6f, %s", now.Study.Baseline-c.ValBPB, c.Claim), ", "))
		}
		if now.Claim != nil {
			line("claim", "%s", now.Claim.Words)
		}
		if words := now.Confirm.Words(); words != "" {
			line("confirm", "%s", foreign(words))
		} else if now.Confirm != nil {
			line("confirm", "on %s, for which %d waiting", foreign(now.Confirm.On), now.Confirm.Waiting)
		}
		if now.Pruning != nil {
			line("pruning", "%v", now.Pruning)
		}
	}
	if now.Refusal != "" {
		line("reload", "the last one was refused: %s", now.Refusal)
	}
	if now.Check != "" {
		line("check", "%s", now.Check)
	}
	if now.Sandbox != "" {
		line("sandbox", "%s", now.Sandbox)
	}
	said := map[string]bool{now.Sandbox: true, "": true}
	for _, s := range now.Seats { // a node may have another
		if !said[s.Sandbox] {
			said[s.Sandbox] = true
			line("sandbox", "on %s: %s", foreign(s.Host), foreign(s.Sandbox))
		}
	}
	for _, s := range now.Seats {
		name := "running"
		if len(now.Seats) > 1 {
			name = foreign(s.Name)
			if s.Trial == nil {
				line(name, "%s", strings.TrimSuffix(string(s.State)+place(s, now)+": "+foreign(s.Why), ": "))
			}
		}
		if r := s.Trial; r != nil {
			line(name, "trial %d%s, %s: %s; %.0f%% of its budget, step %d, %s so far", r.ID, place(s, now), r.Phase, foreign(r.Description), 100*r.Progress, r.Step, ago(seconds(r.Seconds)))
		}
		if r := s.Next; r != nil {
			line("", "trial %d is getting ready beside it, %s: %s", r.ID, r.Phase, foreign(r.Description))
		}
	}
	line("tried", "%s; %.1f runs an hour", tried(now), now.Rate)
	line("next", "%s", now.Next)
}

func (g *globals) trialsCommand() *cobra.Command {
	var which choice
	runs := false
	c := &cobra.Command{Use: "trials", Short: "list the candidates that were tried", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, _, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			all, err := r.Trials()
			if err != nil {
				return err
			}
			of := map[int64]record.Candidate{}
			if !runs {
				candidates := record.Candidates(all)
				for _, c := range candidates {
					of[c.ID] = c
				}
				all = record.Rows(all, candidates)
			}
			if all, err = which.of(all); err != nil {
				return err
			}
			if g.json {
				out := make([]any, 0, len(all))
				for _, rec := range all {
					if c, ok := of[rec.Trial.ID]; ok {
						out = append(out, c)
					} else {
						out = append(out, record.New(rec))
					}
				}
				return printJSON(cmd.OutOrStdout(), out)
			}
			t := terminal.Open(os.Stdout)
			width := 0
			if t.Live {
				width, _ = t.Size()
			}
			lines := trialTable(all, width)
			if !runs {
				var chosen []record.Candidate
				took := map[int64]time.Duration{}
				for _, row := range all {
					chosen = append(chosen, of[row.Trial.ID])
					took[row.Trial.ID] = seconds(row.Outcome.WallSeconds)
				}
				lines = candidateTable(chosen, func(id int64) time.Duration { return took[id] }, width)
			}
			w := bufio.NewWriter(cmd.OutOrStdout())
			for _, line := range lines {
				fmt.Fprintln(w, strings.TrimRight(t.Render(line), " "))
			}
			return w.Flush()
		}}
	which.flags(c)
	c.Flags().BoolVar(&runs, "runs", false, "one row per run instead of one per candidate")
	return g.reads(c)
}

// candidateTable is the record in columns, a row a candidate, for a window of
// this width (0: no window); took is how long all runs of one took.
func candidateTable(all []record.Candidate, took func(id int64) time.Duration, width int) []terminal.Line {
	columns := []terminal.Column{
		{Title: "ID", Right: true}, {Title: "COMMIT", Drop: 1}, {Title: "VAL_BPB", Right: true}, {Title: "RUNS", Right: true, Drop: 4}, {Title: "VERDICT"},
		{Title: "VRAM", Right: true, Drop: 3}, {Title: "TIME", Right: true, Drop: 5}, {Title: "STRATEGY", Drop: 2}, {Title: "DESCRIPTION"},
	}
	var classes []string
	for _, c := range all {
		if c.Class != "" {
			classes = append(classes, c.Class)
		}
	}
	named := several(classes)
	if named {
		columns = slices.Insert(columns, 4, terminal.Column{Title: "CLASS", Drop: 6})
	}
	var lines []terminal.Line
	for _, c := range all {
		score, vram, verdict := "--", "--", string(c.Verdict)
		if c.Failure != "" && c.Verdict.Decision() != "" {
			verdict = string(c.Failure)
		}
		if c.ValBPB != nil {
			score = fmt.Sprintf("%.6f", *c.ValBPB)
		}
		if c.PeakVRAM > 0 {
			vram = fmt.Sprintf("%.1f GiB", float64(c.PeakVRAM)/(1<<30))
		}
		if len(c.Runs) == 0 {
			verdict = "running"
		}
		colour := colourOfStanding(c.Verdict)
		row := terminal.Line{
			{Text: strconv.FormatInt(c.ID, 10)}, {Text: fmt.Sprintf("%.7s", c.Commit), Style: terminal.Dim}, {Text: score, Style: colour}, {Text: strconv.Itoa(len(c.Runs))}, {Text: verdict, Style: colour},
			{Text: vram}, {Text: ago(took(c.ID))}, {Text: terminal.Cut(foreign(c.Strategy), 20)}, {Text: terminal.Cut(foreign(c.Description), 100)},
		}
		if named {
			row = slices.Insert(row, 4, terminal.Span{Text: terminal.Cut(foreign(c.Class), 24)})
		}
		lines = append(lines, row)
	}
	return terminal.Table(columns, lines, width, 24)
}

// trialTable is the record in columns, for a window of this width (0: no
// window).
func trialTable(all []journal.Record, width int) []terminal.Line {
	columns := []terminal.Column{
		{Title: "ID", Right: true}, {Title: "COMMIT", Drop: 1}, {Title: "VAL_BPB", Right: true}, {Title: "DECISION"}, {Title: "STATUS", Drop: 4},
		{Title: "VRAM", Right: true, Drop: 3}, {Title: "TIME", Right: true, Drop: 5}, {Title: "STRATEGY", Drop: 2}, {Title: "DESCRIPTION"},
	}
	var classes []string
	for _, r := range all {
		if r.Trial.Kind != "" {
			classes = append(classes, r.Trial.Kind)
		}
	}
	named := several(classes)
	if named {
		columns = slices.Insert(columns, 3, terminal.Column{Title: "CLASS", Drop: 6})
	}
	var rows []terminal.Line
	for _, r := range all {
		score, vram := "--", "--"
		if r.Outcome.Status == search.Completed {
			score = fmt.Sprintf("%.6f", r.Outcome.ValBPB)
		}
		if r.Outcome.PeakVRAM > 0 {
			vram = fmt.Sprintf("%.1f GiB", float64(r.Outcome.PeakVRAM)/(1<<30))
		}
		status, decision := string(r.Outcome.Status), string(r.Decision.Verdict)
		if status == "" {
			status, decision = "running", "--"
		}
		colour := colourOf(r)
		row := terminal.Line{
			{Text: strconv.FormatInt(r.Trial.ID, 10)}, {Text: fmt.Sprintf("%.7s", r.Commit), Style: terminal.Dim}, {Text: score, Style: colour}, {Text: decision, Style: colour}, {Text: status, Style: colour},
			{Text: vram}, {Text: ago(seconds(r.Outcome.WallSeconds))}, {Text: terminal.Cut(foreign(r.Trial.Proposal.Strategy), 20)}, {Text: terminal.Cut(foreign(r.Trial.Proposal.Description), 100)},
		}
		if named {
			row = slices.Insert(row, 3, terminal.Span{Text: terminal.Cut(foreign(r.Trial.Kind), 24)})
		}
		rows = append(rows, row)
	}
	return terminal.Table(columns, rows, width, 24)
}

func (g *globals) showCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "show ID", ValidArgsFunction: g.trialIDs, Short: "show a trial and its candidate: the proposal, what happened, the verdict", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, state, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			rec, err := find(r, args[0])
			if err != nil {
				return err
			}
			c, err := candidateOf(r, rec)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if g.json {
				return printJSON(w, shown{record.New(rec), c})
			}
			t, o := rec.Trial, rec.Outcome
			line := labelled(w, 12)
			line("candidate", "%d by %s, from %s", c.ID, c.Strategy, derived(c.Parent))
			line("description", "%s", c.Description)
			line("commit", "%s", cmp.Or(c.Commit, "none until it is decided"))
			line("verdict", "%s: %s", verdictOf(c), c.Reason)
			if c.ValBPB != nil {
				line("val_bpb", "%.6f, %s%s", *c.ValBPB, meanOf(c.Scores), elsewhere(c))
			}
			line("trial", "%d, its run %d of %d: seed %d, on %s%s", t.ID, runOf(c, t.ID), max(len(c.Runs), runOf(c, t.ID)), t.Seed, t.Device, parenthesised(t.Kind))
			line("started", "%s", t.StartedAt.Local().Format(time.RFC1123))
			if o.Status == "" {
				line("status", "running")
				return nil
			}
			line("status", "%s", o.Status)
			if o.Status == search.Completed {
				if c.Scores != 1 {
					line("", "val_bpb %.6f", o.ValBPB)
				}
				if v := o.Summary["val_bpb_corrected"]; v != "" {
					line("", "%s with true byte lengths (not comparable with the line above)", v)
				}
			}
			if o.AuditBPB > 0 {
				line("audit", "%.6f on validation text that the search never sees", o.AuditBPB)
			}
			if f := o.Fresh; f != nil {
				line("audit", "%.6f in a fresh process that had only its weights, in %.1f s", f.ValBPB, f.Seconds)
				if f.Proof != nil {
					line("", "%s", proofWords(f.Proof))
				}
			}
			if p := o.Proof; p != nil {
				line("proof", "%s", proofWords(p))
			}
			if c.Reason != rec.Decision.Reason {
				line("", "%s: %s", rec.Decision.Verdict, rec.Decision.Reason)
			}
			line("trained", "%.1f s counted, %d steps, %.2f M tokens; %.1f s in all", o.TrainingSeconds, o.Steps, float64(o.Tokens)/1e6, o.WallSeconds)
			var phases []string
			for _, p := range search.Phases {
				if s, ok := o.Phases[p]; ok {
					phases = append(phases, fmt.Sprintf("%s %.1f s", p, s))
				}
			}
			line("phases", "%s", strings.Join(phases, ", "))
			if g := o.Gate; g != nil {
				opened := fmt.Sprintf("at the end of trial %d, which has no score", g.After)
				if !g.Scored.IsZero() {
					opened = fmt.Sprintf("%.3f s after the evaluation of trial %d was over", g.Opened.Sub(g.Scored).Seconds(), g.After)
				}
				line("gate", "opened %s; it waited %.1f s there", opened, g.Waited)
			}
			if o.PeakVRAM > 0 || o.ScriptPeakVRAM > 0 {
				line("peak VRAM", "%.1f GiB by NVML, %.1f GiB by the script's allocator", float64(o.PeakVRAM)/(1<<30), float64(o.ScriptPeakVRAM)/(1<<30))
			}
			if o.Sandbox != "" {
				line("sandbox", "%s", o.Sandbox)
			}
			for _, flag := range o.Flags {
				line("note", "%s", flag)
			}
			if o.Detail != "" {
				for i, l := range strings.Split(o.Detail, "\n") {
					name := ""
					if i == 0 {
						name = "detail"
					}
					fmt.Fprintf(w, "%-12s %s\n", name, inertLine(l))
				}
			}
			for _, c := range t.Constants {
				for _, name := range t.Changed {
					if name == c.Name {
						line("changed", "%s = %s", c.Name, c.Value)
					}
				}
			}
			line("bundle", "%s", study.Folder(state, t.ID))
			return nil
		}})
}

func (g *globals) diffCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "diff ID [ID]", ValidArgsFunction: g.trialIDs, Short: "show what a trial changed in train.py, against its parent or another trial", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, _, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			to, err := find(r, args[0])
			if err == nil {
				to, err = firstRun(r, to)
			}
			if err != nil {
				return err
			}
			var from []byte
			name := "parent"
			switch {
			case len(args) == 2:
				other, err := find(r, args[1])
				if err != nil {
					return err
				}
				// diff A B reads from A to B.
				from, name = to.Trial.Source, fmt.Sprintf("candidate %d", to.Trial.Candidate)
				to = other
			case to.Trial.Proposal.Parent != 0:
				parent, err := r.Trial(to.Trial.Proposal.Parent)
				if err != nil {
					return err
				}
				from, name = parent.Trial.Source, fmt.Sprintf("candidate %d", parent.Trial.Candidate)
			default:
				study, _, err := r.Study()
				if err != nil {
					return err
				}
				if from, err = g.sourceAt(cmd.Context(), study, to.ParentCommit); err != nil {
					return err
				}
				name = "start"
			}
			named := fmt.Sprintf("candidate %d", to.Trial.Candidate)
			text := record.Diff(name, named, from, to.Trial.Source)
			if g.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"from": name, "to": named, "diff": text})
			}
			return printDiff(terminal.Open(os.Stdout), cmd.OutOrStdout(), text)
		}})
}

// printDiff shows a diff in colours and inert on a terminal; elsewhere it is
// what a patch takes.
func printDiff(t *terminal.Terminal, w io.Writer, text string) error {
	if !t.Live {
		_, err := io.WriteString(w, text)
		return err
	}
	out := bufio.NewWriter(w)
	for i, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		style := terminal.Plain
		switch {
		case i < 2, strings.HasPrefix(l, "@@"):
			style = terminal.Dim
		case strings.HasPrefix(l, "+"):
			style = terminal.Green
		case strings.HasPrefix(l, "-"):
			style = terminal.Red
		}
		fmt.Fprintln(out, t.Render(terminal.Line{{Text: inertLine(l), Style: style}}))
	}
	return out.Flush()
}

// inertLine makes a line inert and leaves its blanks.
func inertLine(s string) string {
	words := strings.Split(strings.ReplaceAll(strings.TrimSuffix(s, "\r"), "\t", "    "), " ")
	for i, w := range words {
		words[i] = terminal.Inert(w)
	}
	return strings.Join(words, " ")
}

// proofWords says how a score was proven, or why it was not.
func proofWords(p *search.Proof) string {
	words := string(p.Verdict)
	if p.Evidence != "" {
		words += ": " + p.Evidence
	}
	if p.Positions > 0 {
		words += fmt.Sprintf("; at %d of %d tokens its logits gave %.5f nats more than it committed to (standard error %.5f, largest difference %.3f)",
			p.Positions, p.Tokens, p.Gap, p.GapError, p.GapLargest)
	}
	if p.FreshError > 0 {
		words += fmt.Sprintf("; on fresh text it was %.4f nats a token worse (standard error %.4f), where it was not shown before %.4f (%.4f), blindfolded %.4f (%.4f)",
			p.Fresh, p.FreshError, p.Unseen, p.UnseenError, p.Blind, p.BlindError)
	}
	if p.Weights > 0 {
		words += fmt.Sprintf("; its %d weights stayed as they were, as it says itself", p.Weights)
	}
	return words + fmt.Sprintf("; %.1f s with the evaluation", p.Seconds)
}
