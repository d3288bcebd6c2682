package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// running is what is known of the trial in progress.
type running struct {
	trial    search.Trial
	phase    search.Phase
	since    time.Time // when the phase began
	step     trainer.Step
	progress trainer.Progress
	curve    [][2]float64 // share of the budget, loss
	memory   int64        // bytes of GPU memory that its processes held
	measured time.Time    // when they did
	peak     int64        // the most of it so far
}

// share returns the part of the budget that is spent, 0 to 1.
func (r *running) share() float64 {
	switch b := r.trial.Budget; {
	case b.Steps > 0:
		return min(1, float64(max(0, r.step.Number-trainer.Uncounted))/float64(b.Steps))
	case b.Seconds > 0:
		return min(1, r.step.Counted/b.Seconds)
	}
	return 0
}

// livePoints is how long the curve of the running trial may become before every
// second point is left out.
const livePoints = 300

// minPoints is how many a curve keeps however many seats there are.
const minPoints = 30

// draw adds to the curve what was last heard.
func (r *running) draw() {
	at := r.share()
	if n := len(r.curve); n > 0 && r.curve[n-1][0] >= at || at == 0 || math.IsNaN(r.progress.Loss) || math.IsInf(r.progress.Loss, 0) {
		return
	}
	if r.curve = append(r.curve, [2]float64{at, r.progress.Loss}); len(r.curve) > livePoints {
		half := (len(r.curve) + 1) / 2 // with the first and the last
		for i := range half {
			r.curve[i] = r.curve[2*i]
		}
		r.curve = r.curve[:half]
	}
}

// left estimates the seconds until the phase is over: from the budget while it
// trains, else from the same phase of the last trial that had one; nil: unknown.
func (r *running) left(done []search.Result) *float64 {
	var left float64
	elapsed := time.Since(r.since).Seconds()
	if b := r.trial.Budget; r.phase == search.Train {
		share := r.share()
		switch {
		case b.Steps == 0:
			left = b.Seconds - r.step.Counted
		case share == 0:
			return nil
		default:
			left = r.step.Counted * (1/share - 1)
		}
		left = max(0, left)
		return &left
	}
	for i := len(done) - 1; i >= 0; i-- {
		if took, ok := done[i].Outcome.Phases[r.phase]; ok {
			left = max(0, took-elapsed)
			return &left
		}
	}
	return nil
}

// observe takes in what the trainer tells.
func (s *Supervisor) observe(log *slog.Logger, e trainer.Event) {
	s.o.Progress()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.running
	if r == nil {
		return
	}
	enter := func(p search.Phase) {
		if r.phase != p {
			r.phase, r.since = p, time.Now()
			log.Debug("phase", "phase", p)
		}
	}
	switch {
	case e.Phase != "":
		enter(e.Phase)
	case e.Step != nil:
		enter(search.Train)
		r.step = *e.Step
	case e.Progress != nil:
		r.progress = *e.Progress
		r.draw()
	case e.Memory > 0:
		r.memory, r.measured, r.peak = e.Memory, time.Now(), max(r.peak, e.Memory)
	case e.Kill != nil:
		log.Warn("the watchdog killed the trial", "phase", e.Kill.Phase, "cause", e.Kill.Cause, "seconds", e.Kill.Seconds, "gpu seconds", e.Kill.GPU)
		if s.o.Meter != nil {
			s.o.Meter.ObserveKill(e.Kill.Phase, e.Kill.Cause, time.Duration(e.Kill.Seconds*float64(time.Second)))
		}
	}
}

// Status is what `status --json` prints.
type Status struct {
	Study    StudyStatus   `json:"study"`
	State    string        `json:"state"`
	Waiting  string        `json:"waiting"` // what must be mended before the study goes on; empty: nothing
	Champion *TrialStatus  `json:"champion"`
	Claim    *search.Claim `json:"claim,omitempty"` // what the judge says of the champion, if it can
	Seats    []SeatStatus  `json:"seats"`           // where trials run, also where there is one; empty where no daemon runs
	Trials   TrialCounts   `json:"trials"`
	Rate     float64       `json:"rate_per_hour"`
	Next     string        `json:"next"`
	Duty     *float64      `json:"duty,omitempty"`           // share of the daemon's time that was counted training
	Refusal  string        `json:"reload_refused,omitempty"` // why the last reload was refused
}

