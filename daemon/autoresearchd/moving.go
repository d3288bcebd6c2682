package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// view is what a person who watches sees of a study.
type view struct {
	now    supervisor.Status
	budget search.Budget
	scores []float64               // of the last candidates that were decided, NaN without one
	recent []journal.Record        // the last trials, to know how long phases take
	rows   []record.Candidate      // the last candidates
	spent  map[int64]time.Duration // on all runs of each candidate
}

const (
	mostScores = 200
	mostRecent = 10
)

// read takes in a whole record.
func (v *view) read(all []journal.Record) {
	v.scores, v.recent, v.spent = nil, nil, nil
	for _, r := range all {
		v.add(r)
	}
	v.rows = record.Candidates(all)
	for _, c := range v.rows {
		if c.Verdict.Decision() != "" {
			v.score(c.ValBPB)
		}
	}
	v.rows = v.rows[max(0, len(v.rows)-mostRecent):]
}

// end takes in a trial that has ended.
func (v *view) end(e study.Ending) {
	v.add(e.Record)
	for _, c := range e.Settled {
		if bpb, runs := c.Score(); runs > 0 {
			v.score(&bpb)
		} else {
			v.score(nil)
		}
	}
}

func (v *view) score(bpb *float64) {
	score := math.NaN()
	if bpb != nil {
		score = *bpb
	}
	v.scores = append(v.scores, score)
	v.scores = v.scores[max(0, len(v.scores)-mostScores):]
}

func (v *view) add(r journal.Record) {
	if r.Outcome.Status == "" {
		return
	}
	if v.spent == nil {
		v.spent = map[int64]time.Duration{}
	}
	v.spent[r.Trial.Candidate] += seconds(r.Outcome.WallSeconds)
	v.recent = append(v.recent, r)
	v.recent = v.recent[max(0, len(v.recent)-mostRecent):]
}

// took is how long all runs of a candidate took.
func (v *view) took(id int64) time.Duration { return v.spent[id] }

// left estimates how long a running trial still takes: what is left of its
// phase, and the later ones as they went in the last trials.
func (v *view) left(r *supervisor.RunningStatus) (time.Duration, bool) {
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

// lines are the moving lines, for a window of this size.
func (v *view) lines(t *terminal.Terminal, width, height int) []terminal.Line {
	width-- // a terminal breaks a line that fills it
	study := v.study(t, width)
	var out []terminal.Line
	switch seats := v.now.Seats; {
	case len(seats) > 1:
		if len(v.now.Running()) == 0 {
			out = append(out, v.state())
		}
		out = append(out, v.seats(t, width, max(1, min(mostSeats, height-1-len(study)-len(out))))...)
	case len(seats) == 1 && seats[0].Trial != nil:
		out = v.trial(t, width, seats[0])
	default:
		out = append(out, v.state())
	}
	out = append(out, study...)
	for i := range out {
		out[i] = out[i].Cut(width)
	}
	return out
}

func (v *view) state() terminal.Line {
	return append(label("state"), terminal.Span{Text: foreign(v.now.State), Style: terminal.Yellow})
}

// trial are the lines of the only seat's trial.
func (v *view) trial(t *terminal.Terminal, width int, seat supervisor.SeatStatus) []terminal.Line {
	r := seat.Trial
	head := terminal.Line{{Text: fmt.Sprintf("trial %-3d", r.ID), Style: terminal.Bold}, {Text: fmt.Sprintf("%-8s ", r.Phase), Style: terminal.Yellow}}
	tail := terminal.Text(" %3.0f%%", 100*r.Progress)
	cells := min(max(4, width-head.Width()-tail.Width()-28), 30, width-head.Width()-tail.Width())
	if cells >= 4 {
		head = append(head, terminal.Span{Text: t.Bar(r.Progress, cells), Style: terminal.Blue})
	}
	rest := []terminal.Line{}
	if left, ok := v.left(r); ok {
		rest = append(rest, terminal.Text("  %s left", ago(left)))
	}
	rest = append(rest, terminal.Text("  %s so far", ago(seconds(r.Seconds))))
	if r.TokPerSec > 0 {
		rest = append(rest, terminal.Text("  %.0fk tok/s", r.TokPerSec/1000))
	}
	out := []terminal.Line{append(head, tail...).Join(width, rest...), append(label("  what"), terminal.Span{Text: runWords(r) + foreign(r.Description)})}
	if r.Loss > 0 {
		curve := resample(r.Curve, min(60, max(8, width-labels-8)))
		out = append(out, append(label("  loss"), terminal.Span{Text: t.Spark(curve), Style: terminal.Blue}, terminal.Span{Text: fmt.Sprintf(" %.3f", r.Loss)}))
	}
	if n := seat.Next; n != nil {
		out = append(out, append(label("  next"), terminal.Text("trial %d is getting ready beside it (%s): %s%s", n.ID, n.Phase, runWords(n), foreign(n.Description))...))
	}
	return out
}

// study are the lines about the study as a whole.
func (v *view) study(t *terminal.Terminal, width int) []terminal.Line {
	now := v.now
	var out []terminal.Line
	if c := now.Champion; c != nil {
		best := append(label("best"), terminal.Span{Text: fmt.Sprintf("%.6f", c.ValBPB), Style: terminal.Green})
		for _, gain := range []string{gainWords(now), strings.SplitN(gainWords(now), " (", 2)[0]} { // whole, or as much as a narrow window takes
			if more := terminal.Text(", %s", gain); gain != "" && best.Width()+more.Width() <= width {
				best = append(best, more...)
				break
			}
		}
		out = append(out, append(best, terminal.Text("; candidate %d: %s", c.ID, foreign(c.Description))...))
		if n := len(v.scores); n > 1 {
			n = min(n, width-labels)
			out = append(out, append(label("scores"), terminal.Span{Text: t.Spark(v.scores[len(v.scores)-n:])}))
		}
	}
	return append(out, append(label("tried"), terminal.Text("%s", tried(now))...).Join(width, terminal.Text("; %.1f runs an hour", now.Rate)))
}

// resample draws a curve, which is shares of the budget with losses, in so many
// cells: of each, the last loss that was seen by then; NaN before the first and
// after the last.
func resample(curve [][2]float64, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = math.NaN()
	}
	last := -1
	for _, p := range curve {
		at := min(n-1, int(p[0]*float64(n)))
		for gap := last + 1; last >= 0 && gap < at; gap++ {
			out[gap] = out[last]
		}
		out[at], last = p[1], at
	}
	return out
}

