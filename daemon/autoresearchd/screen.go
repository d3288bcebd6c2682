package main

import (
	"fmt"
	"io"
	"net"
	"os"
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
	if address != "" {
		fmt.Fprintf(s.out, "page: %s\n", pageAt(address))
	}
	fmt.Fprintf(s.out, "study %s on %s, strategy %s\n", now.Study.Tag, device, now.Study.Strategy)
	if now.Trials.Total > 0 {
		fmt.Fprintf(s.out, "going on after %d trials; ", now.Trials.Total)
		if now.Champion != nil {
			fmt.Fprintf(s.out, "best val_bpb %.6f\n", s.best)
		} else {
			fmt.Fprintln(s.out, "none has a score yet")
		}
	}
}

// pageAt is where a browser on this machine finds the page of a server that
// listens on an address.
func pageAt(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "http://" + address + "/"
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port) + "/"
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
	s.view.now = now
	width, height := s.Size()
	s.lines = s.view.lines(s.Terminal, width, height)
	s.block.Draw(s.lines)
}

// end says what has come of a run. stopped: the study was.
func (s *screen) end(v *supervisor.Supervisor, stopped bool) {
	now := v.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block.Clear()
	s.lines = nil
	if s.mute {
		return
	}
	if stopped {
		defer fmt.Fprintln(s.out, "the study was stopped: `autoresearchd resume` lets the next `autoresearchd run` go on")
	}
	if now.Champion == nil {
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

// lastLine is where a traceback says what happened.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
