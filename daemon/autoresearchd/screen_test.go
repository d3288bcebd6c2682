package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/search"
)

// watched is the record of a study in the middle of its eighth trial: trials 4
// and 6 are two runs of one candidate, and trial 7 runs again.
func watched() []journal.Record {
	var all []journal.Record
	for i, score := range []float64{0.9979, 0.9991, math.NaN(), 0.9834, 1.42, 0.9848, 0.9839} {
		r := journal.Record{Commit: "abcdef0123", Decided: int64(i + 1), Stage: search.StageDone}
		r.Trial = search.Trial{ID: int64(i + 1), Candidate: int64(i + 1), Seed: 42}
		r.Trial.Proposal = search.Proposal{Strategy: "tpe", Description: journaltest.Hostile[i], Parent: int64(min(i, 1))}
		r.Outcome.WallSeconds, r.Outcome.PeakVRAM = 352, 44<<30
		r.Outcome.Status, r.Outcome.ValBPB, r.Decision.Verdict = search.Completed, score, search.Discard
		r.Outcome.Phases = map[search.Phase]float64{search.Startup: 12, search.Compile: 10, search.Train: 304, search.Evaluate: 24, search.Exit: 2}
		switch i {
		case 0:
			r.Decision.Verdict = search.Keep
		case 2:
			r.Outcome.Status, r.Outcome.Detail, r.Decision.Verdict = search.OutOfMemory, "Traceback\nCUDA out of memory", search.Crash
		case 5:
			r.Trial.Candidate, r.Trial.Proposal, r.Decision.Verdict = 4, search.Proposal{Strategy: search.Confirm, Description: journaltest.Hostile[3], Parent: 4}, search.Keep
		}
		all = append(all, r)
	}
	return all
}

// watchedStudy is what a screen shows of it.
func watchedStudy() *view {
	v := &view{budget: search.Budget{Seconds: 300}}
	v.read(watched())
	now := supervisor.Status{State: "running", Rate: 10.2, Runs: 7, Tried: supervisor.Tried{Total: 6, Kept: 2, Discarded: 2, Pending: 1, Failed: 1, Failures: map[search.Status]int{search.OutOfMemory: 1}}}
	now.Study.Tag, now.Study.Baseline, now.Study.Strategy = "nov23", 0.9979, "portfolio"
	now.Champion = &supervisor.TrialStatus{ID: 4, ValBPB: 0.9841, Runs: 2, Claim: "unconfirmed (0 of 3 paired seeds)", Description: "MATRIX_LR 0.04 -> 0.052"}
	r := &supervisor.RunningStatus{ID: 8, Candidate: 7, Run: 2, Phase: search.Train, PhaseSeconds: 208, Seconds: 230, Progress: 0.65, Step: 390,
		TokPerSec: 1.659e6, Description: "学习率 0.6 -> 0.72\x1b[2J\u202e, and more words than a narrow window has room for"}
	for step := range 40 {
		r.Loss = 2.5 + 6/float64(step+1)
		r.Curve = append(r.Curve, [2]float64{float64(step) / 60, r.Loss})
	}
	now.Seats = []supervisor.SeatStatus{{Name: "cuda:0", Device: "cuda:0", State: supervisor.SeatRunning, Trial: r}}
	v.now = now
	return v
}

func TestScreen(t *testing.T) {
	t.Parallel()
	v := watchedStudy()
	idle := watchedStudy()
	idle.now.Seats, idle.now.State = []supervisor.SeatStatus{{Name: "cuda:0", State: supervisor.SeatWaiting}}, "waiting 10s: 6 in a row failed, the last \x1b[31mout of memory"
	text := ""
	for _, width := range []int{120, 72, 40} {
		for _, out := range []*terminal.Terminal{{Unicode: true}, {}} {
			for name, v := range map[bool]*view{false: v, true: idle} {
				if name != (width == 72 && !out.Unicode) {
					continue // one picture of an idle study is enough
				}
				text += strings.Repeat("-", width) + "\n"
				lines := append(v.lines(out, width, 24), candidateTable(v.rows, v.took, width-1)...)
				lines = append(lines, ends(v, width)...)
				for i := range lines {
					lines[i] = lines[i].Cut(width - 1)
				}
				for _, l := range lines {
					if l.Width() >= width {
						t.Errorf("at %d a line takes %d", width, l.Width())
					}
					text += strings.TrimRight(out.Render(l), " ") + "\n"
				}
			}
		}
	}
	golden(t, "screen.txt", text)
}

