package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// objective measures trials by the program of --exec, which is kept for a study.
// A trial that it leaves without an answer has failed, and the study goes on:
// with the same process if it is sure to be in step, with a new one otherwise,
// so that no answer is ever taken for another trial's.
type objective struct {
	command string
	timeout time.Duration

	child   *child        // nil: none runs
	faults  int           // trials in a row without an answer
	proven  bool          // it has answered
	slowest time.Duration // of its answers
}

// How many trials in a row may go without an answer before the study ends.
const (
	unproven = 3 // of a program that has never given one
	proven   = 10
)

// fault is why there is no answer to a trial.
type fault struct {
	why    string
	status search.Status
	inStep bool // what the program writes next belongs to the next trial
}

func (f *fault) Error() string { return f.why }

func crash(format string, args ...any) *fault {
	return &fault{why: fmt.Sprintf(format, args...), status: search.Crashed}
}

// wrong is a fault of an answer that is the trial's.
func wrong(format string, args ...any) *fault {
	return &fault{why: fmt.Sprintf(format, args...), status: search.Crashed, inStep: true}
}

// measure asks for one trial. Its error ends the study.
func (o *objective) measure(ctx context.Context, id int64, values map[string]search.Value, seed uint64) (simulate.Measured, error) {
	if o.child == nil {
		c, err := startChild(o.command)
		if err != nil {
			return simulate.Measured{}, err
		}
		o.child = c
	}
	begin := time.Now()
	m, err := o.ask(ctx, id, values, seed)
	var f *fault
	switch {
	case err == nil:
		o.faults, o.proven, o.slowest = 0, true, max(o.slowest, time.Since(begin))
		return m, nil
	case !errors.As(err, &f):
		return m, err
	}
	if !f.inStep {
		o.end()
	}
	o.faults++
	if o.faults >= proven || o.faults >= unproven && !o.proven {
		return m, fmt.Errorf("--exec `%s` gave no value for %d trials in a row; the last, trial %d: %w", o.command, o.faults, id, f)
	}
	return simulate.Measured{Status: f.status, Detail: f.why}, nil
}

func (o *objective) ask(ctx context.Context, id int64, values map[string]search.Value, seed uint64) (simulate.Measured, error) {
	line, err := json.Marshal(order{id, values, seed})
	if err != nil {
		return simulate.Measured{}, err
	}
	c := o.child
	deadline := time.Now().Add(o.timeout)
	late := time.NewTimer(o.timeout)
	defer late.Stop()
	// It may not read: then the write waits, until it is ended.
	go func() { _, _ = c.stdin.Write(append(line, '\n')) }()
	stray := ""
	for {
		select {
		case reply, ok := <-c.lines:
			if !ok {
				return simulate.Measured{}, c.gone(stray)
			}
			m, meant, f := understand(reply, id)
			switch {
			case meant && f != nil:
				f.why = fmt.Sprintf("it answered %q: %s", cut(reply, 120), f.why)
				return m, f
			case meant:
				return m, nil
			}
			if reply = strings.TrimSpace(reply); reply == "" {
				continue
			}
			// A line of a log. Where an answer should have come by now, it stood in its place.
			if stray = reply; o.proven {
				late.Reset(min(time.Until(deadline), max(10*time.Second, 10*o.slowest)))
			}
		case <-late.C:
			if stray != "" && time.Now().Before(deadline) {
				return simulate.Measured{}, crash("it wrote %q, and no answer after it", cut(stray, 120))
			}
			f := crash("it has not answered for %v (--timeout)%s", o.timeout, c.said(stray))
			f.status = search.TimedOut
			return simulate.Measured{}, f
		case <-ctx.Done():
			return simulate.Measured{}, context.Cause(ctx)
		}
	}
}

// end ends the program, if one runs.
func (o *objective) end() {
	if o.child != nil {
		o.child.end()
		o.child = nil
	}
}

