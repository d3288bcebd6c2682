// Package gate keeps a call that may never return from taking its caller with it.
package gate

import (
	"context"
	"sync"
)

// Gate lets one call through at a time. Once a call has overrun its deadline,
// later calls fail at once until it returns, so that never more than one
// goroutine is stuck behind a gate. The zero Gate is open.
type Gate struct {
	mu      sync.Mutex
	running chan struct{} // closed when the call in progress returns; nil if none is
	overrun bool          // its caller has given up
}

// Call runs f in its own goroutine and returns its result; false if an earlier
// call has overrun, or if ctx ends before f could start or return.
func Call[T any](ctx context.Context, g *Gate, f func() T) (v T, ok bool) {
	done := make(chan struct{})
	for {
		g.mu.Lock()
		running, overrun := g.running, g.overrun
		if running == nil {
			g.running = done
		}
		g.mu.Unlock()
		if running == nil {
			break
		}
		if overrun {
			return v, false
		}
		select {
		case <-running:
		case <-ctx.Done():
			return v, false
		}
	}
	result := make(chan T, 1)
	go func() {
		out := f()
		g.mu.Lock()
		g.running, g.overrun = nil, false
		g.mu.Unlock()
		result <- out
		close(done)
	}()
	select {
	case v = <-result:
		return v, true
	case <-ctx.Done():
		g.mu.Lock()
		g.overrun = g.running == done
		g.mu.Unlock()
		return v, false
	}
}