// ends are the lines that the ends of the study's trials left behind.
func ends(v *view, width int) []terminal.Line {
	var done []search.Result
	var out []terminal.Line
	n := notable{now: v.now, took: v.took, width: width}
	for _, r := range watched() {
		e := study.Ending{Record: r}
		e.Of, e.Settled = search.Ended(done, r.Result)
		done = append(done, r.Result)
		out = append(out, endLines(e, n)...)
		n.best = 0.9979
	}
	return out
}

// TestLinesInAPipe has a line say all there is to say, however long it is.
func TestLinesInAPipe(t *testing.T) {
	t.Parallel()
	text := ""
	for _, l := range ends(watchedStudy(), 0) {
		text += strings.TrimRight((&terminal.Terminal{}).Render(l), " ") + "\n"
	}
	golden(t, "lines.txt", text)
}

// TestScreenOfSeats shows several seats in windows of several sizes, and one whose
// next trial gets ready.
func TestScreenOfSeats(t *testing.T) {
	t.Parallel()
	out := &terminal.Terminal{Unicode: true}
	text := ""
	for _, c := range []struct{ seats, width, height int }{{1, 100, 24}, {2, 100, 24}, {8, 120, 40}, {8, 60, 24}, {64, 100, 50}, {64, 100, 9}, {64, 100, 4}} {
		v := watchedStudy()
		v.now.Seats = apitest.Seats(c.seats, 8, 308)
		lines := v.lines(out, c.width, c.height)
		if len(lines) > max(c.height-1, 4) {
			t.Errorf("%d seats take %d lines of %d", c.seats, len(lines), c.height)
		}
		text += fmt.Sprintf("%d seats, %d cells, %d rows\n", c.seats, c.width, c.height)
		for _, l := range lines {
			if l.Width() >= c.width {
				t.Errorf("at %d a line takes %d", c.width, l.Width())
			}
			text += strings.TrimRight(out.Render(l), " ") + "\n"
		}
	}
	v := watchedStudy()
	v.now.Seats = apitest.Seats(8, 8, 308)
	text += sentence(v.now) + "\n" + watchLine(v.now) + "\n"
	golden(t, "seats.txt", text)
}

// TestDiffOnATerminal shows a diff in colours and inert; a pipe gets it as it is.
func TestDiffOnATerminal(t *testing.T) {
	t.Parallel()
	text := "--- train.py (start)\n+++ train.py (trial 2)\n@@ -1,3 +1,3 @@\n \tx = '\x1b[2J'\n-DEPTH = 4\r\n+DEPTH = 6  # \u202eabc\n"
	for _, c := range []struct {
		t    *terminal.Terminal
		want string
	}{
		{&terminal.Terminal{}, text},
		{&terminal.Terminal{Live: true}, "--- train.py (start)\n+++ train.py (trial 2)\n@@ -1,3 +1,3 @@\n     x = '\ufffd[2J'\n-DEPTH = 4\n+DEPTH = 6  # \ufffdabc\n"},
		{&terminal.Terminal{Live: true, Colour: true}, "\x1b[2m--- train.py (start)\x1b[m\n\x1b[2m+++ train.py (trial 2)\x1b[m\n\x1b[2m@@ -1,3 +1,3 @@\x1b[m\n     x = '\ufffd[2J'\n\x1b[31m-DEPTH = 4\x1b[m\n\x1b[32m+DEPTH = 6  # \ufffdabc\x1b[m\n"},
	} {
		var b bytes.Buffer
		must(t, printDiff(c.t, &b, text))
		if b.String() != c.want {
			t.Errorf("%+v: %q, want %q", c.t, b.String(), c.want)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	t.Parallel()
	v := watchedStudy()
	r := v.now.Seats[0].Trial
	for _, c := range []struct {
		phase    search.Phase
		seconds  float64
		progress float64
		want     time.Duration
	}{
		{search.Startup, 5, 0, 347 * time.Second}, {search.Startup, 50, 0, 340 * time.Second}, {search.Compile, 4, 0, 336 * time.Second},
		{search.Train, 100, 0.25, 251 * time.Second}, {search.Evaluate, 4, 1, 22 * time.Second}, {search.Exit, 1, 1, time.Second},
	} {
		r.Phase, r.PhaseSeconds, r.Progress = c.phase, c.seconds, c.progress
		if got, ok := v.left(r); !ok || got != c.want {
			t.Errorf("in %s after %g s: %v, want %v", c.phase, c.seconds, got, c.want)
		}
	}
	steps := &view{budget: search.Budget{Steps: 400}} // the first trial of a study
	if left, ok := steps.left(&supervisor.RunningStatus{Phase: search.Compile}); ok {
		t.Errorf("knows %v of a trial like no other", left)
	}
	if left, ok := steps.left(&supervisor.RunningStatus{Phase: search.Train, Progress: 0.25, PhaseSeconds: 10}); !ok || left != 30*time.Second {
		t.Errorf("%v left, want 30s", left)
	}
}

// pty is a terminal of so many columns and rows, and its other end.
func pty(t *testing.T, columns, rows uint16) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	master = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { master.Close() })
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	other, err := unix.Open(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	slave = os.NewFile(uintptr(other), "pts")
	t.Cleanup(func() { slave.Close() })
	resize(t, master, columns, rows)
	return master, slave
}

func resize(t *testing.T, master *os.File, columns, rows uint16) {
	t.Helper()
	must(t, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}))
}

