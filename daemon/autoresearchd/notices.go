package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/daemon/webhook"
	"autoresearchd/search"
)

// notices decides what of a study is told to the webhook.
type notices struct {
	hook  *webhook.Sender
	host  string
	study func() supervisor.Status // nil before the study is open

	mu      sync.Mutex
	stall   time.Duration
	scored  time.Time // when a trial last had a score
	stalled bool      // it was told
	ran     bool      // a trial has ended since the daemon began
	ended   bool      // it was told
}

func newNotices(hook *webhook.Sender, c config.Notify) *notices {
	host, _ := os.Hostname()
	return &notices{hook: hook, host: host, stall: c.Stall}
}

func (n *notices) configure(c config.Notify) {
	n.hook.Configure(c)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stall = c.Stall
}

func (n *notices) send(event, state, format string, args ...any) {
	now := n.study()
	t := now.Tried
	out := webhook.Notice{
		Event: event, Time: time.Now().UTC(), Host: n.host, Study: now.Study.Tag, State: terminal.Inert(state), Baseline: now.Study.Baseline, Runs: now.Runs,
		Candidates: webhook.Candidates{Total: t.Total, Kept: t.Kept, Discarded: t.Discarded + t.Refuted, Failed: t.Failed, Pending: t.Pending + t.Interrupted},
		Text:       terminal.Inert(fmt.Sprintf("%s on %s: %s", now.Study.Tag, n.host, fmt.Sprintf(format, args...))),
	}
	if c := now.Champion; c != nil {
		out.Champion = &webhook.Champion{ID: c.ID, Commit: c.Commit, ValBPB: c.ValBPB, Runs: c.Runs, Gain: now.Study.Baseline - c.ValBPB, Claim: c.Claim, Description: foreign(c.Description)}
	}
	n.hook.Send(out)
}

// finished looks at a trial that has ended. The first champion, which nothing
// was better than, is no news.
func (n *notices) finished(e study.Ending) {
	n.mu.Lock()
	n.ran, n.ended = true, false
	if _, ok := e.Score(); ok {
		n.scored, n.stalled = time.Now(), false
	}
	n.mu.Unlock()
	now := n.study()
	for _, c := range e.Settled {
		if c.Standing == search.StandingKept && now.Champion != nil && now.Champion.ID == c.ID && now.Tried.Kept > 1 {
			n.send("champion", now.State, "new champion, %s", championWords(now))
		}
	}
	if e.Outcome.Status == search.Tampered {
		n.send("tampered", now.State, "trial %d (%s) did not earn its score: %s", e.Trial.ID, foreign(e.Of.Description), foreign(e.Outcome.Detail))
	}
	if e.Back() && now.Champion != nil {
		n.send("champion", now.State, "the champion again, %s", championWords(now))
	}
}

// look tells of a study that has had no score for too long. active is since
// when its trials are to run; zero: they are not.
func (n *notices) look(now, active time.Time) {
	n.mu.Lock()
	since := active
	if n.scored.After(since) {
		since = n.scored
	}
	late := !active.IsZero() && now.Sub(since) >= n.stall && !n.stalled
	if late {
		n.stalled = true
	}
	n.mu.Unlock()
	if late {
		state := n.study().State
		n.send("stall", state, "no trial has had a score for %s; the study is %s", ago(now.Sub(since)), foreign(state))
	}
}

// over tells of the study's end, or the daemon's, whichever comes first. That a
// study is over which was so before the daemon began is no news.
func (n *notices) over(why string) {
	n.mu.Lock()
	news := n.ran && !n.ended
	n.ended = true
	n.mu.Unlock()
	if !news {
		return
	}
	now := n.study()
	words := sentence(now)
	if now.Champion != nil {
		words += "; best " + championWords(now)
	}
	told := why
	if why == "ended" {
		told = stopped
	}
	n.send("end", why, "%s; %s", told, words)
}

// watch looks now and then until ctx ends.
func (n *notices) watch(ctx context.Context, s *supervisor.Supervisor) {
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n.look(now, s.Active())
		}
	}
}
