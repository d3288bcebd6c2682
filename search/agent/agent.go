// Package agent proposes what a coding agent of the user's made of train.py.
//
// The agent is a program that is started in a scratch folder with train.py,
// program.md and the history as files. When it ends, or at its deadline, what
// it has left in train.py is the proposal, and the last line of its output the
// description. It works while a trial runs; an Ask that finds it still at work
// waits a little, then a fallback proposes, and the agent's turn comes later.
// An edit of constants alone is proposed as values, so that the optimisers
// learn from it and it can be carried over to a new champion.
package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/fallback"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "agent"

// Options is the [search.agent] table.
type Options struct {
	Command  []string      `toml:"command" doc:"the agent and its arguments, such as [\"claude\", \"-p\"]; TASK.md is also its standard input"`
	Env      []string      `toml:"env" doc:"environment variables to pass on although they may hold secrets"`
	Read     []string      `toml:"read" doc:"files and folders that it may read in the sandbox, beside what it is installed with"`
	Write    []string      `toml:"write" doc:"those that it may write too, such as [\"~/.claude\", \"~/.claude.json\"] for its login"`
	Deadline time.Duration `toml:"deadline" doc:"per proposal; train.py is taken as it is then"`
	Wait     time.Duration `toml:"wait" doc:"how long a free GPU waits for an agent at work"`
	Output   int           `toml:"output" doc:"bytes of its output to keep with the trial"`
	Trials   int           `toml:"trials" doc:"trials of each kind in history.md; history.tsv has all"`
	Fallback string        `toml:"fallback" doc:"strategy that proposes while the agent does not"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Deadline: 10 * time.Minute, Wait: time.Minute, Output: 64 << 10, Trials: 12, Fallback: "evolution"}
}

func init() { search.Default.Register(Name, New, Defaults()) }

const (
	sourceLimit = 1 << 20 // bytes of a train.py that is taken
	patience    = 2       // faults in a row after which the agent rests
	longest     = 32      // proposals that it rests at most
)

type strategy struct {
	o        Options
	fallback *fallback.Fallback
	tools    search.Tools

	mu     sync.Mutex
	job    *job
	faults int // in a row
	rest   int // proposals for which it is not started
}

// job is an agent at work, or done and not proposed yet.
type job struct {
	p      search.Process
	parent search.Trial // with its source
	ideas  []int64
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if len(o.Command) == 0 || o.Command[0] == "" {
		faults = append(faults, errors.New(`search.agent.command is empty: name the agent, command = ["claude", "-p"]`))
	}
	if o.Deadline < 100*time.Millisecond {
		faults = append(faults, fmt.Errorf("search.agent.deadline = %q: use 100ms or more", o.Deadline))
	}
	if o.Wait < 0 {
		faults = append(faults, fmt.Errorf("search.agent.wait = %q: use 0s or more", o.Wait))
	}
	if o.Output < 1024 || o.Output > 16<<20 {
		faults = append(faults, fmt.Errorf("search.agent.output = %d: use 1024 to 16777216 bytes", o.Output))
	}
	if o.Trials < 1 {
		faults = append(faults, fmt.Errorf("search.agent.trials = %d: use 1 or more", o.Trials))
	}
	f, err := fallback.New(Name, o.Fallback, env)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	return &strategy{o: o, fallback: f, tools: env.Tools}, nil
}

// Close implements search.Closer.
func (s *strategy) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.job != nil {
		s.job.p.Close()
		s.job = nil
	}
}

// Tell forwards a result: the agent reads the history by itself.
func (s *strategy) Tell(r search.Result) { s.fallback.Tell(r) }

// Prepare implements search.Preparer: the agent works while a trial runs.
func (s *strategy) Prepare(ctx context.Context, h search.History) {
	if h.Champion.ID == 0 {
		return // there is nothing to improve on yet
	}
	j, err := s.begin(ctx, h)
	if err != nil {
		return // Ask will meet it again, and say so
	}
	select {
	case <-j.p.Done():
	case <-ctx.Done(): // it goes on, up to its deadline
	}
}

// Ask implements search.Strategy.
func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	p, err := s.propose(ctx, h)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	kept := p.Attachments
	p, err = s.fallback.Ask(ctx, h, err)
	p.Attachments = append(p.Attachments, kept...)
	return p, err
}

var (
	errWorking = errors.New("it is still at work")
	errResting = errors.New("it failed several times in a row, and rests")
)

// propose returns what the agent made, or why there is nothing, with what the
// agent has said.
func (s *strategy) propose(ctx context.Context, h search.History) (search.Proposal, error) {
	j, err := s.begin(ctx, h)
	if errors.Is(err, errResting) {
		s.mu.Lock()
		s.rest--
		s.mu.Unlock()
		return search.Proposal{}, err
	}
	var p search.Proposal
	if err == nil {
		if err := s.await(ctx, j); err != nil {
			return search.Proposal{}, err
		}
		p, err = s.collect(ctx, h, j)
		if ctx.Err() != nil { // it is still there for the next Ask
			return search.Proposal{}, ctx.Err()
		}
		s.mu.Lock()
		s.job = nil
		s.mu.Unlock()
		p.Attachments = []search.Attachment{{Name: "agent.log", Data: said(j.p)}}
		j.p.Close()
	} else if ctx.Err() != nil {
		return search.Proposal{}, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.faults = 0
		return p, nil
	}
	if s.faults++; s.faults > patience {
		s.rest = min(1<<(s.faults-patience), longest)
	}
	s.tools.Log.Warn("the agent has proposed nothing", "command", s.o.Command[0], "err", err, "in a row", s.faults, "rests for proposals", s.rest)
	return p, err
}

// await waits for a job to end, no longer than a free GPU should.
func (s *strategy) await(ctx context.Context, j *job) error {
	bound, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	select {
	case <-j.p.Done():
		return nil
	default:
	}
	select {
	case <-j.p.Done():
		return nil
	case <-bound.Done():
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return errWorking
}

// begin returns the job that is there, or starts one.
func (s *strategy) begin(ctx context.Context, h search.History) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.job != nil:
		return s.job, nil
	case s.rest > 0:
		return nil, errResting
	case s.tools.Start == nil || s.tools.Check == nil:
		return nil, errors.New("programs cannot be started here")
	}
	parent, err := s.sourced(ctx, h.Champion)
	if err != nil {
		return nil, err
	}
	var ideas []search.Idea
	if s.tools.Ideas != nil {
		ideas = s.tools.Ideas()
	}
	files := s.files(h, parent.Source, ideas)
	p, err := s.tools.Start(ctx, search.Command{Argv: s.o.Command, Env: s.o.Env, Network: true, Read: s.o.Read, Write: s.o.Write, Files: files, Deadline: s.o.Deadline, Output: s.o.Output})
	if err != nil {
		return nil, err
	}
	// One that does not read it has been killed, or has it in TASK.md.
	_, _ = p.Stdin().Write(files["TASK.md"])
	_ = p.Stdin().Close()
	s.job = &job{p: p, parent: parent}
	for _, idea := range ideas {
		s.job.ideas = append(s.job.ideas, idea.ID)
	}
	return s.job, nil
}

// sourced is a trial with its source, which histories do not hold.
func (s *strategy) sourced(ctx context.Context, t search.Trial) (search.Trial, error) {
	if len(t.Source) > 0 {
		return t, nil
	}
	if s.tools.Source == nil {
		return t, errors.New("the champion's source is not to be had")
	}
	var err error
	t.Source, err = s.tools.Source(ctx, t.ID)
	return t, err
}

// collect makes a proposal of what an agent has left.
func (s *strategy) collect(ctx context.Context, h search.History, j *job) (search.Proposal, error) {
	fault := func(text string) (search.Proposal, error) {
		if err := j.p.Err(); err != nil {
			text += " (" + err.Error() + ")"
		}
		return search.Proposal{}, errors.New(text)
	}
	source, err := j.p.File("train.py")
	switch {
	case err != nil:
		return fault(err.Error())
	case bytes.Equal(source, j.parent.Source):
		return fault("it left train.py as it was")
	case len(source) > sourceLimit:
		return fault(fmt.Sprintf("its train.py has %d bytes: at most %d are taken", len(source), sourceLimit))
	}
	consts, err := s.tools.Check(ctx, source)
	if err != nil {
		return fault("its train.py cannot be a trial: " + err.Error())
	}
	p := search.Proposal{Strategy: Name, Parent: j.parent.ID, Ideas: j.ideas}
	values, same := constantsOnly(j.parent.Source, j.parent.Constants, source, consts)
	if same {
		p.Values = values
		if err := rebaseValues(&p, h); err != nil {
			return fault(err.Error())
		}
		p.Description = described(h, p)
	} else if search.Fingerprint(consts) == search.Fingerprint(j.parent.Constants) && constraint.Skeleton(source, consts) == constraint.Skeleton(j.parent.Source, j.parent.Constants) {
		return fault("it has changed nothing that runs: comments, line ends and layout make no trial")
	} else {
		p.Source = source
		p.Description = "edits train.py"
		if champion, err := s.sourced(ctx, h.Champion); err == nil {
			rebaseSource(&p, consts, j.parent, champion)
		}
	}
	if words := lastWords(j.p.Output()); words != "" {
		p.Description = words
	}
	return p, nil
}

// said is what an agent has printed.
func said(p search.Process) []byte {
	out := bytes.Clone(p.Output())
	if tail := p.Tail(); tail != "" {
		out = fmt.Appendf(out, "\n--- the last of its standard error ---\n%s\n", tail)
	}
	if err := p.Err(); err != nil {
		out = fmt.Appendf(out, "\n--- %s ---\n", err)
	}
	return out
}

// lastWords are the last line of an output that is not empty.
func lastWords(output []byte) string {
	lines := strings.FieldsFunc(string(output), func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if words := fallback.Line(strings.Trim(lines[i], " \t*_#`"), 200); words != "" {
			return words
		}
	}
	return ""
}