// harmless are the sequences that leave a terminal as it was.
var harmless = regexp.MustCompile("\x1b\\[(?:[0-9]*A|K|J|[0-9;]*m)")

// TestWatchOnATerminal looks at a study through a narrow window without
// colours, then through a wide one, and interrupts it.
func TestWatchOnATerminal(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	must(t, journaltest.Fill(s.path("state"), journaltest.Options{Trials: 40, Hostile: true, Bare: true}))
	master, slave := pty(t, 40, 20)
	cmd := s.command("--state", s.path("state"), "status", "--watch")
	cmd.Env = append(cmd.Env, "TERM=xterm", "NO_COLOR=1", "LC_ALL=C.UTF-8")
	cmd.Stdout, cmd.Stderr = slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 1}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	slave.Close()
	frames := read(t, master, "DESCRIPTION")
	widest := func(text string) int {
		n := 0
		for _, line := range strings.Split(harmless.ReplaceAllString(text, ""), "\n") {
			n = max(n, terminal.Width(strings.Trim(line, "\r")))
		}
		return n
	}
	if n := widest(frames); n > 40 || n < 30 {
		t.Errorf("a line takes %d of 40 cells:\n%s", n, frames)
	}
	if strings.Contains(frames, "STRATEGY") {
		t.Errorf("a narrow window has every column:\n%s", frames)
	}
	resize(t, master, 120, 30)
	more := read(t, master, "STRATEGY")
	if n := widest(more[strings.LastIndex(more, "\x1b[J"):]); n > 120 {
		t.Errorf("a line takes %d of 120 cells:\n%s", n, more)
	}
	_, err := master.Write([]byte{3}) // ctrl-C
	must(t, err)
	must(t, cmd.Wait())
	rest := harmless.ReplaceAllString(frames+more, "")
	if at := strings.IndexAny(rest, "\x1b\x07\x00\u202e"); at >= 0 {
		t.Errorf("the terminal was told %q", rest[at:min(len(rest), at+20)])
	}
	if regexp.MustCompile("\x1b\\[[0-9;]*m").MatchString(frames + more) {
		t.Error("NO_COLOR was not heeded")
	}
}

// read reads from a terminal until it has shown a text.
func read(t *testing.T, master *os.File, until string) string {
	t.Helper()
	must(t, master.SetReadDeadline(time.Now().Add(patience)))
	var all bytes.Buffer
	buffer := make([]byte, 4096)
	for !strings.Contains(all.String(), until) {
		n, err := master.Read(buffer)
		if err != nil {
			t.Fatalf("%v after\n%s", err, all.String())
		}
		all.Write(buffer[:n])
	}
	return all.String()
}

// TestNoTerminal has every reading command write plain, whole lines into a pipe.
func TestNoTerminal(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	must(t, journaltest.Fill(s.path("state"), journaltest.Options{Trials: 40, Hostile: true}))
	for _, command := range [][]string{{"trials"}, {"status"}, {"show", "30"}, {"show", "33"}, {"log", "30"}} {
		out := s.ok(append([]string{"--state", s.path("state")}, command...)...)
		if strings.ContainsAny(out, "\x1b\x07\x00\u202e\u2066") {
			t.Errorf("%q prints %q", command, out)
		}
	}
	if runs := s.ok("--state", s.path("state"), "trials", "--runs"); strings.Count(runs, "\n") != 41 {
		t.Errorf("40 runs:\n%s", runs)
	}
	out := s.ok("--state", s.path("state"), "trials") // two are second and third runs
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 39 || !strings.Contains(lines[0], "COMMIT") {
		t.Errorf("%d lines:\n%s", len(lines), out)
	}
	cmd := s.command("--state", s.path("state"), "status", "-w")
	r, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	got, err := bufio.NewReader(r).ReadString('\n')
	must(t, err)
	if !strings.HasPrefix(got, "38 candidates in 40 runs: ") || !strings.HasSuffix(got, "; finished\n") {
		t.Errorf("said %q", got)
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if _, fault, code := s.cli("status", "--watch", "--json"); code != 2 || !strings.Contains(fault, "for people") {
		t.Errorf("ended with %d: %s", code, fault)
	}
}
