package supervisor

import (
	"cmp"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/study"
	"autoresearchd/metrics"
	"autoresearchd/search"
	"autoresearchd/search/prune"
)

// Status is what `status --json` prints.
type Status struct {
	Study    StudyStatus    `json:"study"`
	State    string         `json:"state"`
	Waiting  string         `json:"waiting"` // what must be mended before the study goes on; empty: nothing
	Champion *TrialStatus   `json:"champion"`
	Claim    *search.Claim  `json:"claim,omitempty"`   // what the judge says of the champion, if it can
	Confirm  *ConfirmStatus `json:"confirm,omitempty"` // where gains are confirmed, if on one class
	Pruning  *prune.Tally   `json:"pruning,omitempty"` // what came of ending hopeless trials early, if any was
	Seats    []SeatStatus   `json:"seats"`             // where trials run, also where there is one; empty where no daemon runs
	Tried    Tried          `json:"candidates"`
	Runs     int            `json:"runs"` // that are over
	Trials   TrialCounts    `json:"trials"`
	Rate     float64        `json:"rate_per_hour"`
	Next     string         `json:"next"`
	Duty     *float64       `json:"duty,omitempty"`           // share of the seats' time that was counted training, while trials were to run
	Refusal  string         `json:"reload_refused,omitempty"` // why the last reload was refused
	Check    string         `json:"check_failed,omitempty"`   // why the check gave no answer when it was asked last
	Sandbox  string         `json:"sandbox,omitempty"`        // what confines trials, in words
	Card     record.Card    `json:"card"`
}

// StudyStatus names the study.
type StudyStatus struct {
	Tag       string     `json:"tag"`
	Workspace string     `json:"workspace"`
	Strategy  string     `json:"strategy"`
	StartedAt time.Time  `json:"started_at"`
	ActiveAt  *time.Time `json:"active_at,omitempty"` // when a trial last began or ended; nil: none has
	Baseline  float64    `json:"baseline_val_bpb,omitempty"`
}

// TrialStatus is the champion in brief.
type TrialStatus struct {
	ID          int64   `json:"id"`
	Commit      string  `json:"commit"`
	ValBPB      float64 `json:"val_bpb"` // the mean of its runs
	Runs        int     `json:"runs"`    // of which it is the mean
	Claim       string  `json:"claim"`   // "confirmed", or "unconfirmed (1 of 3 paired seeds)"; "" of the study's start, or where the judge claims nothing
	Description string  `json:"description"`
	Class       string  `json:"class"` // the hardware class on which val_bpb was measured; "": not known
}

// SeatStatus is a place for one trial at a time.
type SeatStatus struct {
	Name    string         `json:"name"`              // unique in the study: "cuda:0"
	Host    string         `json:"host"`              // "" is this machine
	Device  string         `json:"device"`            // "cpu", "cuda:0"
	Class   string         `json:"class"`             // the hardware class within which scores compare: "NVIDIA H200"; "": not known yet
	Sandbox string         `json:"sandbox,omitempty"` // of a seat on another machine: what confines trials there, in words
	State   SeatState      `json:"state"`
	Since   time.Time      `json:"since"` // of the state
	Why     string         `json:"why"`   // of the state, in words; what must be mended, where it waits for that
	Trial   *RunningStatus `json:"trial"` // null: none
	Next    *RunningStatus `json:"next"`  // the one that gets ready beside the trial's evaluation; null: none
}

// SeatState is what a seat does.
type SeatState string

// The states of a seat.
const (
	SeatIdle        SeatState = "idle"        // between two trials: a proposal is made, a trial prepared
	SeatRunning     SeatState = "running"     // a trial runs
	SeatWaiting     SeatState = "waiting"     // for something that must be mended, or the end of a back-off
	SeatQuarantined SeatState = "quarantined" // its device is not fit for a trial
	SeatResting     SeatState = "resting"     // no trial is to run: the study is paused or over
)

// SeatStates lists every state.
var SeatStates = []SeatState{SeatIdle, SeatRunning, SeatWaiting, SeatQuarantined, SeatResting}

// RunningStatus is the trial in progress. Loss and throughput are as the
// script printed them.
type RunningStatus struct {
	ID           int64        `json:"id"`
	Candidate    int64        `json:"candidate"`
	Run          int          `json:"run"` // which of its candidate's it is, from 1
	Strategy     string       `json:"strategy"`
	Description  string       `json:"description"`
	Phase        search.Phase `json:"phase"`
	PhaseSeconds float64      `json:"phase_seconds"`
	Seconds      float64      `json:"seconds"`
	Progress     float64      `json:"progress"` // 0 to 1 of the budget
	Step         int          `json:"step"`
	Loss         float64      `json:"loss,omitempty"`
	TokPerSec    float64      `json:"tokens_per_second,omitempty"`
	MFU          float64      `json:"mfu,omitempty"` // 0 to 1

	Budget      search.Budget `json:"budget"`
	SecondsLeft *float64      `json:"seconds_left"`    // of the phase, estimated; nil: unknown
	Curve       [][2]float64  `json:"curve,omitempty"` // share of the budget, loss
	NaNAt       *float64      `json:"nan_at"`          // the share at which the loss was no number any more; nil: it is one
}

