package trainer

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"autoresearchd/pyembed"
	"autoresearchd/search"
)

type module struct{ name, source string }

// The later import the earlier.
var (
	//go:embed weights.py
	weightsSource string
	//go:embed witness.py
	witnessSource string
	//go:embed boundary.py
	boundarySource string
	//go:embed bootstrap.py
	bootstrapSource string
	//go:embed warm.py
	warmSource string
	//go:embed uses.py
	usesSource string
	//go:embed constants.py
	constantsSource string
	//go:embed contract.py
	contractSource string
	//go:embed read.py
	readSource string
	//go:embed fresh.py
	freshSource string
	//go:embed notary.py
	notarySource string

	companions = []module{{"weights", weightsSource}, {"witness", witnessSource}, {"boundary", boundarySource}, {"bootstrap", bootstrapSource}, {"warm", warmSource}} // stay beside a trial
	readers    = []module{{"uses", usesSource}, {"constants", constantsSource}, {"contract", contractSource}, {"read", readSource}}                                   // read a script before there is a trial
	notaries   = []module{{"notary", notarySource}}
)

// reportEvery bounds how often steps are reported: a tiny model makes hundreds
// a second.
const reportEvery = 50 * time.Millisecond

// seat runs orders in this process's interpreter, on the thread that it was
// made on.
type seat struct {
	python *pyembed.Interpreter
	tell   func(event) error
	loaded map[string]bool // the modules, by name

	mu    sync.Mutex // the script may step on several threads
	live  bool       // an order runs; a thread of an earlier one is not heard
	start time.Time
	gate  <-chan bool            // where it waits before its first counted step; nil: nowhere
	first int                    // steps that are not counted
	proof <-chan json.RawMessage // what it is told of its proof; nil: there is none
	count
}

// count is what a seat counts of a trial.
type count struct {
	batches    int   // drawn
	fresh      int   // of them, since the last step
	tokens     int64 // of batches
	steps      int
	calls      int             // of an optimizer's step
	stepped    map[string]bool // the optimizers that have since the last step began
	standIn    bool            // there is no torch.optim optimizer: a batch is a step
	counted    time.Time       // when the steps that are not counted were over
	evaluating time.Time       // since when; zero: it trains
	paused     time.Duration   // of the time since counted, for evaluations
	scored     bool            // and neither batch nor step since
	last       time.Time       // the last step
	reported   time.Time
	told       int // the last step that was reported
}

// newSeat starts CPython as the given interpreter.
func newSeat(python string, nativeFaults bool, tell func(event) error) (*seat, error) {
	in, err := pyembed.Start(pyembed.Config{Executable: python, NativeFaults: nativeFaults})
	if err != nil {
		return nil, err
	}
	s := &seat{python: in, tell: tell, loaded: map[string]bool{}}
	in.Host("batch", s.batch)
	in.Host("step", s.step)
	in.Host("stand in", s.standsIn)
	in.Host("evaluate", s.evaluate)
	in.Host("prove", s.prove)
	for _, kind := range []string{"score", "audit", "fault"} {
		in.Host(kind, func(data []byte) ([]byte, error) { return nil, s.value(kind, data) })
	}
	return s, s.load(companions)
}

// load makes the modules, in order.
func (s *seat) load(modules []module) error {
	for _, m := range modules {
		if s.loaded[m.name] {
			continue
		}
		if err := s.python.Load("_autoresearchd_"+m.name, m.source, "<autoresearchd/"+m.name+".py>"); err != nil {
			return err
		}
		s.loaded[m.name] = true
	}
	return nil
}

func (s *seat) inspect(source []byte) (Inspection, error) {
	if at := bytes.IndexByte(source, 0); at >= 0 { // Python refuses it too, and C ends the text there
		return Inspection{Error: fmt.Sprintf("line %d: a NUL byte: train.py must be text in UTF-8", 1+bytes.Count(source[:at], []byte("\n")))}, nil
	}
	if err := s.load(readers); err != nil {
		return Inspection{}, err
	}
	answer, err := s.python.Call("_autoresearchd_read", "read", source)
	if err != nil {
		return Inspection{}, err
	}
	var i Inspection
	if err := json.Unmarshal(answer, &i); err != nil {
		return Inspection{}, fmt.Errorf("decode inspection: %w", err)
	}
	return i, nil
}

// imports calls a function of warm.py, which says why an order cannot use what
// this trainer has imported; "": it can.
func (s *seat) imports(function string, i *imports) (string, error) {
	data, err := json.Marshal(i)
	if err != nil {
		return "", fmt.Errorf("encode imports: %w", err)
	}
	why, err := s.python.Call("_autoresearchd_warm", function, data)
	return string(why), err
}

// run runs one trial and reports how it ended.
func (s *seat) run(o order, gate <-chan bool, proofs <-chan json.RawMessage) error {
	s.mu.Lock()
	s.start, s.live, s.gate, s.proof, s.first = time.Now(), true, nil, nil, o.Uncounted
	if o.Gate {
		s.gate = gate
	}
	if o.Prove {
		s.proof = proofs
	}
	s.count = count{}
	s.mu.Unlock()
	data, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encode order: %w", err)
	}
	if _, err := s.python.Call("_autoresearchd_bootstrap", "begin", data); err != nil {
		return err
	}
	exit, err := s.python.RunFile(o.Script)
	if err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.tell(event{Kind: "exit", At: s.at(), Exit: &exit}); err != nil {
		return err
	}
	if o.Last {
		return nil
	}
	_, err = s.python.Call("_autoresearchd_bootstrap", "end", nil)
	return err
}

