package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// notable is what a line needs beside what has ended.
type notable struct {
	best  float64                      // the champion's val_bpb before it; 0: none
	now   supervisor.Status            // after it
	took  func(id int64) time.Duration // all runs of a candidate
	width int                          // of the window; 0: none
}

// endLines say what the end of a trial came to: a line for each candidate that
// it decides, or, where its own is not among them, one for the run.
func endLines(e study.Ending, n notable) []terminal.Line {
	var out []terminal.Line
	if !slices.Contains(e.Settled, e.Of) {
		out = append(out, runLine(e, n))
	}
	for _, c := range e.Settled {
		detail := ""
		if c == e.Of {
			detail = e.Outcome.Detail
		}
		out = append(out, n.decided(c, detail)...)
	}
	return out
}

// narrow is a window in which columns leave no room for what was tried.
const narrow = 72

// runLine is about a run whose candidate is not decided by it: one that runs
// again, or that was decided before.
func runLine(e study.Ending, n notable) terminal.Line {
	came := fmt.Sprintf("%s: %s", e.Outcome.Status, foreign(lastLine(e.Outcome.Detail)))
	since := string(e.Of.Standing)
	if bpb, ok := e.Score(); ok {
		came = fmt.Sprintf("%.6f", bpb)
		if mean, runs := e.Of.Score(); e.Of.By != 0 && runs > 1 {
			since = fmt.Sprintf("mean now %.6f", mean)
			if e.Back() {
				since += ", the champion again"
			}
		} else {
			came += n.against(bpb, " (%+.6f)")
		}
	}
	id := fmt.Sprintf("%-8d", e.Trial.ID)
	if n.width > 0 && n.width < narrow {
		id = strings.TrimSpace(id)
	}
	line := terminal.Text("trial %s run %d of candidate %d: %s, %s", id, len(e.Of.Runs), e.Of.ID, strings.TrimSuffix(came, ": "), since)
	line[0].Style = terminal.Dim
	return append(line, terminal.Span{Text: ": " + foreign(e.Of.Description), Style: terminal.Dim})
}

// against says by how much a score differs from the best before it.
func (n notable) against(bpb float64, format string) string {
	if n.best == 0 {
		return ""
	}
	return fmt.Sprintf(format, bpb-n.best)
}

// decided is about a candidate with a verdict: the mean of its runs and, of one
// that is kept, the gain. In a window with no room for that it takes a second line.
func (n notable) decided(c *search.Candidate, detail string) []terminal.Line {
	score, delta, word := "      --", "", string(c.Standing)
	mean, runs := c.Score()
	switch {
	case runs > 0:
		score, delta = fmt.Sprintf("%8.6f", mean), n.against(mean, "%+9.6f")
	case c.Failure != "":
		word = string(c.Failure)
	}
	var notes []string
	if runs > 1 {
		notes = append(notes, meanOf(runs))
	}
	if champion := n.now.Champion; c.Standing == search.StandingKept && champion != nil && champion.ID == c.ID {
		if gain := gainWords(n.now); gain != "" {
			notes = append(notes, gain)
		}
	}
	if runs == 0 {
		notes = append(notes, foreign(lastLine(detail)))
	}
	took, what, note := ago(n.took(c.ID)), foreign(c.Description), strings.Join(notes, ", ")
	colour := colourOfStanding(c.Standing)
	line := terminal.Line{
		{Text: fmt.Sprintf("candidate %-4d %s %9s  ", c.ID, score, delta)},
		{Text: fmt.Sprintf("%-13s", word), Style: colour},
		{Text: fmt.Sprintf(" %6s  %s", took, what)},
	}
	indent := 4
	if n.width > 0 && n.width < narrow {
		line = terminal.Line{{Text: fmt.Sprintf("candidate %d %s ", c.ID, score)}, {Text: word, Style: colour}, {Text: fmt.Sprintf(" %s  %s", took, what)}}
		indent = 2
	}
	if note == "" {
		return []terminal.Line{line}
	}
	if joined := append(line[:len(line):len(line)], terminal.Span{Text: "; " + note, Style: terminal.Dim}); n.width == 0 || runs == 0 || joined.Width() < n.width {
		return []terminal.Line{joined}
	}
	return []terminal.Line{line, {{Text: strings.Repeat(" ", indent)}, {Text: note, Style: terminal.Dim}}}
}

// gainWords say what the champion gains over the baseline, and whether that is
// confirmed; "" of the baseline.
func gainWords(now supervisor.Status) string {
	c := now.Champion
	if c == nil || !(now.Study.Baseline-c.ValBPB > 0) {
		return ""
	}
	words := fmt.Sprintf("gain %.6f", now.Study.Baseline-c.ValBPB)
	if c.Claim != "" {
		words += ", " + c.Claim
	}
	return words
}

// colourOfStanding tells candidates apart by their verdicts.
func colourOfStanding(s search.Standing) terminal.Style {
	switch s {
	case search.StandingPending:
		return terminal.Yellow
	case search.StandingKept:
		return terminal.Green
	case search.StandingCrashed, search.StandingTampered:
		return terminal.Red
	}
	return terminal.Dim
}

// championWords are about a study that has one.
func championWords(now supervisor.Status) string {
	c := now.Champion
	words := fmt.Sprintf("val_bpb %.6f, %s of candidate %d (%s)", c.ValBPB, meanOf(c.Runs), c.ID, foreign(c.Description))
	if gain := gainWords(now); gain != "" {
		words += "; " + gain
	}
	return words
}

// runWords say which run of its candidate a trial is; "" of the first.
func runWords(r *supervisor.RunningStatus) string {
	if r.Run < 2 {
		return ""
	}
	return fmt.Sprintf("run %d of candidate %d: ", r.Run, r.Candidate)
}

// aside is runWords in brackets, in the middle of a line.
func aside(r *supervisor.RunningStatus) string {
	if r.Run < 2 {
		return ""
	}
	return fmt.Sprintf(" (run %d of candidate %d)", r.Run, r.Candidate)
}
