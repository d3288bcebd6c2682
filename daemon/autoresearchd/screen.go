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
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// screen shows a run to the person who started it: a line for each candidate that
// is decided, one for each run that decides none, and, on a terminal, a few lines
// below them that move.
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
	s.view.read(past)
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
	switch {
	case now.Runs == 0:
	case now.Champion == nil:
		s.say("continuing after %s; none has a score yet", tried(now))
	default:
		s.say("continuing after %s; best %s", tried(now), championWords(now))
	}
}

// say prints a line, broken between words on a terminal.
func (s *screen) say(format string, args ...any) {
	fmt.Fprintln(s.out, fold(s.out, fmt.Sprintf(format, args...), "  "))
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

// finished prints what the end of a trial came to.
func (s *screen) finished(e study.Ending) {
	s.mu.Lock()
	v := s.v
	s.mu.Unlock()
	var now supervisor.Status
	if v != nil {
		now = v.Now()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.end(e)
	n := notable{best: s.best, now: now, took: s.view.took}
	if s.Live {
		n.width, _ = s.Size()
	}
	lines := endLines(e, n)
	if now.Champion != nil {
		s.best = now.Champion.ValBPB
	}
	if s.mute {
		return
	}
	s.block.Clear()
	for _, line := range lines {
		_ = s.Print(line) // who does not watch any more misses nothing
	}
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
	if now.Champion != nil {
		s.say("%s", tried(now))
		s.say("best %s", championWords(now))
	}
	if stopped {
		s.say("the study was stopped: `autoresearchd resume` lets the next `autoresearchd run` continue it")
	}
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
