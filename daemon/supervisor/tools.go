package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/config"
	"autoresearchd/search"
)

// tools are what strategies may use beside the history.
func (p *proposer) tools(c *config.Config) (search.Tools, error) {
	t := search.Tools{
		Check:   func(ctx context.Context, source []byte) ([]search.Constant, error) { return p.check(ctx, c, source) },
		Source:  p.study.Source,
		Read:    func(name string) ([]byte, error) { return read(c.Study.Workspace, name) },
		Ideas:   p.ideas,
		Options: c.Options,
		Start:   p.o.Start,
		Log:     p.o.Log.With("strategy", c.Search.Strategy),
	}
	if p.o.Model == nil || !c.LLM.Enabled {
		return t, nil
	}
	var err error
	t.Model, err = p.o.Model(c)
	return t, err
}

// check says of a train.py what admission would say, and holds it to what
// [search.space] fixes.
func (p *proposer) check(ctx context.Context, c *config.Config, source []byte) ([]search.Constant, error) {
	i, fault, err := p.study.Examine(ctx, source)
	if err != nil {
		return nil, err
	}
	if fault != "" {
		return nil, errors.New(fault)
	}
	return i.Constants, holds(c.Search.Overrides(), i.Constants, p.study.History().Champion)
}

// holds returns what is wrong with constants that leave what [search.space], or
// what a score means, allows; a champion without an id is none.
func holds(all map[string]search.Override, found []search.Constant, champion search.Trial) error {
	for _, k := range found {
		o, ok := all[k.Name]
		switch {
		case !ok && k.Held && champion.ID != 0:
			for _, old := range champion.Constants {
				if old.Name == k.Name && !old.Value.Equal(k.Value) {
					return fmt.Errorf("%s = %s: leave it at %s: %s, so scores could not be compared", k.Name, k.Value, old.Value, k.Why)
				}
			}
		case !ok:
			continue
		case !o.Fixed:
			if _, err := search.NewSpace([]search.Constant{k}, map[string]search.Override{k.Name: o}); err != nil {
				return err
			}
		case champion.ID != 0:
			for _, old := range champion.Constants {
				if old.Name == k.Name && !old.Value.Equal(k.Value) {
					return fmt.Errorf("%s = %s: this study fixes it at %s", k.Name, k.Value, old.Value)
				}
			}
		}
	}
	return nil
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
func (p *proposer) ideas() []search.Idea {
	all, err := p.study.Waiting(kindText)
	if err != nil {
		return nil // the loop meets the same fault, and deals with it
	}
	var out []search.Idea
	for _, g := range all {
		out = append(out, search.Idea{ID: g.ID, Text: g.Text})
	}
	return out
}

// The kinds of suggestion in the journal.
const (
	kindText   = "text"
	kindValues = "values"
)

// preparation calls a strategy's Prepare, one call after another, on a
// goroutine of its own.
type preparation struct {
	next   chan search.History // at most one, the newest
	cancel context.CancelFunc
	ended  chan struct{}
}

// prepare lets the strategy get ready for the proposal after t, which is
// pending. turn is held.
func (p *proposer) prepare(ctx context.Context, t search.Trial) {
	able, ok := p.strategy.(search.Preparer)
	h := p.history()
	if !ok || h.Trials > 0 && len(h.Done)+len(h.Pending) >= h.Trials {
		return
	}
	if h.Champion.ID == 0 { // the baseline runs: what comes next will start from it
		t.Source = nil
		h.Champion = t
		h.Space, _ = search.NewSpace(t.Constants, p.config.Search.Overrides())
	}
	if p.preparing == nil {
		ctx, cancel := context.WithCancel(ctx)
		w := &preparation{next: make(chan search.History, 1), cancel: cancel, ended: make(chan struct{})}
		go func() {
			defer close(w.ended)
			for {
				select {
				case h := <-w.next:
					able.Prepare(ctx, h)
				case <-ctx.Done():
					return
				}
			}
		}()
		p.preparing = w
	}
	select {
	case <-p.preparing.next: // it was not looked at in time
	default:
	}
	p.preparing.next <- h
}

// retire ends what the strategy has under way.
func (p *proposer) retire() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.stop()
}

// stop does it, before another takes its place. turn is held.
func (p *proposer) stop() {
	if w := p.preparing; w != nil {
		w.cancel()
		select {
		case <-w.ended:
		case <-time.After(5 * time.Second):
			p.o.Log.Warn("a strategy does not end its preparations", "strategy", p.config.Search.Strategy)
		}
		p.preparing = nil
	}
	if c, ok := p.strategy.(search.Closer); ok {
		c.Close()
	}
}
