package trainer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"autoresearchd/search"
)

// A standby is a trainer that has started and imported what the next trial of
// its device will probably import. It is used if that trial could not tell;
// otherwise the trial starts as if there were none.
type standby struct {
	t      trainee
	env    []string
	venv   string
	cancel context.CancelFunc
	ready  chan struct{} // closed when it has imported all, or will not
	fault  error         // why it cannot be used; read after ready
}

// standbys are those of one trainer, by device.
type standbys struct {
	mu     sync.Mutex
	closed bool
	of     map[string]*standby
	latest *imports          // of the trial that began last
	later  map[string][]byte // sources to get ready for, once the running trial does not train
	said   map[string]bool   // reasons are logged once

	failures map[string]int // of a source
}

// attempts is how often a standby is tried for a source that ends it.
const attempts = 3

// Warm implements Trainer.
func (p *Process) Warm(name string, source []byte) { go p.getReady(name, source) }

func (p *Process) getReady(name string, source []byte) {
	s := &p.standbys
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.latest == nil || s.closed || s.of[name] != nil && s.of[name].fits(p, name) {
		return
	}
	if trains, calm := p.at(name).onCores(name); trains && !calm {
		s.later[name] = source // see evaluates
		return
	}
	p.warm(name, source)
}

// warm starts a standby. mu is held.
func (p *Process) warm(name string, source []byte) {
	s, o := &p.standbys, &p.options
	sum := sha256.Sum256(source)
	venv := venvStamp(o.Python)
	key := fmt.Sprintf("%s %x %s", name, sum, venv)
	if s.failures[key] >= attempts {
		return
	}
	p.drop(name)
	known := *s.latest
	known.Source = string(source)
	var err error
	if known.Directory, err = known.standIn(filepath.Join(filepath.Dir(o.Folder(1)), ".standby", name, "work")); err != nil {
		p.say(err.Error(), name)
		return
	}
	env := p.at(name).environment(search.Trial{Device: name})
	t, err := p.at(name).start(job{name: "standby", trains: true, spare: true, device: name, dir: known.Directory, env: env})
	if err != nil {
		p.say(err.Error(), name)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &standby{t: t, env: env, venv: venv, cancel: cancel, ready: make(chan struct{})}
	t.calm()
	s.of[name] = b
	o.Log.Debug("a trainer gets ready", "device", name)
	go func() {
		defer close(b.ready)
		err := greet(ctx, t)
		var e event
		if err == nil {
			e, err = ask(ctx, t, request{Op: "warm", Python: o.Python, Imports: &known})
		}
		failures := 1
		if err == nil && e.Why != "" {
			err, failures = errors.New(e.Why), attempts // it would be so again
		}
		b.fault = err
		if err == nil || ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failures[key] += failures
		if s.of[name] == b {
			p.say(err.Error(), name)
			delete(s.of, name)
			b.end()
		}
	}()
}

// fits reports whether a standby is of this interpreter and device, as far as
// that can be seen from outside.
func (b *standby) fits(p *Process, name string) bool {
	select {
	case <-b.t.ended():
		return false
	default:
	}
	return b.venv == venvStamp(p.options.Python) && slices.Equal(b.env, p.at(name).environment(search.Trial{Device: name}))
}

// end ends a standby that is in nobody's hands.
func (b *standby) end() {
	b.cancel()
	b.t.end(0, true)
	b.t.settle(func(event) {})
	b.t.release(false)
}

// drop ends the standby of a device. mu is held.
func (p *Process) drop(name string) {
	if b := p.standbys.of[name]; b != nil {
		delete(p.standbys.of, name)
		b.end()
	}
}

// take gives out the standby of a trial's device, if there is one that the trial
// can use; nil if not. It waits for one that still imports, but not for ever.
func (p *Process) take(ctx context.Context, t search.Trial) trainee {
	s, o := &p.standbys, &p.options
	now, err := importsOf(o.work(t.ID))
	s.mu.Lock()
	b := s.of[t.Device]
	delete(s.of, t.Device)
	delete(s.later, t.Device)
	if err == nil {
		s.latest = now
	}
	s.mu.Unlock()
	if b == nil || err != nil {
		if b != nil {
			b.end()
		}
		return nil
	}
	patience := 30 * time.Second
	if o.Limits.Startup > 0 {
		patience = min(patience, o.Limits.Startup/4)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b.t.rouse()
	why := func() error {
		if !b.fits(p, t.Device) {
			return errors.New("it has ended, or the venv or the environment of trials has changed since its start")
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			return fmt.Errorf("its imports did not end within %v", patience)
		}
		if b.fault != nil {
			return b.fault
		}
		if err := b.t.moveIn(o.work(t.ID)); err != nil {
			return err
		}
		its := *now
		its.Directory = b.t.sees(now.Directory)
		e, err := ask(ctx, b.t, request{Op: "check", Python: o.Python, Imports: &its})
		if err == nil && e.Why != "" {
			err = errors.New(e.Why)
		}
		return err
	}()
	if why != nil {
		s.mu.Lock()
		p.say(why.Error(), t.Device)
		s.mu.Unlock()
		b.end()
		return nil
	}
	b.cancel()
	o.Log.Debug("a trainer was ready", "trial", t.ID, "device", t.Device)
	go b.t.renew()
	return b.t
}

// say logs once why a standby is not used. mu is held.
func (p *Process) say(why, name string) {
	if s := &p.standbys; !s.said[why] {
		s.said[why] = true
		p.options.Log.Info("a trial starts without a standby", "device", name, "why", why)
	}
}

// evaluates notes that the running trial of a device does not train any more:
// what gets ready on its cores need not be calm.
func (p *Process) evaluates(name string) {
	s := &p.standbys
	s.mu.Lock()
	defer s.mu.Unlock()
	if trains, _ := p.at(name).onCores(name); !trains || s.closed {
		return
	}
	if source, ok := s.later[name]; ok {
		delete(s.later, name)
		p.warm(name, source)
	}
	if b := s.of[name]; b != nil {
		b.t.rouse()
	}
}

// close ends all, and starts no more.
func (s *standbys) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for name, b := range s.of {
		delete(s.of, name)
		b.end()
	}
}

// standIn makes a folder for a trainer that gets ready: the trial's own is gone
// before the next one comes. What is imported from elsewhere finds there what
// lies beside train.py, so that it is seen, and nothing in it.
func (i *imports) standIn(dir string) (string, error) {
	err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750))
	for _, name := range i.Beside {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".py"), nil, 0o640)
		}
	}
	if err != nil {
		return "", fmt.Errorf("make a folder for a standby: %w", err)
	}
	return dir, nil
}

// importsOf reads what decides the imports of a trial in a folder.
func importsOf(dir string) (*imports, error) {
	source, err := os.ReadFile(filepath.Join(dir, "train.py"))
	if err != nil {
		return nil, err
	}
	i := &imports{Source: string(source), Directory: dir}
	if prepare, err := os.ReadFile(filepath.Join(dir, "prepare.py")); err == nil {
		i.Prepare = string(prepare)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name, _, _ := strings.Cut(e.Name(), "."); name != "" {
			i.Beside = append(i.Beside, name)
		}
	}
	return i, nil
}
