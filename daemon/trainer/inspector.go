package trainer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/search"
)

// inspectPatience bounds one inspection, the start of a trainer included.
const inspectPatience = 30 * time.Second

// inspector reads scripts in one trainer that stays, and is replaced when it
// ended, hung, or its venv changed.
type inspector struct {
	options *Options
	place   place
	turn    chan struct{} // holds a token while somebody inspects

	t      trainee // nil: none stays
	venv   string  // as it was at its start
	closed bool
}

// inspect takes its turn and reads a source. What a trainer that stayed could
// not do, a fresh one tries again.
func (i *inspector) inspect(ctx context.Context, source []byte) (Inspection, error) {
	select {
	case i.turn <- struct{}{}:
	case <-ctx.Done():
		return Inspection{}, fmt.Errorf("inspect train.py: %w", ctx.Err())
	}
	defer func() { <-i.turn }()
	if i.closed {
		return Inspection{}, fmt.Errorf("inspect train.py: the trainer is closed")
	}
	if i.t != nil && i.venv != venvStamp(i.options.Python) {
		i.drop()
	}
	stayed := i.t != nil
	found, err := i.read(ctx, source)
	if err != nil && stayed && ctx.Err() == nil {
		found, err = i.read(ctx, source)
	}
	return found, err
}

func (i *inspector) read(ctx context.Context, source []byte) (Inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectPatience)
	defer cancel()
	err := i.start(ctx)
	var e event
	if err == nil {
		e, err = ask(ctx, i.t, request{Op: "inspect", Python: i.options.Python, Source: source})
	}
	if err == nil && e.Inspection == nil {
		err = fmt.Errorf("the trainer answered with %q", e.Kind)
	}
	if err != nil {
		return Inspection{}, fmt.Errorf("inspect train.py: %w%s", err, i.drop())
	}
	return *e.Inspection, nil
}

// start starts a trainer where none stays.
func (i *inspector) start(ctx context.Context) error {
	if i.t != nil {
		return nil
	}
	i.venv = venvStamp(i.options.Python)
	t, err := i.place.start(job{name: "inspect", dir: "/", env: i.options.environment(search.Trial{Device: device.CPU})})
	if err != nil {
		return err
	}
	i.t = t
	return greet(ctx, t)
}

// drop ends the trainer, and returns how it ended and what it printed.
func (i *inspector) drop() string {
	if i.t == nil {
		return ""
	}
	t := i.t
	i.t = nil
	gone := t.end(0, true)
	t.settle(func(event) {})
	defer t.release(false)
	var text []byte
	t.print(func(data []byte) { text = append(text, data...) })
	return fmt.Sprintf(" (its end: status %d %s)\n%s", gone.code, gone.signal, lastLines(string(text), 20))
}

func (i *inspector) close() {
	i.turn <- struct{}{}
	defer func() { <-i.turn }()
	i.closed = true
	i.drop()
}

// venvStamp changes when the packages of an interpreter do.
func venvStamp(python string) string {
	root := filepath.Dir(filepath.Dir(python))
	folders, _ := filepath.Glob(filepath.Join(root, "lib*", "python3*", "site-packages"))
	var stamp strings.Builder
	for _, path := range append(folders, python, filepath.Join(root, "pyvenv.cfg")) {
		if info, err := os.Stat(path); err == nil {
			fmt.Fprintf(&stamp, "%s %s\n", path, info.ModTime().Format(time.RFC3339Nano))
		}
	}
	return stamp.String()
}
