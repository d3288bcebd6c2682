package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
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
	t := now.Trials
	out := webhook.Notice{
		Event: event, Time: time.Now().UTC(), Host: n.host, Study: now.Study.Tag, State: terminal.Inert(state), Baseline: now.Study.Baseline,
		Trials: webhook.Trials{Total: t.Total, Keep: t.Keep, Discard: t.Discard, Crash: t.Crash},
		Text:   terminal.Inert(fmt.Sprintf("%s on %s: %s", now.Study.Tag, n.host, fmt.Sprintf(format, args...))),
	}
	if c := now.Champion; c != nil {
		out.Champion = &webhook.Champion{ID: c.ID, Commit: c.Commit, ValBPB: c.ValBPB, Gain: now.Study.Baseline - c.ValBPB, Description: foreign(c.Description)}
		if now.Claim != nil {
			out.Champion.Claim = now.Claim.Words
		}
	}
	n.hook.Send(out)
}

// finished looks at a trial that has ended. The first champion, which nothing
// was better than, is no news.
func (n *notices) finished(r journal.Record) {
	n.mu.Lock()
	n.ran, n.ended = true, false
	if _, ok := r.Score(); ok {
		n.scored, n.stalled = time.Now(), false
	}
	n.mu.Unlock()
	now := n.study()
	if c := now.Champion; c != nil && r.Decision.Verdict == search.Keep && c.ID == r.Trial.Candidate && now.Trials.Keep > 1 {
		n.send("champion", now.State, "new champion, val_bpb %.6f by trial %d, %.6f below the baseline: %s", c.ValBPB, c.ID, now.Study.Baseline-c.ValBPB, foreign(c.Description))
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
	if c := now.Champion; c != nil {
		words += fmt.Sprintf("; best val_bpb %.6f by trial %d", c.ValBPB, c.ID)
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