// Tried counts the candidates that have a finished run, by what they have come to.
type Tried struct {
	Total       int                   `json:"total"`
	Pending     int                   `json:"pending"` // promising, and to run again
	Kept        int                   `json:"kept"`
	Discarded   int                   `json:"discarded"`
	Refuted     int                   `json:"refuted"`
	Failed      int                   `json:"failed"`
	Interrupted int                   `json:"interrupted"`
	Failures    map[search.Status]int `json:"failures,omitempty"` // of those that failed, by what ended them
}

// Count counts the candidates of finished trials.
func Count(done []search.Result) Tried {
	var t Tried
	for _, c := range search.Candidates(search.History{Done: done}) {
		t.add(c)
	}
	return t
}

func (t *Tried) add(c *search.Candidate) {
	t.Total++
	switch c.Standing {
	case search.StandingPending:
		t.Pending++
	case search.StandingKept:
		t.Kept++
	case search.StandingDiscarded:
		t.Discarded++
	case search.StandingRefuted:
		t.Refuted++
	case search.StandingInterrupted:
		t.Interrupted++
	default:
		t.Failed++
		if t.Failures == nil {
			t.Failures = map[search.Status]int{}
		}
		t.Failures[c.Failure]++
	}
}

// TrialCounts counts finished trials.
type TrialCounts struct {
	Total   int `json:"total"`
	Keep    int `json:"keep"`
	Discard int `json:"discard"`
	Crash   int `json:"crash"`
}

// Running are the trials in progress, those that get ready among them, in the
// order of their seats.
func (s Status) Running() []*RunningStatus {
	var all []*RunningStatus
	for _, seat := range s.Seats {
		for _, r := range []*RunningStatus{seat.Trial, seat.Next} {
			if r != nil {
				all = append(all, r)
			}
		}
	}
	return all
}

// Board shows a study, whether it runs or not.
type Board struct {
	study  *study.Study
	config *config.Config // of one that nobody runs
	judge  search.Judge   // of one that nobody runs; nil: it cannot be known

	mu     sync.Mutex // of what is computed once a trial, as a scrape asks again and again
	tally  tally
	stands standing
}

// standing is what is known of the candidates and the champion after a number of trials.
type standing struct {
	trials int
	judge  search.Judge
	level  float64 // its val_bpb, the mean of its runs
	runs   int
	class  string  // the hardware class on which that is
	start  float64 // the baseline's, in the same way, and there if it has a score there
	tried  Tried
	pruned prune.Tally
	claim  *search.Claim // what the judge says of it, if it can

	// What was decided, as a scrape reads it; never changed.
	decisions map[search.Verdict]int64
	keeps     map[string]int64           // by strategy
	scores    map[search.Verdict]float64 // of the last candidate with each decision

	gains, confirmed int
	trained          float64   // counted seconds
	devices          []string  // of trials that took time, each once
	active           time.Time // when a trial last ended
}

// standing computes it once for the same trials and judge.
func (b *Board) standing(done []search.Result, judge search.Judge) standing {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stands.trials != len(done) || b.stands.judge != judge {
		b.stands = standing{trials: len(done), judge: judge, pruned: prune.Count(done), tried: Count(done)}
		b.stands.rule(done)
		b.stands.count(done)
		baseline, champion := search.Ends(done)
		if champion == nil {
			return b.stands
		}
		if b.stands.start, _ = baseline.ScoreOn(champion.Kind()); math.IsNaN(b.stands.start) {
			b.stands.start, _ = baseline.Score()
		}
		b.stands.class = champion.Kind()
		b.stands.level, b.stands.runs = champion.Score()
		if j, ok := judge.(search.Claimer); ok {
			claim := j.Claim(search.History{Done: done})
			b.stands.claim = &claim
		}
	}
	return b.stands
}

// count sums the trials up.
func (k *standing) count(done []search.Result) {
	for i := range done {
		t, o := &done[i].Trial, &done[i].Outcome
		if end := t.StartedAt.Add(time.Duration(o.WallSeconds * float64(time.Second))); end.After(k.active) {
			k.active = end
		}
		if k.trained += o.TrainingSeconds; o.WallSeconds > 0 && !slices.Contains(k.devices, t.Device) {
			k.devices = append(k.devices, t.Device)
		}
	}
	k.confirmed, k.gains = search.Gains(done)
	k.gains += k.confirmed
}

