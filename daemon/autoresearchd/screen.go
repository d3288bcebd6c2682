package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// screen shows a run to the person who started it: a line that moves while a
// trial runs, and one line for each finished trial. Without a terminal only
// the latter, and the log on standard error.
type screen struct {
	out  *os.File
	err  io.Writer
	live bool

	mu       sync.Mutex
	drawn    bool
	baseline float64
	best     float64
}

func newScreen(out, err *os.File) *screen {
	return &screen{out: out, err: err, live: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
}

// log is where log lines go: they never tear the moving line.
func (s *screen) log() io.Writer { return logWriter{s} }

type logWriter struct{ s *screen }

func (w logWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.clear()
	return w.s.err.Write(p)
}

func (s *screen) clear() {
	if s.drawn {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) begin(v *supervisor.Supervisor, device, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := v.Now()
	s.baseline = now.Study.Baseline
	if now.Champion != nil {
		s.best = now.Champion.ValBPB
	}
	fmt.Fprintf(s.out, "study %s on %s, strategy %s", now.Study.Tag, device, now.Study.Strategy)
	if address != "" {
		fmt.Fprintf(s.out, ", metrics at http://%s/metrics", address)
	}
	fmt.Fprintln(s.out)
	if now.Trials.Total > 0 {
		fmt.Fprintf(s.out, "going on after %d trials; best val_bpb %.6f\n", now.Trials.Total, s.best)
	}
}

// finished prints a trial's line.
func (s *screen) finished(r journal.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	score := "      --"
	note := r.Outcome.Detail
	if r.Outcome.Status == search.Completed {
		score = fmt.Sprintf("%8.6f", r.Outcome.ValBPB)
		note = ""
		if s.best > 0 {
			note = fmt.Sprintf("(%+.6f)", r.Outcome.ValBPB-s.best)
		}
		if s.baseline == 0 {
			s.baseline = r.Outcome.ValBPB
		}
	}
	if r.Decision.Verdict == search.Keep {
		s.best = r.Outcome.ValBPB
	}
	note = trainer.Inert(lastLine(note))
	word := string(r.Decision.Verdict)
	if r.Outcome.Status != search.Completed {
		word = string(r.Outcome.Status)
	}
	fmt.Fprintf(s.out, "trial %-4d %s  %-13s %s  %s %s\n", r.Trial.ID, score, word, ago(time.Duration(r.Outcome.WallSeconds*float64(time.Second))), trainer.Inert(r.Trial.Proposal.Description), shorten(note, 160))
}

// draw renews the moving line.
func (s *screen) draw(now supervisor.Status) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	width, _, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b bytes.Buffer
	if r := now.Running; r != nil {
		const cells = 20
		full := int(r.Progress*cells + 0.5)
		fmt.Fprintf(&b, "trial %-4d %-8s [%s%s] %3.0f%% %s", r.ID, r.Phase, strings.Repeat("#", full), strings.Repeat(".", cells-full), 100*r.Progress, ago(time.Duration(r.Seconds*float64(time.Second))))
		if r.Loss > 0 {
			fmt.Fprintf(&b, "  loss %.3f", r.Loss)
		}
		if r.TokPerSec > 0 {
			fmt.Fprintf(&b, "  %.0fk tok/s", r.TokPerSec/1000)
		}
		fmt.Fprintf(&b, "  %s", trainer.Inert(r.Description))
	} else {
		b.WriteString(trainer.Inert(now.State))
	}
	fmt.Fprint(s.out, "\r\x1b[K", shorten(b.String(), width-1))
	s.drawn = true
}

func (s *screen) end(v *supervisor.Supervisor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear()
	now := v.Now()
	if now.Champion == nil {
		return
	}
	fmt.Fprintf(s.out, "%s; best val_bpb %.6f by trial %d (%s)", sentence(now), now.Champion.ValBPB, now.Champion.ID, trainer.Inert(now.Champion.Description))
	if gain := now.Study.Baseline - now.Champion.ValBPB; gain > 0 {
		fmt.Fprintf(s.out, ", %.6f below the baseline", gain)
	}
	fmt.Fprintln(s.out)
}

// sentence is the state of a study in one line.
func sentence(now supervisor.Status) string {
	t := now.Trials
	text := fmt.Sprintf("%d trials: %d keep, %d discard, %d crash", t.Total, t.Keep, t.Discard, t.Crash)
	if r := now.Running; r != nil {
		text = fmt.Sprintf("trial %d in %s, %.0f%%; %s", r.ID, r.Phase, 100*r.Progress, text)
	}
	return text
}

// lastLine is where a traceback says what happened.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// shorten cuts a text to so many characters.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:max(0, n-1)]) + "…"
}