func (s *seat) at() float64 { return time.Since(s.start).Seconds() }

// batch is called as train.py draws a training batch of so many tokens. The
// answer is not empty when nobody has stepped where a script of the usual kind
// has long begun: the caller is to look for an optimizer, and to call standsIn
// if there is none.
func (s *seat) batch(data []byte) ([]byte, error) {
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return nil, nil
	}
	now := time.Now()
	s.resume(now)
	s.tokens += n
	s.batches++
	s.fresh++
	switch {
	case s.batches == 1:
		return nil, s.enter(search.Compile)
	case s.standIn:
		return nil, s.used(now)
	case s.scored, s.steps == 0 && now.Sub(s.reported) >= reportEvery:
		s.reported, s.scored = now, false
		if err := s.tell(s.event("batch")); err != nil {
			return nil, err
		}
	}
	if s.steps == 0 && s.batches == s.first+1 {
		return []byte("?"), nil
	}
	return nil, nil
}

// standsIn makes a batch count as a step, from the next one on, until an
// optimizer of torch.optim steps after all.
func (s *seat) standsIn([]byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return nil, nil
	}
	s.standIn, s.steps = true, s.batches-2
	return nil, s.used(time.Now())
}

// used counts the batch before the last one as a step: the last is drawn, and
// still to be used. mu is held.
func (s *seat) used(now time.Time) error {
	err := s.advance(now)
	s.fresh = 1
	return err
}

// enter tells that a phase begins. mu is held.
func (s *seat) enter(p search.Phase) error {
	e := s.event("phase")
	e.Phase = p
	return s.tell(e)
}

// step is called after each step of the optimizer that data names. Several
// optimizers stepping on the same batches are one step; one that steps on them
// again begins another.
func (s *seat) step(data []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return nil, nil
	}
	now, which := time.Now(), string(data)
	s.calls++
	if s.standIn {
		s.standIn, s.steps, s.told, s.paused = false, 0, 0, 0
	} else if s.fresh == 0 && s.steps > 0 && !s.stepped[which] {
		s.stepped[which] = true
		return nil, nil
	}
	s.resume(now)
	s.stepped = map[string]bool{which: true}
	return nil, s.advance(now)
}

// advance counts a step. mu is held.
func (s *seat) advance(now time.Time) error {
	s.fresh = 0
	s.steps++
	s.last = now
	if s.steps == s.first {
		if s.gate != nil {
			if err := s.wait(); err != nil {
				return err
			}
			s.last = time.Now()
		}
		s.counted, s.paused = s.last, 0
	}
	if s.steps > s.first+1 && !s.scored && now.Sub(s.reported) < reportEvery {
		return nil
	}
	return s.report()
}

// wait stands at the gate until the daemon opens it. mu is held, so that no
// other thread of the script passes.
func (s *seat) wait() error {
	gate := s.gate
	s.gate = nil
	if err := s.report(); err != nil {
		return err
	}
	if err := s.tell(s.event("gate")); err != nil {
		return err
	}
	<-gate
	return nil
}

// resume ends the time of an evaluation. mu is held.
func (s *seat) resume(now time.Time) {
	if !s.evaluating.IsZero() {
		s.paused += now.Sub(s.evaluating)
		s.evaluating = time.Time{}
	}
}

// report tells the last step. mu is held.
func (s *seat) report() error {
	s.reported, s.told, s.scored = s.last, s.steps, false
	return s.tell(s.event("step"))
}

// event is one with all that is counted. mu is held.
func (s *seat) event(kind string) event {
	e := event{Kind: kind, At: s.at(), Step: s.steps, Batches: s.batches, Calls: s.calls, StandIn: s.standIn, Tokens: s.tokens}
	if s.steps > s.first {
		e.Counted = (s.last.Sub(s.counted) - s.paused).Seconds()
	}
	return e
}

// flush tells a step that was held back.
func (s *seat) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = false
	if s.told == s.steps {
		return nil
	}
	return s.report()
}

// evaluate is called when evaluate_bpb is.
func (s *seat) evaluate([]byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return nil, nil
	}
	now := time.Now()
	if s.standIn && s.fresh > 0 { // the last batch is used
		s.steps, s.last, s.fresh = s.steps+1, now, 0
	}
	if s.told != s.steps {
		if err := s.report(); err != nil {
			return nil, err
		}
	}
	s.resume(now)
	s.evaluating = now
	return nil, s.enter(search.Evaluate)
}

// prove tells what the trial says of its proof, and waits for the answer; none
// where nothing is proven.
func (s *seat) prove(data []byte) ([]byte, error) {
	s.mu.Lock()
	if !s.live || s.proof == nil {
		s.mu.Unlock()
		return nil, nil
	}
	e, answers := s.event("prove"), s.proof
	e.Say = data
	err := s.tell(e)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return <-answers, nil
}

// value tells what was evaluated.
func (s *seat) value(kind string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return nil
	}
	s.resume(time.Now())
	s.scored = true
	e := s.event(kind)
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	e.Kind = kind
	return s.tell(e)
}

// command is that of this binary which leads to Main.
const command = "trainer"

// confined ends the arguments of a seat that first confines itself; those
// before it are the paths that it gives up.
const confined = "confined"