// sums are the tally of what is done.
func (b *Board) sums(done []search.Result) metrics.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range done[min(b.tally.n, len(done)):] {
		b.tally.add(r)
	}
	return b.tally.snapshot()
}

// peaks are the GPU memory of the last trial on each device, in bytes.
func (b *Board) peaks() map[string]float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.tally.peaks)
}

// flying is what runs at a moment.
type flying struct {
	trials  int
	trained float64  // counted seconds
	devices []string // each once
}

// flying looks at the seats. mu is held.
func (s *Supervisor) flying() flying {
	var f flying
	for _, seat := range s.seats {
		for i, r := range []*flight{seat.cur, seat.next} {
			if r == nil {
				continue
			}
			f.trials++
			f.trained += r.step.Counted
			if i == 0 || seat.cur == nil {
				f.devices = append(f.devices, seat.device.Name)
			}
		}
	}
	return f
}

// picture is what a status says of the study, with what runs only in sums.
func (b *Board) picture(c *config.Config, judge search.Judge, now flying) Status {
	about, h, champion := b.study.About(), b.study.History(), b.study.Champion()
	st := Status{
		Study: StudyStatus{Tag: about.Tag, Workspace: about.Workspace, Strategy: c.Search.Strategy, StartedAt: about.StartedAt},
		Next:  "the next proposal of " + c.Search.Strategy, Seats: []SeatStatus{},
	}
	switch {
	case b.study.Flag(journal.Ended):
		st.Next = "nothing: the study was stopped, and `autoresearchd resume` continues it"
	case b.study.Flag(journal.Paused):
		st.Next = "nothing until `autoresearchd resume`"
	case champion == nil:
		st.Next = "the baseline"
	}
	st.Runs = len(h.Done)
	for _, r := range h.Done {
		st.Trials.Total++
		switch r.Decision.Verdict {
		case search.Keep:
			st.Trials.Keep++
		case search.Discard:
			st.Trials.Discard++
		default:
			st.Trials.Crash++
		}
	}
	st.Check = unanswered(h.Done)
	known := b.standing(h.Done, judge)
	st.Tried = known.tried
	at := known.active
	for _, t := range h.Pending {
		if t.StartedAt.After(at) {
			at = t.StartedAt
		}
	}
	if !at.IsZero() {
		st.Study.ActiveAt = &at
	}
	work := b.study.Worked()
	st.Rate, st.Duty = work.PerHour(h.Done), work.Share(known.trained+now.trained)
	facts := record.Facts{
		Work: work, Share: st.Duty, Devices: slices.Clone(known.devices), Candidates: known.tried.Total, Runs: st.Trials.Total, Running: now.trials,
		Failures: known.tried.Failures, Baseline: known.start, Champion: known.level, Gains: known.gains, Confirmed: known.confirmed, Claims: known.claim != nil,
	}
	for _, name := range now.devices {
		if !slices.Contains(facts.Devices, name) {
			facts.Devices = append(facts.Devices, name)
		}
	}
	if champion != nil {
		st.Claim, st.Study.Baseline = known.claim, known.start
		if known.pruned.Condemned > 0 {
			st.Pruning = &known.pruned
		}
		st.Champion = &TrialStatus{ID: champion.Trial.ID, Commit: champion.Commit, ValBPB: known.level, Runs: known.runs, Class: known.class, Description: champion.Trial.Proposal.Description}
		if known.claim != nil {
			st.Champion.Claim = known.claim.Short()
			facts.Claim = st.Champion.Claim
		}
	}
	st.Card = facts.Card()
	return st
}

// history adds the champion's space to what is known.
func (b *Board) history(c *config.Config) search.History {
	h := b.study.History()
	if h.Champion.ID != 0 {
		// What the loop has complained of already is left out.
		h.Space, _ = search.NewSpace(h.Champion.Constants, c.Search.Overrides())
	}
	return h
}