// mostSeats is how many seats have a line of their own in a window of any height.
const mostSeats = 16

// seats are a line for each seat, so many lines at most: of what is left out
// the last one tells.
func (v *view) seats(t *terminal.Terminal, width, most int) []terminal.Line {
	seats := v.now.Seats
	shown := seats
	if len(seats) > most {
		shown = seats[:most-1]
	}
	names := 0
	for _, s := range shown {
		names = max(names, terminal.Width(foreign(s.Name)))
	}
	names = min(names, max(8, width/4))
	var out []terminal.Line
	for _, s := range shown {
		out = append(out, v.seat(t, width, names, s))
	}
	if rest := seats[len(shown):]; len(rest) > 0 {
		name := "others"
		if len(shown) == 0 {
			name = "seats"
		}
		out = append(out, append(label(name), terminal.Text("%s", countSeats(rest))...))
	}
	return out
}

// seat is the line of one of several seats; names is how many cells names take.
func (v *view) seat(t *terminal.Terminal, width, names int, s supervisor.SeatStatus) terminal.Line {
	name := terminal.Cut(foreign(s.Name), names)
	line := terminal.Line{{Text: name + strings.Repeat(" ", names-terminal.Width(name)+2), Style: terminal.Dim}}
	r := s.Trial
	if r == nil {
		line = append(line, terminal.Span{Text: string(s.State), Style: terminal.Yellow})
		if s.Why != "" {
			line = append(line, terminal.Span{Text: ": " + foreign(s.Why)})
		}
		return line
	}
	line = append(line, terminal.Span{Text: fmt.Sprintf("trial %-5d", r.ID), Style: terminal.Bold}, terminal.Span{Text: fmt.Sprintf("%-8s ", r.Phase), Style: terminal.Yellow})
	if width >= 72 {
		line = append(line, terminal.Span{Text: t.Bar(r.Progress, 10), Style: terminal.Blue})
	}
	line = append(line, terminal.Span{Text: fmt.Sprintf(" %3.0f%%", 100*r.Progress)})
	var rest []terminal.Line
	if left, ok := v.left(r); ok {
		rest = append(rest, terminal.Text("  %6s left", ago(left)))
	}
	if r.Loss > 0 && width >= 72 {
		rest = append(rest, terminal.Text("  loss %.3f", r.Loss))
	}
	if n := s.Next; n != nil {
		rest = append(rest, terminal.Text("  then %d (%s)", n.ID, n.Phase))
	}
	return append(line.Join(width, rest...), terminal.Span{Text: "  " + runWords(r) + foreign(r.Description), Style: terminal.Dim})
}

// countSeats says what so many seats do.
func countSeats(seats []supervisor.SeatStatus) string {
	counts := map[supervisor.SeatState]int{}
	for _, s := range seats {
		counts[s.State]++
	}
	var parts []string
	for _, state := range supervisor.SeatStates {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return fmt.Sprintf("%d seats: %s", len(seats), strings.Join(parts, ", "))
}

// sentence is the state of a study in one line.
func sentence(now supervisor.Status) string {
	text := tried(now)
	switch running := now.Running(); {
	case len(now.Seats) > 1 && len(running) > 0:
		text = countSeats(now.Seats) + "; " + text
	case len(running) > 0:
		r := running[0]
		text = fmt.Sprintf("trial %d%s in %s, %.0f%%; %s", r.ID, aside(r), r.Phase, 100*r.Progress, text)
	case now.Waiting != "": // systemd cuts a line that is longer than a page
		text = fmt.Sprintf("%.1000s; %s", terminal.Inert(now.Waiting), text)
	}
	return text
}
