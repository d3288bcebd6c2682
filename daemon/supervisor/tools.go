package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/config"
	"autoresearchd/search"
)

// tools are what strategies may use beside the history.
func (s *Supervisor) tools(c *config.Config) (search.Tools, error) {
	t := search.Tools{
		Check:   func(ctx context.Context, source []byte) ([]search.Constant, error) { return s.check(ctx, c, source) },
		Source:  s.source,
		Read:    func(name string) ([]byte, error) { return read(c.Study.Workspace, name) },
		Ideas:   s.ideas,
		Options: c.Options,
		Start:   s.o.Start,
		Log:     s.o.Log.With("strategy", c.Search.Strategy),
	}
	if s.o.Model == nil || !c.LLM.Enabled {
		return t, nil
	}
	var err error
	t.Model, err = s.o.Model(c)
	return t, err
}

// check says of a train.py what admission would say, and holds it to what
// [search.space] fixes.
func (s *Supervisor) check(ctx context.Context, c *config.Config, source []byte) ([]search.Constant, error) {
	i, fault, err := Examine(ctx, s.o.Repo, s.o.Trainer.Inspect, s.study.BaseCommit, source, c.Trial.Budget)
	if err != nil {
		return nil, err
	}
	if fault != "" {
		return nil, errors.New(fault)
	}
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	all := c.Search.Overrides()
	for _, k := range i.Constants {
		o, ok := all[k.Name]
		switch {
		case !ok && k.Held && champion != nil:
			for _, old := range champion.Trial.Constants {
				if old.Name == k.Name && !old.Value.Equal(k.Value) {
					return nil, fmt.Errorf("%s = %s: leave it at %s: %s, so scores could not be compared", k.Name, k.Value, old.Value, k.Why)
				}
			}
		case !ok:
			continue
		case !o.Fixed:
			if _, err := search.NewSpace([]search.Constant{k}, map[string]search.Override{k.Name: o}); err != nil {
				return nil, err
			}
		case champion != nil:
			for _, old := range champion.Trial.Constants {
				if old.Name == k.Name && !old.Value.Equal(k.Value) {
					return nil, fmt.Errorf("%s = %s: this study fixes it at %s", k.Name, k.Value, old.Value)
				}
			}
		}
	}
	return i.Constants, nil
}

// source returns the train.py of a trial; 0 is the study's own start.
func (s *Supervisor) source(ctx context.Context, id int64) ([]byte, error) {
	if id == 0 {
		return s.o.Repo.ReadFile(ctx, s.study.BaseCommit, "train.py")
	}
	return s.o.Journal.Source(id)
}

const readLimit = 1 << 20

// read reads a file of the workspace as it is now. A link that leads out of it
// is not followed, as what is read may end in a prompt, and a pipe is not
// waited for.
func read(workspace, name string) ([]byte, error) {
	root, err := os.OpenRoot(workspace)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is not a file", name))
	}
	return io.ReadAll(io.LimitReader(f, readLimit))
}

// ideas are the suggestions in words that wait.
func (s *Supervisor) ideas() []search.Idea {
	all, err := s.o.Journal.Suggestions()
	if err != nil {
		return nil // the loop meets the same fault, and deals with it
	}
	var out []search.Idea
	for _, g := range all {
		if g.Kind == kindText && g.Trial == 0 {
			out = append(out, search.Idea{ID: g.ID, Text: g.Text})
		}
	}
	return out
}

// The kinds of suggestion in the journal.
const (
	kindText   = "text"
	kindValues = "values"
)

// idea returns the suggestion that a proposal takes up, 0 for none: one that
// still waits.
func (s *Supervisor) idea(p search.Proposal) int64 {
	for _, i := range s.ideas() {
		for _, id := range p.Ideas {
			if i.ID == id {
				return id
			}
		}
	}
	return 0
}

// attach keeps a proposal's files with its trial.
func attach(dir string, all []search.Attachment) error {
	for _, a := range all {
		if a.Name != filepath.Base(a.Name) || a.Name == "." || a.Name == ".." {
			return fmt.Errorf("keep a file with the trial: %q is not the name of a file", a.Name)
		}
		if err := os.WriteFile(filepath.Join(dir, a.Name), a.Data, 0o640); err != nil {
			return full(fmt.Errorf("keep a file with the trial: %w", err))
		}
	}
	return nil
}

// preparation calls a strategy's Prepare, one call after another, on a
// goroutine of its own.
type preparation struct {
	next   chan search.History // at most one, the newest
	cancel context.CancelFunc
	ended  chan struct{}
}

// prepare lets the strategy get ready for the proposal after t while t runs.
func (s *Supervisor) prepare(ctx context.Context, t search.Trial) {
	p, ok := s.strategy.(search.Preparer)
	s.mu.Lock()
	left := s.o.Trials == 0 || s.ran+1 < s.o.Trials
	left = left && (s.config.Study.Trials == 0 || len(s.done)+1 < s.config.Study.Trials)
	s.mu.Unlock()
	if !ok || !left {
		return
	}
	t.Source = nil
	s.mu.Lock()
	champion := s.champion
	s.mu.Unlock()
	var h search.History
	if champion != nil {
		h = s.history(champion)
	} else { // the baseline runs: what comes next will start from it
		space, _ := search.NewSpace(t.Constants, s.config.Search.Overrides())
		h = search.History{Champion: t, Space: space}
	}
	h.Pending = []search.Trial{t}
	if s.preparing == nil {
		ctx, cancel := context.WithCancel(ctx)
		w := &preparation{next: make(chan search.History, 1), cancel: cancel, ended: make(chan struct{})}
		go func() {
			defer close(w.ended)
			for {
				select {
				case h := <-w.next:
					p.Prepare(ctx, h)
				case <-ctx.Done():
					return
				}
			}
		}()
		s.preparing = w
	}
	select {
	case <-s.preparing.next: // it was not looked at in time
	default:
	}
	s.preparing.next <- h
}

// retire ends what a strategy has under way, before another takes its place.
func (s *Supervisor) retire() {
	if w := s.preparing; w != nil {
		w.cancel()
		select {
		case <-w.ended:
		case <-time.After(5 * time.Second):
			s.o.Log.Warn("a strategy does not end its preparations", "strategy", s.config.Search.Strategy)
		}
		s.preparing = nil
	}
	if c, ok := s.strategy.(search.Closer); ok {
		c.Close()
	}
}
