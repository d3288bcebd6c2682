package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// move is a trial's beginning, or its end with its decision.
type move struct {
	ends bool
	id   int64
}

// director is a trainer that has the trials of several seats begin and end one
// at a time, and in a certain order. It keeps the order in a file, so that it
// goes on after a SIGKILL, and another study can follow it.
type director struct {
	seats    int
	journal  *journal.Journal
	outcomes map[int64]search.Outcome
	script   []move           // to follow; nil: the director's own choice
	places   map[int64]string // the devices of the script's trials; nil: any
	file     *os.File

	mu      sync.Mutex
	turn    *sync.Cond
	moves   []move
	moving  bool           // one is under way
	running []int64        // in the order of their beginnings
	spared  map[string]int // calls of fit to come that are about the end of a trial
	scored  bool           // the study has a champion
}

func movesFile(dir string) string { return filepath.Join(dir, "moves") }

func readMoves(dir string) ([]move, error) {
	data, err := os.ReadFile(movesFile(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []move
	for line := range bytes.Lines(data) {
		var m move
		if _, err := fmt.Sscanln(string(line), &m.ends, &m.id); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, err
}

// newDirector goes on where the last one was killed. Of the move that was under
// way then, the journal knows whether it was made.
func newDirector(dir string, seats int, j *journal.Journal, outcomes map[int64]search.Outcome, script []move, places map[int64]string) (*director, error) {
	d := &director{seats: seats, journal: j, outcomes: outcomes, script: script, places: places, spared: map[string]int{}}
	d.turn = sync.NewCond(&d.mu)
	moves, err := readMoves(dir)
	if err != nil {
		return nil, err
	}
	if d.file, err = os.OpenFile(movesFile(dir), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err != nil {
		return nil, err
	}
	records, err := j.Trials()
	if err != nil {
		return nil, err
	}
	for _, m := range moves {
		d.note(m)
	}
	for _, r := range records {
		if m := (move{false, r.Trial.ID}); !slices.Contains(moves, m) {
			d.make(m)
		}
		if m := (move{true, r.Trial.ID}); r.Stage.Reached(search.StageDecided) && !slices.Contains(moves, m) {
			d.make(m)
		}
		d.scored = d.scored || r.Decision.Verdict == search.Keep
	}
	return d, nil
}

// make notes a move on the disk too.
func (d *director) make(m move) {
	if _, err := fmt.Fprintln(d.file, m.ends, m.id); err != nil {
		panic(err)
	}
	d.note(m)
}

func (d *director) note(m move) {
	d.moves = append(d.moves, m)
	if !m.ends {
		d.running = append(d.running, m.id)
	} else if at := slices.Index(d.running, m.id); at >= 0 {
		d.running = slices.Delete(d.running, at, at+1)
	}
	d.moving = false
	d.turn.Broadcast()
}

// next is the move to come: all seats are taken first, and then one of the
// trials ends, not always the oldest.
func (d *director) next() move {
	if d.script != nil {
		if len(d.moves) < len(d.script) {
			return d.script[len(d.moves)]
		}
		return move{}
	}
	begun := int64(0)
	for _, m := range d.moves {
		begun = max(begun, m.id)
	}
	if len(d.running) == 0 || d.scored && len(d.running) < d.seats && begun < replayTrials {
		return move{false, begun + 1}
	}
	n := len(d.moves)
	return move{true, d.running[(n*n/7+n)%len(d.running)]}
}

// fit is asked before a trial begins, and holds it up until its turn.
func (d *director) fit(name string) *device.Unfit {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.spared[name] > 0 {
		d.spared[name]--
		return nil
	}
	elsewhere := func(m move) bool { return d.places[m.id] != "" && d.places[m.id] != name }
	for d.moving || d.next().ends || elsewhere(d.next()) {
		if slices.ContainsFunc(d.moves, func(m move) bool { return m.id == replayTrials }) {
			return nil // no trial will begin any more
		}
		d.turn.Wait()
	}
	d.moving = true
	return nil
}

func (d *director) Inspect(_ context.Context, source []byte) (trainer.Inspection, error) {
	return inspect(source), nil
}

func (d *director) Close() error { return nil }

func (d *director) Warm(string, []byte) {}

func (d *director) Run(_ context.Context, o trainer.Order, _ func(trainer.Event)) (search.Outcome, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.make(move{false, o.ID})
	out, given := d.outcomes[o.ID]
	if !given {
		out = measure(o.Trial)
		if err := d.journal.SetSeat(o.ID, "{}"); err != nil {
			return out, err
		}
	}
	for d.moving || d.next() != (move{true, o.ID}) {
		d.turn.Wait()
	}
	d.moving = true
	if out.Status == search.Crashed || out.Status == search.TimedOut {
		d.spared[o.Device]++
	}
	return out, nil
}

// finished is told that a trial is decided.
func (d *director) finished(r study.Ending) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scored = d.scored || r.Decision.Verdict == search.Keep
	if m := (move{true, r.Trial.ID}); !slices.Contains(d.moves, m) { // it was decided before a kill
		d.make(m)
	}
}
