package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	period    = time.Second      // at most one status event
	heartbeat = 15 * time.Second // so that both ends notice a dead connection
	reconnect = 2000             // milliseconds that a browser waits
	backlog   = 32               // events that a watcher may lag behind
	writeTime = 10 * time.Second // that one write may take
	lastWords = time.Second      // that a stream's end may take
	catchUp   = 10_000           // missed trials that are told one by one
)

// frame is an event as it goes over the wire, the same bytes to every watcher.
type frame struct {
	no    int // of a trial event: which decision it tells, from 1; else 0
	bytes []byte
}

// watcher is one open stream.
type watcher struct {
	frames chan frame
	gone   chan struct{} // closed when the hub is done with it
	cut    func()        // ends a write that hangs, soon
}

// hub makes events while somebody watches, once for all watchers. One that does
// not keep up is dropped: its browser connects again, and says what it has.
type hub struct {
	api    *API
	period time.Duration

	mu       sync.Mutex
	closed   bool
	watchers map[*watcher]bool
	stop     context.CancelFunc // of the producer; nil: none runs
	producer sync.WaitGroup
}

func newHub(a *API) *hub { return &hub{api: a, period: period, watchers: map[*watcher]bool{}} }

func (h *hub) join(w *watcher) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.watchers[w] = true
	if h.stop == nil {
		var ctx context.Context
		ctx, h.stop = context.WithCancel(context.Background())
		known := h.latest() // before the watcher looks: nothing falls between
		h.producer.Go(func() { h.produce(ctx, known) })
	}
	return true
}

// leave lets a watcher go; the last one ends the producer.
func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(w)
	if len(h.watchers) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// drop forgets a watcher. mu is held.
func (h *hub) drop(w *watcher) {
	if h.watchers[w] {
		delete(h.watchers, w)
		close(w.gone)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for w := range h.watchers {
		h.drop(w)
		w.cut()
	}
	if h.stop != nil {
		h.stop()
		h.stop = nil
	}
	h.mu.Unlock()
	h.producer.Wait()
}

// latest is how many trials are decided.
func (h *hub) latest() int { return len(h.api.o.Loop.History().Done) }

// since are the trials that were decided after the first so many, as events.
func (h *hub) since(known int) []frame {
	var frames []frame
	done := h.api.o.Loop.History().Done
	for at := max(known, len(done)-catchUp); at < len(done); at++ {
		frames = append(frames, frame{at + 1, fmt.Appendf(nil, "id: %d\nevent: trial\ndata: {\"id\":%d,\"candidate\":%d}\n\n", at+1, done[at].Trial.ID, done[at].Trial.Candidate)})
	}
	return frames
}

// produce makes events until ctx ends: trials, and what moves if it moved.
func (h *hub) produce(ctx context.Context, known int) {
	tick := time.NewTicker(h.period)
	defer tick.Stop()
	var last []byte
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, f := range h.since(known) {
			known = f.no
			h.tell(f)
		}
		if now := h.api.moving(ctx); !bytes.Equal(now, last) {
			last = now
			h.tell(frame{bytes: now})
		}
	}
}

func (h *hub) tell(f frame) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		select {
		case w.frames <- f:
		default:
			h.drop(w)
			w.cut()
		}
	}
}

// moving is the status event. Curves grow by progress and loss, which are here.
func (a *API) moving(ctx context.Context) []byte {
	now := a.o.Loop.Now()
	m := moving{State: now.State, Waiting: now.Waiting, Seats: seatsOf(now, false), Tried: now.Tried, Trials: now.Trials, Rate: now.Rate, Next: now.Next, Champion: now.Champion, GPUs: a.readGPUs(ctx), Card: now.Card, Confirm: now.Confirm}
	data, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return fmt.Appendf(nil, "event: status\ndata: %s\n\n", data)
}

// serve is one stream.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	me := &watcher{frames: make(chan frame, backlog), gone: make(chan struct{})}
	me.cut = func() { _ = control.SetWriteDeadline(time.Now().Add(lastWords)) }
	if !h.join(me) {
		h.api.send(w, r, "", nil, fault{http.StatusServiceUnavailable, "the daemon is being stopped: connect again when it is back"})
		return
	}
	defer h.leave(me)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // proxies are to pass events on
	if r.Method == http.MethodHead {
		return
	}
	// The server's limits are for requests that end.
	_ = control.SetReadDeadline(time.Time{})
	write := func(data []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime))
		select {
		case <-me.gone: // and not to be given more time
			return false
		default:
		}
		_, err := w.Write(data)
		return err == nil && control.Flush() == nil
	}
	known := h.latest()
	hello := fmt.Appendf(nil, "retry: %d\nid: %d\n\n", reconnect, known)
	if from, err := strconv.Atoi(r.Header.Get("Last-Event-ID")); err == nil && from >= 0 && from < known {
		hello = fmt.Appendf(nil, "retry: %d\n\n", reconnect)
		for _, f := range h.since(from) {
			hello, known = append(hello, f.bytes...), f.no
		}
	}
	if !write(append(hello, h.api.moving(r.Context())...)) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-me.gone:
			return
		case <-r.Context().Done():
			return
		case <-beat.C:
			if !write([]byte(": alive\n\n")) {
				return
			}
		case f := <-me.frames:
			if f.no != 0 && f.no <= known {
				continue // told already
			}
			if !write(f.bytes) {
				return
			}
		}
	}
}