// StudyStatus names the study.
type StudyStatus struct {
	Tag       string    `json:"tag"`
	Workspace string    `json:"workspace"`
	Strategy  string    `json:"strategy"`
	StartedAt time.Time `json:"started_at"`
	Baseline  float64   `json:"baseline_val_bpb,omitempty"`
}

// TrialStatus is one trial in brief.
type TrialStatus struct {
	ID          int64   `json:"id"`
	Commit      string  `json:"commit"`
	ValBPB      float64 `json:"val_bpb"` // of the champion: the mean of its runs
	Description string  `json:"description"`
}

// SeatStatus is a place for one trial at a time.
type SeatStatus struct {
	Name   string         `json:"name"`   // unique in the study: "cuda:0"
	Host   string         `json:"host"`   // "" is this machine
	Device string         `json:"device"` // "cpu", "cuda:0"
	State  SeatState      `json:"state"`
	Since  time.Time      `json:"since"` // of the state
	Why    string         `json:"why"`   // of the state, in words; what must be mended, where it waits for that
	Trial  *RunningStatus `json:"trial"` // null: none
	Next   *RunningStatus `json:"next"`  // the one that gets ready beside the trial's evaluation; null: none
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

// Status returns a picture of now.
func (s *Supervisor) Status() any { return s.Now() }

// Now is Status with its type.
func (s *Supervisor) Now() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Status{
		Study: StudyStatus{Tag: s.study.Tag, Workspace: s.study.Workspace, Strategy: s.config.Search.Strategy, StartedAt: s.study.StartedAt},
		State: s.state, Waiting: s.obstacle, Duty: s.duty(), Refusal: s.refusal, Next: "the next proposal of " + s.config.Search.Strategy,
	}
	if s.quarantine != nil {
		st.Waiting = s.quarantine.Error()
	}
	switch {
	case s.ended:
		st.Next = "nothing: the study has ended"
	case s.paused:
		st.Next = "nothing until `autoresearchd resume`"
	case s.champion == nil:
		st.Next = "the baseline"
	}
	var first, last time.Time
	finished := 0
	for _, r := range s.done {
		st.Trials.Total++
		switch r.Decision.Verdict {
		case search.Keep:
			st.Trials.Keep++
		case search.Discard:
			st.Trials.Discard++
		default:
			st.Trials.Crash++
		}
		if bpb, ok := r.Score(); ok && st.Study.Baseline == 0 {
			st.Study.Baseline = bpb
		}
		if r.Outcome.WallSeconds > 0 {
			if finished == 0 {
				first = r.Trial.StartedAt
			}
			finished++
			last = r.Trial.StartedAt.Add(time.Duration(r.Outcome.WallSeconds * float64(time.Second)))
		}
	}
	if span := last.Sub(first).Hours(); finished > 0 && span > 0 {
		st.Rate = float64(finished) / span
	}
	if c := s.champion; c != nil {
		known := s.standing()
		st.Claim = known.claim
		st.Champion = &TrialStatus{ID: c.Trial.ID, Commit: c.Commit, ValBPB: known.level, Description: c.Trial.Proposal.Description}
	}
	st.Seats = []SeatStatus{}
	if s.o.Trainer != nil {
		seat := SeatStatus{Name: s.o.Device, Device: s.o.Device, State: s.seatState(), Since: s.active, Why: st.Waiting}
		if r := s.running; r != nil {
			seat.Since, seat.Trial = r.trial.StartedAt, r.status(s.done, pointsEach(1))
		}
		st.Seats = append(st.Seats, seat)
	}
	return st
}

// status is what is shown of the trial, its curve in so many points or fewer.
func (r *running) status(done []search.Result, points int) *RunningStatus {
	return &RunningStatus{
		ID: r.trial.ID, Strategy: r.trial.Proposal.Strategy, Description: r.trial.Proposal.Description, Phase: r.phase,
		PhaseSeconds: time.Since(r.since).Seconds(), Seconds: time.Since(r.trial.StartedAt).Seconds(),
		Progress: r.share(), Step: r.step.Number, Loss: r.progress.Loss, TokPerSec: r.progress.TokPerSec, MFU: r.progress.MFU / 100,
		Budget: r.trial.Budget, SecondsLeft: r.left(done), Curve: thinned(r.curve, points),
	}
}

