package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
	"autoresearchd/search/fallback"
)

const (
	// checkDeadline is the time that a check has. Trials that end meanwhile wait for it.
	checkDeadline = 10 * time.Minute
	checkOutput   = 16 << 10 // bytes of its standard output that are read
	checkWords    = 200      // runes of its last line that are recorded
	checkBeat     = 5 * time.Second
)

// rules are how the seat's trials are decided: by the judge, and by the command
// of [judge] check before there is a new champion.
func (s *seat) rules() study.Rules {
	c, judge := s.s.proposer.rules()
	if len(c.Judge.Check) == 0 {
		return study.Rules{Judge: judge}
	}
	return study.Rules{Judge: judge, Check: func(ctx context.Context, q search.Question) (search.Answer, error) {
		s.s.mu.Lock()
		before := s.state
		s.s.mu.Unlock()
		s.say(fmt.Sprintf("asking the check %s about candidate %d", c.Judge.Check[0], q.Candidate))
		defer s.say(before)
		return s.s.check(ctx, c.Judge, q)
	}}
}

// check runs the command and reads its answer. What is no answer, since it
// cannot start, hangs or dies of a signal, is one too, and said loudly. The error
// is ctx's, once nobody waits any more.
func (s *Supervisor) check(ctx context.Context, rules config.Judge, q search.Question) (search.Answer, error) {
	var a search.Answer
	log := s.o.Log.With("command", rules.Check[0], "candidate", q.Candidate)
	p, err := s.ask(ctx, rules, q)
	if p != nil {
		defer p.Close()
		a.Words = lastLine(p)
	}
	var exit interface{ ExitCode() int }
	switch {
	case ctx.Err() != nil:
		return a, ctx.Err()
	case err == nil:
		a.Agrees, a.Ended = true, "exit status 0"
	case p != nil && errors.As(err, &exit) && exit.ExitCode() > 0:
		a.Ended = err.Error()
	default:
		a.Failed, a.Ended = true, err.Error()
	}
	switch {
	case a.Failed:
		log.Error("the check gives no answer, so a candidate is not kept", "err", a.Ended, "words", a.Words)
	case !a.Agrees:
		log.Warn("the check vetoes a candidate", "err", a.Ended, "words", a.Words)
	}
	return a, nil
}

// ask starts the command, and returns when it has ended, with how.
func (s *Supervisor) ask(ctx context.Context, rules config.Judge, q search.Question) (search.Process, error) {
	question, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if s.o.Start == nil {
		return nil, errors.New("programs cannot be started here")
	}
	p, err := s.o.Start(ctx, search.Command{Argv: rules.Check, Network: rules.CheckNetwork, Folders: []string{q.Folder}, Deadline: checkDeadline, Output: checkOutput})
	if err != nil {
		return nil, err
	}
	go func() { // ends with the program at the latest
		_, _ = p.Stdin().Write(append(question, '\n'))
		_ = p.Stdin().Close()
	}()
	beat := time.NewTicker(checkBeat)
	defer beat.Stop()
	for {
		select {
		case <-p.Done():
			return p, p.Err()
		case <-ctx.Done():
			p.Kill()
			return p, ctx.Err()
		case <-beat.C:
			s.o.Progress()
		}
	}
}

// unanswered says that the check gave no answer when it was asked last; "" if it did.
func unanswered(done []search.Result) string {
	for _, r := range slices.Backward(done) {
		if a := r.Decision.Answer; a != nil {
			if a.Failed {
				return fmt.Sprintf("no answer about candidate %d, which is not kept: %s", r.Trial.Candidate, a.Ended)
			}
			break
		}
	}
	return ""
}

// lastLine is what a program said last: on its standard output, else on the other.
func lastLine(p search.Process) string {
	for _, text := range []string{string(bytes.TrimSpace(p.Output())), strings.TrimSpace(p.Tail())} {
		if text != "" {
			return fallback.Line(text[strings.LastIndexByte(text, '\n')+1:], checkWords)
		}
	}
	return ""
}
