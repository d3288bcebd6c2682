package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// screen shows a run to the person who started it: one line for each finished
// trial and, on a terminal, a few lines below them that move.
type screen struct {
	*terminal.Terminal
	out   *os.File
	err   io.Writer
	block *terminal.Block
	mute  bool // what is logged is read where this would be printed

	mu    sync.Mutex
	v     *supervisor.Supervisor
	lines []terminal.Line // as last drawn
	best  float64
	view  view
}

func newScreen(out, err *os.File) *screen {
	t := terminal.Open(out)
	return &screen{Terminal: t, out: out, err: err, block: t.Block(), mute: journald(out)}
}

// journald reports whether a file is systemd's journal, where every line of a
// screen stands beside one of the log that says the same.
func journald(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// log is where log lines go: they never tear the moving lines.
func (s *screen) log() io.Writer { return logWriter{s} }

type logWriter struct{ s *screen }

func (w logWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.block.Clear()
	n, err := w.s.err.Write(p)
	w.s.block.Draw(w.s.lines)
	return n, err
}

// The supervisor logs while it holds its lock, and the log waits for the
// screen's: so the supervisor is never asked under the screen's lock.

func (s *screen) begin(v *supervisor.Supervisor, past []journal.Record, budget search.Budget, device, address string) {
	now := v.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.v = v
	s.view.budget = budget
	for _, r := range past {
		s.view.add(r)
	}
	if now.Champion != nil {
		s.best = now.Champion.ValBPB
	}
	if s.mute {
		return
	}
	fmt.Fprintf(s.out, "study %s on %s, strategy %s", now.Study.Tag, device, now.Study.Strategy)
	if address != "" {
		fmt.Fprintf(s.out, ", metrics at http://%s/metrics", address)
	}
	fmt.Fprintln(s.out)
	if now.Trials.Total > 0 {
		fmt.Fprintf(s.out, "going on after %d trials; ", now.Trials.Total)
		if now.Champion != nil {
			fmt.Fprintf(s.out, "best val_bpb %.6f\n", s.best)
		} else {
			fmt.Fprintln(s.out, "none has a score yet")
		}
	}
}

// finished prints a trial's line.
func (s *screen) finished(r journal.Record) {
	s.mu.Lock()
	v := s.v
	s.mu.Unlock()
	best := 0.0
	if v != nil {
		if c := v.Now().Champion; c != nil {
			best = c.ValBPB
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.add(r)
	width := 0
	if s.Live {
		width, _ = s.Size()
	}
	line := trialLine(r, s.best, width)
	if s.best = best; s.mute {
		return
	}
	s.block.Clear()
	_ = s.Print(line) // who does not watch any more misses nothing
	s.block.Draw(s.lines)
}

// draw renews the moving lines.
func (s *screen) draw(now supervisor.Status) {
	if !s.Live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.follow(now)
	width, _ := s.Size()
	s.lines = s.view.lines(s.Terminal, width)
	s.block.Draw(s.lines)
}

func (s *screen) end(v *supervisor.Supervisor) {
	now := v.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block.Clear()
	s.lines = nil
	if now.Champion == nil || s.mute {
		return
	}
	fmt.Fprintf(s.out, "%s; best val_bpb %.6f by trial %d (%s)", sentence(now), now.Champion.ValBPB, now.Champion.ID, terminal.Inert(now.Champion.Description))
	if gain := now.Study.Baseline - now.Champion.ValBPB; gain > 0 {
		fmt.Fprintf(s.out, ", %.6f below the baseline", gain)
	}
	fmt.Fprintln(s.out)
}

// colourOf tells trials apart by what was decided.
func colourOf(r journal.Record) terminal.Style {
	switch {
	case r.Outcome.Status == "":
		return terminal.Yellow
	case r.Decision.Verdict == search.Keep:
		return terminal.Green
	case r.Decision.Verdict == search.Crash:
		return terminal.Red
	}
	return terminal.Dim
}

// trialLine says how a trial ended, for a window of this width (0: no window);
// best is the champion's val_bpb before it, 0 for none.
func trialLine(r journal.Record, best float64, width int) terminal.Line {
	bpb, scored := r.Score()
	score, delta, word, why := "      --", "         ", string(r.Outcome.Status), r.Outcome.Detail
	if scored {
		score, word, why = fmt.Sprintf("%8.6f", bpb), string(r.Decision.Verdict), ""
		if best > 0 {
			delta = fmt.Sprintf("%+9.6f", bpb-best)
		}
	}
	took, what := ago(seconds(r.Outcome.WallSeconds)), foreign(r.Trial.Proposal.Description)
	line := terminal.Line{
		{Text: fmt.Sprintf("trial %-4d %s %s  ", r.Trial.ID, score, delta)},
		{Text: fmt.Sprintf("%-13s", word), Style: colourOf(r)},
		{Text: fmt.Sprintf(" %6s  %s", took, what)},
	}
	if width > 0 && width < 72 { // room for what was tried before all else
		line = terminal.Line{{Text: fmt.Sprintf("trial %d %s ", r.Trial.ID, score)}, {Text: word, Style: colourOf(r)}, {Text: fmt.Sprintf(" %s  %s", took, what)}}
	}
	if why = foreign(lastLine(why)); why != "" {
		line = append(line, terminal.Span{Text: "  " + why, Style: terminal.Dim})
	}
	return line
}

// foreign makes text from outside fit for a line.
func foreign(s string) string {
	if len(s) > 2000 {
		s = strings.ToValidUTF8(s[:2000], "")
	}
	return terminal.Cut(terminal.Inert(s), 200)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// view is what a person who watches sees of a study.
type view struct {
	now    supervisor.Status
	budget search.Budget
	scores []float64        // of the last trials, NaN without one
	recent []journal.Record // the last trials
	curve  [60]float64      // the running trial's loss along its budget; 0: not seen
	trial  int64            // whose curve it is
}

const (
	mostScores = 200
	mostRecent = 10
)

// add takes in a trial that has ended.
func (v *view) add(r journal.Record) {
	if r.Outcome.Status == "" {
		return
	}
	score, ok := r.Score()
	if !ok {
		score = math.NaN()
	}
	v.scores = append(v.scores, score)
	v.recent = append(v.recent, r)
	v.scores = v.scores[max(0, len(v.scores)-mostScores):]
	v.recent = v.recent[max(0, len(v.recent)-mostRecent):]
}

// follow takes in what the study does now.
func (v *view) follow(now supervisor.Status) {
	v.now = now
	r := now.Running
	if r == nil {
		return
	}
	if r.ID != v.trial {
		v.trial, v.curve = r.ID, [60]float64{}
	}
	if r.Loss > 0 && r.Progress >= 0 {
		v.curve[min(len(v.curve)-1, int(r.Progress*float64(len(v.curve))))] = r.Loss
	}
}

// left estimates how long the running trial still takes: what is left of its
// phase, and the later ones as they went in the last trials.
func (v *view) left() (time.Duration, bool) {
	r := v.now.Running
	at := slices.Index(search.Phases, r.Phase)
	if at < 0 {
		return 0, false
	}
	total := 0.0
	for i, p := range search.Phases[at:] {
		typical := v.typical(p)
		if p == search.Train && v.budget.Seconds > 0 && typical == 0 {
			typical = v.budget.Seconds
		}
		if p == search.Train && typical == 0 && r.Progress < 0.01 {
			return 0, false
		}
		switch {
		case i > 0:
			total += typical
		case p == search.Train && v.budget.Seconds > 0:
			total += v.budget.Seconds * (1 - r.Progress)
		case p == search.Train && r.Progress >= 0.01:
			total += r.PhaseSeconds * (1 - r.Progress) / r.Progress
		default:
			total += max(0, typical-r.PhaseSeconds)
		}
	}
	return seconds(total), true
}

// typical is the median of a phase's seconds in the last trials that completed;
// 0 if there is none.
func (v *view) typical(p search.Phase) float64 {
	var all []float64
	for _, r := range v.recent {
		if s, ok := r.Outcome.Phases[p]; ok && r.Outcome.Status == search.Completed {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

const labels = 9 // cells of a line's label

func label(name string) terminal.Line {
	return terminal.Line{{Text: fmt.Sprintf("%-*s", labels, name), Style: terminal.Dim}}
}

// lines are the moving lines, for a window of this width.
func (v *view) lines(t *terminal.Terminal, width int) []terminal.Line {
	width-- // a terminal breaks a line that fills it
	now := v.now
	var out []terminal.Line
	if r := now.Running; r != nil {
		head := terminal.Line{{Text: fmt.Sprintf("trial %-3d", r.ID), Style: terminal.Bold}, {Text: fmt.Sprintf("%-8s ", r.Phase), Style: terminal.Yellow}}
		tail := terminal.Text(" %3.0f%%", 100*r.Progress)
		cells := min(max(4, width-head.Width()-tail.Width()-28), 30, width-head.Width()-tail.Width())
		if cells >= 4 {
			head = append(head, terminal.Span{Text: t.Bar(r.Progress, cells), Style: terminal.Blue})
		}
		rest := []terminal.Line{}
		if left, ok := v.left(); ok {
			rest = append(rest, terminal.Text("  %s left", ago(left)))
		}
		rest = append(rest, terminal.Text("  %s so far", ago(seconds(r.Seconds))))
		if r.TokPerSec > 0 {
			rest = append(rest, terminal.Text("  %.0fk tok/s", r.TokPerSec/1000))
		}
		out = append(out, append(head, tail...).Join(width, rest...))
		out = append(out, append(label("  what"), terminal.Span{Text: foreign(r.Description)}))
		if r.Loss > 0 {
			out = append(out, append(label("  loss"), terminal.Span{Text: t.Spark(resample(v.curve[:], min(len(v.curve), max(8, width-labels-8)))), Style: terminal.Blue},
				terminal.Span{Text: fmt.Sprintf(" %.3f", r.Loss)}))
		}
	} else {
		out = append(out, append(label("state"), terminal.Span{Text: foreign(now.State), Style: terminal.Yellow}))
	}
	if c := now.Champion; c != nil {
		best := terminal.Line{{Text: fmt.Sprintf("%.6f", c.ValBPB), Style: terminal.Green}}
		parts := []terminal.Line{terminal.Text(" by trial %d", c.ID)}
		if gain := now.Study.Baseline - c.ValBPB; gain > 0 {
			parts = append(parts, terminal.Text(", %.6f below the baseline", gain))
		}
		parts = append(parts, terminal.Text(": %s", foreign(c.Description)))
		out = append(out, append(label("best"), best...).Join(width, parts...))
		if n := len(v.scores); n > 1 {
			n = min(n, width-labels)
			out = append(out, append(label("scores"), terminal.Span{Text: t.Spark(v.scores[len(v.scores)-n:])}))
		}
	}
	n := now.Trials
	out = append(out, append(label("trials"), terminal.Text("%d", n.Total)...).Join(width,
		terminal.Text(": %d keep", n.Keep), terminal.Text(", %d discard", n.Discard), terminal.Text(", %d crash", n.Crash), terminal.Text("; %.1f an hour", now.Rate)))
	for i := range out {
		out[i] = out[i].Cut(width)
	}
	return out
}

// resample shortens a curve to so many cells: of each, the last number that was
// seen by then; NaN before the first and after the last.
func resample(curve []float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	last := -1
	for i, y := range curve {
		if y <= 0 {
			continue
		}
		at := i * n / len(curve)
		for gap := last + 1; last >= 0 && gap < at; gap++ {
			out[gap] = out[last]
		}
		out[at], last = y, at
	}
	return out
}

// sentence is the state of a study in one line.
func sentence(now supervisor.Status) string {
	t := now.Trials
	text := fmt.Sprintf("%d trials: %d keep, %d discard, %d crash", t.Total, t.Keep, t.Discard, t.Crash)
	switch r := now.Running; {
	case r != nil:
		text = fmt.Sprintf("trial %d in %s, %.0f%%; %s", r.ID, r.Phase, 100*r.Progress, text)
	case now.Waiting != "": // systemd cuts a line that is longer than a page
		text = fmt.Sprintf("%.1000s; %s", terminal.Inert(now.Waiting), text)
	}
	return text
}

// lastLine is where a traceback says what happened.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