// nonFinite finds the numbers that JSON has no words for, and texts, in which
// they do not count.
var nonFinite = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?\b(?:NaN|Infinity)\b`)

// understand reads a line. meant is false for one that is no answer at all.
func understand(line string, id int64) (m simulate.Measured, meant bool, f *fault) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "\ufeff")
	form := fmt.Sprintf(`it must be a line {"id": %d, "value": 0.98} or {"id": %d, "status": "out of memory"}`, id, id)
	if !strings.HasPrefix(line, "{") {
		_, number := strconv.ParseFloat(line, 64)
		if number == nil || line == "None" || line != "" && json.Valid([]byte(line)) {
			return m, true, crash("%s", form)
		}
		return m, false, nil
	}
	line = nonFinite.ReplaceAllStringFunc(line, func(s string) string {
		if strings.HasPrefix(s, `"`) {
			return s
		}
		return strconv.Quote(s)
	})
	var keys map[string]json.RawMessage
	if json.Unmarshal([]byte(line), &keys) != nil {
		return m, true, crash("%s", form)
	}
	if keys["id"] == nil && keys["value"] == nil && keys["status"] == nil {
		return m, len(keys) == 0, crash("%s", form)
	}
	var own float64
	if keys["id"] == nil {
		return m, true, crash("it has no id: %s", form)
	} else if json.Unmarshal(keys["id"], &own) != nil || own != float64(id) {
		return m, true, crash("its id is %s, not %d", keys["id"], id)
	}
	var status search.Status
	if _ = json.Unmarshal(keys["status"], &status); keys["status"] != nil && string(keys["status"]) != "null" && status == "" {
		return m, true, wrong("its status is %s, no text", keys["status"])
	}
	raw := string(keys["value"])
	switch {
	case raw != "" && raw != "null" && status != "" && status != search.Completed:
		return m, true, wrong("it has both a value and the status %q: give one", status)
	case raw == `"NaN"` || raw == `"Infinity"` || raw == `"-Infinity"`:
		return simulate.Measured{Status: search.Diverged, Detail: "its value is " + strings.Trim(raw, `"`)}, true, nil
	case raw != "" && raw != "null":
		m.Status = search.Completed
		if json.Unmarshal(keys["value"], &m.Value) != nil {
			return m, true, wrong("its value is %s, which is no number", cut(raw, 60))
		}
		return m, true, nil
	case simulate.Failure(status):
		return simulate.Measured{Status: status}, true, nil
	case status == "":
		return m, true, wrong("it has neither a value nor a status")
	case status == search.Completed:
		return m, true, wrong("it has no value")
	}
	return m, true, wrong("status %q is not known: use crashed, out of memory, diverged, timed out", status)
}

// child is a process of the program.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  chan string // closed when it says no more
	ended  chan struct{}
	err    error // how it ended, after ended
	stderr *tail
}

func startChild(command string) (*child, error) {
	c := &child{lines: make(chan string), ended: make(chan struct{}), stderr: &tail{}}
	c.cmd = exec.Command("/bin/sh", "-c", command)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // ended with all that it starts
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = time.Second
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start --exec `%s`: %w", command, err)
	}
	// Not StdoutPipe, which Wait would close while the last line is being read.
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start --exec `%s`: %w", command, err)
	}
	c.cmd.Stdout = write
	err = c.cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return nil, fmt.Errorf("start --exec `%s`: %w", command, err)
	}
	go func() {
		defer close(c.lines)
		defer read.Close()
		scanner := bufio.NewScanner(read)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			select {
			case c.lines <- scanner.Text():
			case <-c.ended:
				// What was written before the end may be the answer.
				select {
				case c.lines <- scanner.Text():
				case <-time.After(time.Second):
					return
				}
			}
		}
	}()
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

// end closes its input, and ends it if that is not enough.
func (c *child) end() {
	c.stdin.Close()
	select {
	case <-c.ended:
	case <-time.After(500 * time.Millisecond):
	}
	c.kill()
	<-c.ended
}

func (c *child) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

// gone says how the program ended.
func (c *child) gone(stray string) *fault {
	select {
	case <-c.ended:
	case <-time.After(2 * time.Second): // it has only closed its output
		return crash("it closed its output instead of answering%s", c.said(stray))
	}
	how := "ended"
	if c.err != nil {
		how = "ended with " + c.err.Error()
	}
	return crash("it %s instead of answering%s", how, c.said(stray))
}

// said is the last that the program wrote, behind a colon.
func (c *child) said(stray string) string {
	text := c.stderr.last()
	if text == "" {
		text = stray
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf(": it said %q", cut(text, 200))
}

// tail keeps the end of what a program writes.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-4096):]
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.TrimSpace(string(t.data))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
