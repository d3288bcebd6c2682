package trainer

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Progress is a progress line of train.py, as it printed it. Absent figures
// are zero.
type Progress struct {
	Step      int
	Percent   float64 // of the budget, 0 to 100
	Loss      float64
	TokPerSec float64
	MFU       float64 // percent
	Remaining float64 // seconds
}

// printedStep finds the step in the progress lines of other scripts: "iter 100:
// loss 2.3", "[Step 7/2000] train loss …".
var printedStep = regexp.MustCompile(`(?i)^\W*(?:step|iter|iteration|update)\b\W{0,3}(\d{1,12})\b`)

// ParseProgress reads a line such as
//
//	step 00071 (96.0%) | loss: 2.5 | lrm: 1.00 | dt: 9ms | tok/sec: 57,000 | mfu: 0.0% | epoch: 1 | remaining: 3s
func ParseProgress(line string) (Progress, bool) {
	head, rest, ok := strings.Cut(strings.TrimSpace(line), "|")
	if !ok || !strings.HasPrefix(head, "step ") {
		return Progress{}, false
	}
	number, percent, _ := strings.Cut(strings.TrimPrefix(head, "step "), "(")
	step, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || step < 0 {
		return Progress{}, false
	}
	p := Progress{Step: step, Percent: figure(strings.TrimSuffix(strings.TrimSpace(percent), ")"))}
	for _, field := range strings.Split(rest, "|") {
		name, value, _ := strings.Cut(field, ":")
		switch strings.TrimSpace(name) {
		case "loss":
			p.Loss = figure(value)
		case "tok/sec":
			p.TokPerSec = figure(value)
		case "mfu":
			p.MFU = figure(value)
		case "remaining":
			p.Remaining = figure(value)
		}
	}
	return p, true
}

// figure reads a number with thousands separators and a unit; 0 if it is none.
func figure(s string) float64 {
	s = strings.TrimRight(strings.TrimSpace(s), "%sm")
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil {
		return 0
	}
	return f
}

const (
	tailSize = 64 << 10
	lineSize = 4 << 10 // of a line that is parsed; the rest of a longer one is not looked at
)

// runLog writes what a trial prints to run.log, up to a cap, and keeps its
// end. It is used by one goroutine at a time.
type runLog struct {
	file    *os.File
	limit   int64
	written int64
	dropped int64
	tail    []byte
	line    []byte
	step    func(int, *Progress) // called with each step that is printed; the progress is nil where no line of upstream's says it
	summary map[string]string    // the closing block
	closing bool                 // the line "---" was seen
	failed  bool                 // upstream's way of saying that the loss exploded
	err     error                // the first write error: a full disk
}

func newRunLog(path string, limit int64, step func(int, *Progress)) (*runLog, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create the trial's log: %w", err)
	}
	return &runLog{file: file, limit: limit, step: step, summary: map[string]string{}}, nil
}

func (l *runLog) add(data []byte) {
	room := data
	if l.limit > 0 && l.written+int64(len(room)) > l.limit {
		room = room[:max(0, l.limit-l.written)]
	}
	if len(room) > 0 && l.err == nil {
		_, l.err = l.file.Write(room)
	}
	l.written += int64(len(room))
	l.dropped += int64(len(data) - len(room))
	l.tail = append(l.tail, data...)
	if len(l.tail) > 2*tailSize {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailSize:]...)
	}
	for len(data) > 0 {
		i := bytes.IndexAny(data, "\r\n")
		part := data
		if i >= 0 {
			part = data[:i]
		}
		if room := lineSize - len(l.line); room > 0 {
			l.line = append(l.line, part[:min(room, len(part))]...)
		}
		if i < 0 {
			return
		}
		l.parse(strings.ToValidUTF8(string(l.line), "?"))
		l.line = l.line[:0]
		data = data[i+1:]
	}
}

func (l *runLog) parse(line string) {
	if p, ok := ParseProgress(line); ok {
		l.step(p.Step, &p)
		return
	}
	if m := printedStep.FindStringSubmatch(line); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			l.step(n, nil)
		}
	}
	switch {
	case line == "---":
		l.closing = true
		clear(l.summary)
	case strings.TrimSpace(line) == "FAIL":
		l.failed = true
	case l.closing:
		name, value, ok := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if ok && len(l.summary) < 40 && len(name) < 40 && len(value) < 80 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" {
			l.summary[name] = value
		}
	}
}

// close ends the log. A capped one says so, and ends with what came last.
func (l *runLog) close() error {
	if len(l.line) > 0 {
		l.parse(strings.ToValidUTF8(string(l.line), "?"))
	}
	if l.dropped > 0 && l.err == nil {
		tail := l.end(tailSize)
		skipped := l.dropped - int64(len(tail))
		_, l.err = fmt.Fprintf(l.file, "\n[autoresearchd: the log is capped at %d bytes; %d bytes are left out here]\n%s", l.limit, max(0, skipped), tail)
	}
	if err := l.file.Close(); l.err == nil {
		l.err = err
	}
	if l.err != nil {
		return fmt.Errorf("write the trial's log: %w", l.err)
	}
	return nil
}

// end returns up to n last bytes of what was printed.
func (l *runLog) end(n int) []byte {
	if len(l.tail) > n {
		return l.tail[len(l.tail)-n:]
	}
	return l.tail
}

// lastLines returns the last n lines that are not progress, inert for a
// terminal.
func (l *runLog) lastLines(n int) string {
	var lines []string
	for _, line := range strings.FieldsFunc(strings.ToValidUTF8(string(l.end(16<<10)), "?"), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if _, ok := ParseProgress(line); ok || strings.TrimSpace(line) == "" {
			continue
		}
		lines = append(lines, Inert(line))
	}
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}

// Inert makes control characters and escape sequences visible.
func Inert(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '�'
		}
		return r
	}, s)
}