// thinned is a copy of a curve with the first and the last of its points, and
// in all no more than most, which are spread evenly.
func thinned(curve [][2]float64, most int) [][2]float64 {
	if len(curve) <= most {
		return slices.Clone(curve)
	}
	out := make([][2]float64, most)
	for i := range out {
		out[i] = curve[i*(len(curve)-1)/(most-1)]
	}
	return out
}

// pointsEach is how long the curve of each of so many seats may be, so that a
// status stays small beside many.
func pointsEach(seats int) int { return max(minPoints, livePoints*4/max(4, seats)) }

// seatState is what the one seat does. mu is held.
func (s *Supervisor) seatState() SeatState {
	switch {
	case s.quarantine != nil:
		return SeatQuarantined
	case s.running != nil:
		return SeatRunning
	case s.obstacle != "":
		return SeatWaiting
	case s.active.IsZero():
		return SeatResting
	}
	return SeatIdle
}

// duty is the share of the daemon's time that was counted training; nil: none yet.
func (s *Supervisor) duty() *float64 {
	trained := s.trained
	if s.running != nil {
		trained += s.running.step.Counted
	}
	up := time.Since(s.started).Seconds()
	if !(up > 0 && trained > 0) {
		return nil
	}
	share := min(1, trained/up)
	return &share
}

// History is what the loop knows: the champion with its space, and the finished
// trials without sources and curves, which are shared and must not be changed.
func (s *Supervisor) History() search.History {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := search.History{Done: s.done[:len(s.done):len(s.done)]}
	if s.champion != nil {
		h.Champion = s.champion.Trial
		// What the loop has complained of already is left out.
		h.Space, _ = search.NewSpace(s.champion.Trial.Constants, s.config.Search.Overrides())
	}
	return h
}

// standing is what is known of the champion after a number of trials.
type standing struct {
	trials int
	level  float64       // its val_bpb, the mean of its runs
	claim  *search.Claim // what the judge says of it, if it can
}

// standing computes it once a trial, as a scrape asks again and again. mu is held.
func (s *Supervisor) standing() standing {
	if s.stands.trials != len(s.done) {
		levels := search.Levels(s.done)
		s.stands = standing{trials: len(s.done), level: levels[len(levels)-1]}
		if j, ok := s.judge.(search.Claimer); ok {
			claim := j.Claim(search.History{Done: s.done})
			s.stands.claim = &claim
		}
	}
	return s.stands
}

// Pause stops the loop after the current trial; it stays so over restarts.
func (s *Supervisor) Pause(context.Context) error { return s.hold(true) }

// Resume lets a paused or ended study go on.
func (s *Supervisor) Resume(context.Context) error { return s.hold(false) }

func (s *Supervisor) hold(paused bool) error {
	if err := s.o.Journal.SetFlag(journal.Paused, paused); err != nil {
		return err
	}
	if !paused {
		if err := s.o.Journal.SetFlag(journal.Ended, false); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused, s.ended = paused, s.ended && paused
	s.poke()
	return nil
}

// Cancel ends the running trial, which is recorded as interrupted.
func (s *Supervisor) Cancel(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel == nil {
		return fmt.Errorf("no trial is running: the study is %s", s.state)
	}
	s.cancel()
	return nil
}

// Stop ends the study after the current trial.
func (s *Supervisor) Stop(context.Context) error {
	if err := s.o.Journal.SetFlag(journal.Ended, true); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.poke()
	return nil
}

// Suggest queues values of constants for the next proposal and says in words
// what was queued.
func (s *Supervisor) Suggest(_ context.Context, values map[string]search.Value) (string, error) {
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	if champion == nil {
		return "", fmt.Errorf("there is no champion to change yet: suggest again after the baseline")
	}
	// What cannot be applied is refused now, not when its turn comes.
	source, err := s.o.Journal.Source(champion.Trial.ID)
	if err != nil {
		return "", err
	}
	if _, err := search.Patch(source, champion.Trial.Constants, values); err != nil {
		return "", err
	}
	words := describe(champion.Trial.Constants, values)
	if _, err := s.o.Journal.Suggest(journal.Suggestion{Kind: kindValues, Text: words, Values: values, At: time.Now()}); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.poke()
	return "queued: " + words, nil
}

// longestIdea is how long a suggestion in words may be, in bytes.
const longestIdea = 4000

// SuggestText queues an idea in words for a strategy that can read, and says
// what will be done with it.
func (s *Supervisor) SuggestText(_ context.Context, text string) (string, error) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\ufffd"))
	s.mu.Lock()
	c := s.config
	if s.next != nil {
		c = s.next
	}
	s.mu.Unlock()
	const instead = ", or suggest values with `suggest --set NAME=VALUE`"
	switch {
	case text == "":
		return "", fmt.Errorf("the suggestion is empty")
	case len(text) > longestIdea:
		return "", fmt.Errorf("the suggestion is %d bytes long, at most %d are taken", len(text), longestIdea)
	case s.o.Model == nil || !c.LLM.Enabled:
		return "", fmt.Errorf("a suggestion in words needs a language model, and [llm] is not enabled: set enabled = true, base_url and models there and reload" + instead)
	case !slices.Contains([]string{"llm", "portfolio", "agent"}, c.Search.Strategy):
		return "", fmt.Errorf("strategy %s does not read words: set search.strategy to \"llm\" or \"portfolio\" and reload%s", c.Search.Strategy, instead)
	}
	if _, err := s.o.Journal.Suggest(journal.Suggestion{Kind: kindText, Text: text, At: time.Now()}); err != nil {
		return "", err
	}
	return "queued: a model is asked for a proposal that carries it out", nil
}

