package trainer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/search"
)

const (
	// learnPatience bounds how long a notary learns: it gets what trials leave of the processor.
	learnPatience = 30 * time.Minute
	// proofPatience bounds one answer of a notary while a trial waits for it, and
	// the wait for one that still learns.
	proofPatience = 2 * time.Minute
	// roomy is from how many cores on a notary may learn beside training though it cannot be calm.
	roomy = 8
	// relearns is how often a notary that has proven nothing is started again.
	relearns = 3
)

// Notary proves the scores of a study's trials. It is a process that runs the
// workspace's committed prepare.py and never a line of a train.py: notary.py
// says what it does. One serves all seats, request by request.
type Notary struct {
	options Options
	place   place
	work    string // the workspace's committed files
	keep    string // what it keeps of the study's first proven trial
	audit   bool

	cancel context.CancelFunc
	over   sync.WaitGroup
	turn   chan struct{} // holds a token while it is asked
	t      trainee       // nil: none runs; of whose turn it is
	taught bool          // t has learned
	calm   calm

	mu      sync.Mutex
	learned chan struct{} // closed once it is known whether it can prove
	wanted  chan struct{} // closed once a trial waits for it
	hurried sync.Once
	known   *search.Proof // the one that made the reference; nil: no trial is proven yet
	first   int64         // its trial
	lost    bool          // the reference is gone: nothing is proven until there is another
	found   Found
	serial  int
}

// Found is what a notary has learned of a workspace.
type Found struct {
	Why      string            `json:"why,omitempty"` // its scores cannot be proven; "": they can
	Rows     int               `json:"rows"`          // that a trial is scored on
	Length   int               `json:"length"`        // tokens of each
	Pool     int               `json:"pool"`          // rows that no trial has seen
	Referred bool              `json:"referred"`      // there is a reference
	Hashes   map[string]string `json:"hashes"`
	Alone    []string          `json:"alone"` // files that the validation split alone reads
}

// ReferenceFile is where a notary keeps the losses of its reference, in its folder.
const ReferenceFile = "reference"

// foundFile is where a notary says what it has learned, in its folder.
const foundFile = "found.json"

// LastFound returns what the last notary with this folder has learned; false:
// nothing yet.
func LastFound(dir string) (f Found, known bool) {
	data, err := os.ReadFile(filepath.Join(dir, foundFile))
	return f, err == nil && json.Unmarshal(data, &f) == nil
}

// NewNotary makes a notary that keeps its files in a folder. known is the proof
// of the record that made the reference, nil where no trial is proven yet, and
// first is its trial; audit says whether trials may be audited.
func NewNotary(o Options, dir string, known *search.Proof, first int64, audit bool) (*Notary, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notary{options: o, work: filepath.Join(dir, "work"), keep: filepath.Join(dir, ReferenceFile), audit: audit, known: known, first: first,
		turn: make(chan struct{}, 1), learned: make(chan struct{}), wanted: make(chan struct{}), cancel: func() {}}
	n.options.Sandbox = nil // it runs nothing of a trial's, and has folders of its own
	n.place = &local{options: &n.options, binary: "/proc/self/exe", cgroups: FindCgroups(), devices: map[int]*tenancy{}, patience: memoryPatience}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the notary's folder: %w", err)
	}
	if known != nil && sum(n.keep) != known.Reference {
		n.lose()
	}
	return n, nil
}

// Start lets it learn, with what export writes: the workspace's committed files.
// It returns at once.
func (n *Notary) Start(export func(ctx context.Context, dir string) error) {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.over.Go(func() {
		if !canCalm() && runtime.NumCPU() < roomy { // it would take from the training
			select {
			case <-n.wanted:
			case <-ctx.Done():
				return
			}
		}
		err := errors.Join(os.RemoveAll(n.work), export(ctx, n.work))
		if err == nil {
			err = n.prepare(ctx)
		}
		if err != nil && ctx.Err() == nil {
			n.options.Log.Error("the notary could not learn what there is to prove", "err", err)
		}
	})
}

// Close ends it.
func (n *Notary) Close() {
	n.cancel()
	n.over.Wait()
	n.turn <- struct{}{}
	defer func() { <-n.turn }()
	n.drop()
}

// Found returns what it has learned; false while it has not.
func (n *Notary) Found() (Found, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.learned:
		return n.found, true
	default:
		return Found{}, false
	}
}

// validation returns the files that a trial whose score is proven need not
// open: it gets the rows from the notary.
func (n *Notary) validation() (files []string, known bool) {
	if n == nil {
		return nil, false
	}
	f, known := n.Found()
	return f.Alone, known && f.Why == ""
}

// strict reports whether a trial of the study was proven, so that each must be.
func (n *Notary) strict() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known != nil
}

func (n *Notary) settle(f Found) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.learned:
		return
	default:
	}
	n.found = f
	close(n.learned)
	if data, err := json.Marshal(f); err == nil && (f.Why != "" || f.Rows > 0) {
		_ = os.WriteFile(filepath.Join(filepath.Dir(n.keep), foundFile), data, 0o600) // for doctor alone
	}
	if f.Why != "" {
		n.options.Log.Warn("the scores of this workspace cannot be proven", "why", f.Why)
		return
	}
	if f.Rows == 0 {
		return
	}
	n.options.Log.Info("the notary knows what a score is", "rows", f.Rows, "fresh rows", f.Pool)
}

