package main

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/terminal"
	"autoresearchd/daemon/webhook"
	"autoresearchd/search"
)

// receiver keeps what is sent to it.
type receiver struct {
	*httptest.Server
	mu  sync.Mutex
	all []string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all = append(r.all, string(body))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) texts(t *testing.T) (out []webhook.Notice) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range r.all {
		var n webhook.Notice
		must(t, json.Unmarshal([]byte(body), &n))
		out = append(out, n)
	}
	return out
}

// TestNotices runs a study that finds a better champion, and ends, with a
// webhook; its format is changed by a reload.
func TestNotices(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := newStudy(t)
	table := func(format string) string {
		return "[notify]\nwebhook = \"" + r.URL + "/T0/s3cr3t\"\nformat = \"" + format + "\"\n"
	}
	s.configure(table("json"))
	if out, _, _ := s.cli("doctor"); !strings.Contains(out, "champion, tampered, stall, end go to "+r.URL+"/…") || strings.Contains(out, "s3cr3t") {
		t.Errorf("doctor says\n%s", out)
	}
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start("--trials", "2")
	s.training(2)
	s.ok("suggest", "--set", "MATRIX_LR=0.05")
	s.ok("cancel")
	d.until("trial ends")
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	got := r.texts(t)
	if len(got) != 3 || got[0].Event != "end" || got[1].Event != "champion" || got[2].Event != "end" {
		t.Fatalf("told %+v", got)
	}
	if c := got[1].Champion; c == nil || c.ID != 3 || c.ValBPB != 2.02 || !strings.Contains(got[1].Text, "new champion, val_bpb 2.020000, one run of candidate 3 (suggested: MATRIX_LR 0.04 -> 0.05); gain 0.010000") {
		t.Errorf("told %+v", got[1])
	}
	if !strings.Contains(got[2].Text, "done: the trials that were asked for have run; 3 candidates in 3 runs: 2 kept, 0 discarded, 1 interrupted; best val_bpb 2.020000, one run of candidate 3 (suggested: MATRIX_LR 0.04 -> 0.05); gain 0.010000") {
		t.Errorf("told %q", got[2].Text)
	}

	s.hold()
	d = s.start()
	s.training(4)
	s.configure(table("slack"))
	must(t, d.Process.Signal(syscall.SIGHUP))
	d.until("the configuration was reloaded")
	must(t, d.Process.Signal(syscall.SIGTERM))
	s.open()
	if code := d.end(); code != 0 {
		t.Fatalf("ended with %d", code)
	}
	if got := r.texts(t); len(got) != 4 || got[3].Event != "" || !strings.Contains(got[3].Text, "the daemon was stopped; 4 candidates in 4 runs") {
		t.Errorf("told %+v", got[3:])
	}
	for d.said[len(d.said)-1] != "" {
		line, ok := <-d.lines
		if !ok {
			break
		}
		d.said = append(d.said, line)
	}
	if all := strings.Join(d.said, "\n"); strings.Contains(all, "s3cr3t") {
		t.Errorf("the log holds the secret:\n%s", all)
	}
}

// TestNoticeOfACandidate tells of a champion once, when it is decided: not of the
// run that was promising, and not of one that only makes its mean surer.
func TestNoticeOfACandidate(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	c := config.Default().Notify
	c.Webhook = r.URL
	hook := webhook.New(c, slog.New(slog.DiscardHandler))
	n := newNotices(hook, c)
	n.study = func() supervisor.Status { return watchedStudy().now }
	all := watched()
	again := all[5]
	again.Trial.ID, again.Decision.Verdict = 8, search.Discard
	back := again
	back.Trial.ID, back.Decision.Verdict = 9, search.Keep
	lie := again
	lie.Trial.ID, lie.Trial.Candidate, lie.Trial.Proposal = 10, 10, search.Proposal{Strategy: "llm", Description: "a loss\x1b[2J of zero"}
	lie.Outcome = search.Outcome{Status: search.Tampered, Detail: "its losses are not those of its own logits"}
	lie.Decision = search.Decision{Verdict: search.Crash, Reason: "tampered: " + lie.Outcome.Detail}
	var done []search.Result
	for _, rec := range append(all, again, back, lie) {
		e := study.Ending{Record: rec}
		e.Of, e.Settled = search.Ended(done, rec.Result)
		done = append(done, rec.Result)
		n.finished(e)
		if line := (&terminal.Terminal{}).Render(runLine(e, notable{})); rec.Trial.ID > 7 && rec.Trial.ID < 10 && strings.Contains(line, ", the champion again") != (rec.Trial.ID == 9) {
			t.Errorf("trial %d has the line %s", rec.Trial.ID, line)
		}
	}
	hook.Close(t.Context())
	got := r.texts(t)
	if len(got) != 3 || got[2].Event != "tampered" || !strings.HasSuffix(got[2].Text, ": trial 10 (a loss\ufffd[2J of zero) did not earn its score: its losses are not those of its own logits") {
		t.Fatalf("told %+v", got)
	}
	if !strings.Contains(got[1].Text, ": the champion again, val_bpb 0.984100, ") || got[0].Event != "champion" || got[0].Champion.ID != 4 || got[0].Champion.Runs != 2 || got[0].Candidates.Kept != 2 || got[0].Runs != 7 ||
		!strings.HasSuffix(got[0].Text, ": new champion, val_bpb 0.984100, the mean of 2 runs of candidate 4 (MATRIX_LR 0.04 -> 0.052); gain 0.013800, unconfirmed (0 of 3 paired seeds)") {
		t.Errorf("told %+v", got)
	}
}

func TestStall(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	c := config.Default().Notify
	c.Webhook = r.URL
	hook := webhook.New(c, slog.New(slog.DiscardHandler))
	n := newNotices(hook, c)
	n.study = func() supervisor.Status {
		return supervisor.Status{State: "waiting 10m: 6 in a row failed\x1b[2J"}
	}
	begin := time.Now()
	scored := study.Ending{}
	scored.Outcome.Status, scored.Outcome.ValBPB = search.Completed, 1
	n.look(begin.Add(29*time.Minute), begin)
	n.look(begin.Add(time.Hour), time.Time{}) // paused
	n.look(begin.Add(31*time.Minute), begin)
	n.look(begin.Add(45*time.Minute), begin) // it was told
	n.finished(scored)                       // just now
	n.look(begin.Add(29*time.Minute), begin)
	n.finished(study.Ending{Record: journal.Record{Result: search.Result{Outcome: search.Outcome{Status: search.Crashed}}}})
	n.look(begin.Add(40*time.Minute), begin)
	hook.Close(t.Context())
	got := r.texts(t)
	if len(got) != 2 || got[0].Event != "stall" || !strings.Contains(got[0].Text, "no trial has had a score for 31m00s; the study is waiting 10m: 6 in a row failed\ufffd[2J") {
		t.Errorf("told %+v", got)
	}
}