// poke wakes the loop. mu is held.
func (s *Supervisor) poke() {
	close(s.wake)
	s.wake = make(chan struct{})
}

// Reload puts a configuration in force between two trials. It is refused, and
// the old one stays, where it changes what needs a restart.
func (s *Supervisor) Reload(c *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := config.Reloadable(s.config, c)
	if err == nil {
		_, _, err = s.plugins(c)
	}
	if err != nil {
		s.refusal = err.Error()
		return err
	}
	s.refusal = ""
	s.next = c
	s.poke()
	return nil
}

// ReloadFailed notes why there was no sound configuration to reload.
func (s *Supervisor) ReloadFailed(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = why.Error()
}

// reload is the loop's side of Reload.
func (s *Supervisor) reload() {
	s.mu.Lock()
	c := s.next
	s.next = nil
	done := s.done[:s.told]
	s.mu.Unlock()
	if c == nil {
		return
	}
	strategy, judge, err := s.plugins(c)
	if err != nil {
		s.o.Log.Error("the new configuration was not put in force", "err", err)
		s.ReloadFailed(err)
		return
	}
	for _, r := range done {
		strategy.Tell(r)
	}
	s.retire()
	s.mu.Lock()
	s.config, s.strategy, s.judge, s.reloaded = c, strategy, judge, time.Now()
	s.stands = standing{}
	s.mu.Unlock()
	s.weigh()
	s.o.Log.Info("configuration reloaded", "strategy", c.Search.Strategy, "judge", c.Judge.Rule)
}

// Ready returns why the study cannot go on, or nil. One that a person paused or
// ended is ready: nothing is to be mended.
func (s *Supervisor) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state == "starting":
		return fmt.Errorf("starting")
	case s.quarantine != nil:
		return s.quarantine
	case s.obstacle != "":
		return errors.New(s.obstacle)
	}
	return nil
}

// Past is the status of a study that no daemon runs now, from its journal.
func Past(r *journal.Reader) (Status, error) {
	s, err := Read(r)
	if err != nil {
		return Status{}, err
	}
	now := s.Now()
	now.Next = "nothing until `autoresearchd run` or `systemctl start autoresearchd`"
	return now, nil
}

// Read makes a Supervisor out of a journal. It can be looked at, and not run.
func Read(r *journal.Reader) (*Supervisor, error) {
	study, ok, err := r.Study()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w here yet: start one with `autoresearchd run`", journal.ErrNoStudy)
	}
	s := &Supervisor{study: study, config: config.Default(), commits: map[int64]string{}, state: "not running"}
	s.config.Search.Strategy = ""
	if s.paused, err = r.Flag(journal.Paused); err != nil {
		return nil, err
	}
	if s.ended, err = r.Flag(journal.Ended); err != nil {
		return nil, err
	}
	records, err := r.Trials()
	if err != nil {
		return nil, err
	}
	for _, rec := range records {
		if rec.Stage.Reached(search.StageDecided) {
			s.note(rec)
		}
	}
	if slices.ContainsFunc(s.done, func(r search.Result) bool { return search.IsRerun(r.Trial) }) {
		if s.judge, err = search.LookupJudge(search.Confirm); err != nil {
			return nil, err
		}
	}
	return s, nil
}
