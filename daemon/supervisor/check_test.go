package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/durable"
	"autoresearchd/search"
)

// checks are the programs of [judge] check in a transcript: what each comes to
// is said before, by "> check".
type checks struct {
	p  *play
	mu sync.Mutex
	to []string // of those to come: "0 words", "3 words", "signal", "missing", "hangs"
}

// script says what the next check does.
func (c *checks) script(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = append(c.to, what)
	return nil
}

// start implements Options.Start.
func (c *checks) start(_ context.Context, command search.Command) (search.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.to) == 0 {
		return nil, errors.New("a check is asked that the transcript does not expect")
	}
	what, words, _ := strings.Cut(c.to[0], " ")
	c.to = c.to[1:]
	if what == "missing" {
		return nil, fmt.Errorf("start %s: there is no such program: give its path, or one that is on PATH", command.Argv[0])
	}
	in, out := io.Pipe()
	p := &checkProcess{out: out, done: make(chan struct{}), kill: make(chan struct{}), words: words}
	go func() {
		defer close(p.done)
		question, _ := io.ReadAll(in)
		c.p.asked(command.Argv, question)
		switch what {
		case "hangs":
			select {
			case <-p.kill:
				p.err = errors.New("it was ended")
			case <-time.After(command.Deadline):
				p.err = fmt.Errorf("it was ended at its deadline of %v", command.Deadline)
			}
		case "signal":
			p.err = exit(-1)
		default:
			if code, _ := strconv.Atoi(what); code != 0 {
				p.err = exit(code)
			}
		}
	}()
	return p, nil
}

// asked writes into the transcript what a check reads.
func (p *play) asked(argv []string, question []byte) {
	var q search.Question
	if err := json.Unmarshal(question, &q); err != nil {
		p.t.Errorf("the check reads %q: %v", question, err)
	}
	var runs []string
	for _, r := range q.Runs {
		runs = append(runs, fmt.Sprintf("%d: %.6f", r.Trial, r.ValBPB))
	}
	_, err := os.Stat(filepath.Join(q.Folder, "train.py"))
	claim := "no claim"
	if q.Claim != nil {
		claim = q.Claim.Short()
	}
	p.print(fmt.Sprintf("%s%v reads: candidate %d of %s (%s), from %d, %d constants, changed %v; runs %v; val_bpb %.6f, %.6f below %d; %s; train.py is there: %v",
		p.clock(), argv, q.Candidate, q.Strategy, q.Description, q.Parent, len(q.Constants), q.Changed, runs, q.ValBPB, q.Gain, q.Champion, claim, err == nil))
}

// exit is how a program ended, as *exec.ExitError says it.
type exit int

func (e exit) ExitCode() int { return int(e) }
func (e exit) Error() string {
	if e < 0 {
		return "signal: killed"
	}
	return fmt.Sprintf("exit status %d", int(e))
}

type checkProcess struct {
	out   *io.PipeWriter
	words string
	err   error
	once  sync.Once
	done  chan struct{}
	kill  chan struct{}
}

func (p *checkProcess) Stdin() io.WriteCloser { return p.out }
func (p *checkProcess) Stdout() io.Reader     { return nil }
func (p *checkProcess) Output() []byte {
	return bytes.ReplaceAll([]byte(p.words), []byte(`\n`), []byte("\n"))
}
func (p *checkProcess) Tail() string                { return "" }
func (p *checkProcess) File(string) ([]byte, error) { return nil, os.ErrNotExist }
func (p *checkProcess) Done() <-chan struct{}       { return p.done }
func (p *checkProcess) Err() error                  { <-p.done; return p.err }
func (p *checkProcess) Kill()                       { p.once.Do(func() { close(p.kill) }); <-p.done }
func (p *checkProcess) Close()                      { p.Kill() }

// agreeing starts checks that agree, and note in a file of which trial.
func agreeing(file string) func(context.Context, search.Command) (search.Process, error) {
	return func(context.Context, search.Command) (search.Process, error) {
		in, out := io.Pipe()
		p := &checkProcess{out: out, done: make(chan struct{}), kill: make(chan struct{})}
		go func() {
			defer close(p.done)
			var q search.Question
			p.err = json.NewDecoder(in).Decode(&q)
			f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
			if err == nil {
				_, err = fmt.Fprintln(f, q.Trial)
				err = errors.Join(err, f.Sync(), f.Close(), durable.Dir(filepath.Dir(file)))
			}
			p.err = errors.Join(p.err, err)
			_, _ = io.Copy(io.Discard, in)
		}()
		return p, nil
	}
}