// prepare has it ready to prove, in its turn.
func (n *Notary) prepare(ctx context.Context) error {
	var err error
	for range relearns {
		if err = n.learn(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		n.options.Log.Warn("the notary is started again", "why", err)
	}
	if n.strict() { // it is tried again with each proof
		n.settle(Found{})
		return err
	}
	n.settle(Found{Why: err.Error()})
	return nil
}

func (n *Notary) learn(ctx context.Context) error {
	if err := n.mine(ctx); err != nil {
		return err
	}
	defer func() { <-n.turn }()
	return n.ready(ctx)
}

func (n *Notary) mine(ctx context.Context) error {
	select {
	case n.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ready starts it where none runs, and lets it learn. The turn is the caller's.
func (n *Notary) ready(ctx context.Context) error {
	if n.t != nil {
		select {
		case <-n.t.ended():
			n.options.Log.Warn("the notary had ended", "how", n.drop())
		default:
		}
	}
	if n.t != nil && n.taught {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, learnPatience)
	defer cancel()
	if n.t == nil {
		env := append(n.options.environment(search.Trial{Device: device.CPU}), "OMP_NUM_THREADS=1", "MKL_NUM_THREADS=1", "RAYON_NUM_THREADS=1")
		t, err := n.place.start(job{name: "notary", dir: n.work, env: env})
		if err != nil {
			return err
		}
		n.t, n.taught = t, false
		select {
		case <-n.wanted:
		default:
			if p, ok := t.(*process); ok {
				n.calm.begin(p.group)
			}
		}
		if err := greet(ctx, t); err != nil {
			return fmt.Errorf("start the notary: %w%s", err, n.drop())
		}
	}
	n.mu.Lock()
	known, before := n.known, n.found.Hashes
	n.mu.Unlock()
	learn := map[string]any{"op": "learn", "directory": n.work, "cache": n.options.Cache, "audit": n.audit, "reference": n.keep, "sha256": ""}
	if known != nil && len(known.GapQuantiles) > 0 {
		before = known.Hashes
		learn["sha256"], learn["middle"], learn["error"] = known.Reference, known.GapQuantiles[0], known.GapError
	}
	var f Found
	if err := n.exchange(ctx, learn, &f); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if f.Hashes[name] != before[name] {
			n.drop()
			why := fmt.Errorf("what decides a score has changed since the study's first trial was proven (%s): bring prepare.py and the data back as they were, or begin another study", cmp.Or(f.Why, name))
			n.options.Log.Error("no score can be proven", "err", why)
			return why
		}
	}
	if f.Why == "" && known != nil && !f.Referred {
		n.lose()
	}
	n.calm.over()
	n.taught = true
	n.settle(f)
	return nil
}

// ask has it answer while a trial waits. The caller's patience is ctx's.
func (n *Notary) ask(ctx context.Context, message, reply any) error {
	if err := n.mine(ctx); err != nil {
		return err
	}
	defer func() { <-n.turn }()
	if err := n.ready(ctx); err != nil {
		return err
	}
	return n.exchange(ctx, message, reply)
}

// exchange sends one message and hears the reply; a notary that fails in it is
// dropped. The turn is the caller's.
func (n *Notary) exchange(ctx context.Context, message, reply any) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("ask the notary: %w", err)
	}
	e, err := ask(ctx, n.t, request{Op: "notary", Python: n.options.Python, Say: data})
	if err == nil {
		err = json.Unmarshal(e.Say, reply)
	}
	if err != nil {
		return fmt.Errorf("ask the notary: %w%s", err, n.drop())
	}
	return nil
}

// drop ends its process and returns how it ended, with what it printed. The
// turn is the caller's.
func (n *Notary) drop() string {
	if n.t == nil {
		return ""
	}
	t := n.t
	n.t, n.taught = nil, false
	gone := t.end(0, true)
	t.settle(func(event) {})
	defer t.release(false)
	var text []byte
	t.print(func(data []byte) { text = append(text, data...) })
	return strings.TrimRight(fmt.Sprintf(" (its end: status %d %s)\n%s", gone.code, gone.signal, lastLines(string(text), 20)), "\n")
}

// hurry gives a notary that still learns its full share of the processor: a
// trial waits for it.
func (n *Notary) hurry() {
	n.hurried.Do(func() { close(n.wanted) })
	n.calm.over()
}

// next returns the number of a proof.
func (n *Notary) next() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.serial++
	return n.serial
}

// refer notes the proof that made the reference, and its trial.
func (n *Notary) refer(p *search.Proof, trial int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p.Reference != "" {
		n.known, n.first, n.lost = p, trial, false
	}
}

// lose notes that the reference is gone, or is not the one of the record. No
// trial is held against less: its program runs again, for another.
func (n *Notary) lose() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.lost {
		n.options.Log.Warn("the losses that trials are held against are gone, or are others: the trial that gave them runs again", "trial", n.first, "file", n.keep)
	}
	n.lost = true
}

// Lost returns the trial whose program must run again, so that there are losses
// again to hold others against; 0: none.
func (n *Notary) Lost() int64 {
	if n == nil {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.lost {
		return 0
	}
	return n.first
}

// keeps returns the file into which the losses of a trial go, if it becomes the
// reference; "": it does not. Its error says why it cannot be proven now.
func (n *Notary) keeps(t search.Trial) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.known == nil, n.lost && search.IsRerun(t) && t.Proposal.Parent == n.first:
		return n.keep, nil
	case n.lost:
		return "", fmt.Errorf("the losses of trial %d, against which it is held, are gone from %s: that trial runs again", n.first, n.keep)
	}
	return "", nil
}

// sum returns the sha256 of a file, in hexadecimal; "": it cannot be read.
func sum(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return ""
	}
	return hex.EncodeToString(hash.Sum(nil))
}