// Read shows the study of a journal that no daemon runs now.
func Read(r *journal.Reader) (*Board, error) {
	s, err := study.Read(r)
	if err != nil {
		return nil, err
	}
	b := &Board{study: s, config: config.Default()}
	b.config.Search.Strategy = ""
	rerun := func(r search.Result) bool { return search.IsRerun(r.Trial) } // all that an older journal tells
	if s.Flag(journal.Confirms) || slices.ContainsFunc(s.History().Done, rerun) {
		if b.judge, err = search.LookupJudge(search.Confirm); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Now is the status of a study that nobody runs.
func (b *Board) Now() Status {
	now := b.picture(b.config, b.judge, flying{})
	now.State, now.Next = b.rests(), "nothing until `autoresearchd run` or `systemctl start autoresearchd`"
	switch {
	case b.study.Flag(journal.Ended):
		now.Next = "nothing: the study was stopped; `autoresearchd resume` lets the next `autoresearchd run` continue it"
	case b.study.Flag(journal.Paused):
		now.Next = "nothing: the study is paused; `autoresearchd resume` lets the next `autoresearchd run` continue it"
	}
	return now
}

// rests is the state of a study that nobody runs.
func (b *Board) rests() string {
	switch h := b.study.History(); {
	case b.study.Flag(journal.Ended):
		return "stopped"
	case b.study.Flag(journal.Paused):
		return "paused"
	case len(h.Pending) > 0:
		return "interrupted"
	case len(h.Done) == 0:
		return "not begun"
	}
	return "finished"
}

// History is what is known of it.
func (b *Board) History() search.History { return b.history(b.config) }

// Snapshot is what a scrape of it would read.
func (b *Board) Snapshot() metrics.Snapshot { return b.snapshot(b.config, b.judge) }

// Status returns a picture of now.
func (s *Supervisor) Status() any { return s.Now() }

// Now is Status with its type.
func (s *Supervisor) Now() Status {
	c, judge := s.proposer.rules()
	s.mu.Lock()
	flying := s.flying()
	s.mu.Unlock()
	st := s.board.picture(c, judge, flying)
	st.Refusal = s.proposer.refused()
	st.Sandbox, st.Confirm = s.o.Sandbox, s.confirming()
	done := s.study.History().Done
	s.mu.Lock()
	defer s.mu.Unlock()
	st.State, st.Waiting = s.doing()
	for _, seat := range s.seats {
		st.Seats = append(st.Seats, seat.status(done))
	}
	return st
}

// doing is what the study does, in the words of the seat that does most, and
// what must be mended where no seat can go on. mu is held.
func (s *Supervisor) doing() (state, waiting string) {
	best := s.seats[0]
	for _, seat := range s.seats {
		if seat.busy() > best.busy() {
			best = seat
		}
	}
	return best.state, best.why()
}

// busy ranks what a seat does. mu is held.
func (s *seat) busy() int {
	switch s.does() {
	case SeatRunning:
		return 3
	case SeatIdle:
		return 2
	case SeatResting:
		return 0
	}
	return 1
}

// does is what the seat does. mu is held.
func (s *seat) does() SeatState {
	switch {
	case s.quarantine != nil && s.cur == nil:
		return SeatQuarantined
	case s.cur != nil || s.next != nil:
		return SeatRunning
	case s.obstacle != "":
		return SeatWaiting
	case s.rests || s.s.active.IsZero():
		return SeatResting
	}
	return SeatIdle
}

// why is what must be mended before the seat goes on; empty: nothing. mu is held.
func (s *seat) why() string {
	if s.quarantine != nil {
		return s.quarantine.Error()
	}
	return s.obstacle
}

// status shows the seat. mu is held.
func (s *seat) status(done []search.Result) SeatStatus {
	st := SeatStatus{Name: s.device.Name, Host: s.device.Host, Device: cmp.Or(s.device.Local, s.device.Name), Class: s.device.Kind, Sandbox: s.device.Sandbox, State: s.does(), Since: s.since, Why: s.why()}
	points := PointsEach(len(s.s.seats))
	if s.cur != nil {
		st.Trial = s.cur.status(done, points)
	}
	if s.next != nil {
		st.Next = s.next.status(done, points)
	}
	return st
}

// duty is the share of the seats' time that was counted training since the daemon
// started; nil: none yet. mu is held.
func (s *Supervisor) duty() *float64 {
	trained := s.trained + s.flying().trained
	up := time.Since(s.started).Seconds() * float64(len(s.seats))
	if !(up > 0 && trained > 0) {
		return nil
	}
	share := min(1, trained/up)
	return &share
}

// History is what the loop knows: the champion with its space, and the finished
// trials without sources and curves, which are shared and must not be changed.
func (s *Supervisor) History() search.History {
	c, _ := s.proposer.rules()
	return s.board.history(c)
}

// Ready returns why the study cannot go on, or nil. One that a person paused or
// ended is ready: nothing is to be mended. It goes on as long as one seat does.
func (s *Supervisor) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state, waiting := s.doing(); {
	case state == "starting":
		return errors.New("starting")
	case waiting != "":
		return errors.New(waiting)
	}
	return nil
}

// Past is the status of a study that no daemon runs now, from its journal.
func Past(r *journal.Reader) (Status, error) {
	b, err := Read(r)
	if err != nil {
		return Status{}, err
	}
	return b.Now(), nil
}
