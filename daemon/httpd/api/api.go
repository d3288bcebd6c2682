// Package api answers /api/v1: a study as JSON, for the page and for scripts.
// It reads what the loop knows from the loop, and what only the journal has
// from the journal; it keeps only what is derived from them, for as long as no
// trial is added. openapi.json describes every answer.
package api

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/metrics/gpu"
	"autoresearchd/search"
)

// Prefix is where the API lies.
const Prefix = "/api/v1/"

// Loop is what runs the study: a supervisor. Its methods may be called from any
// goroutine, and do not wait for the disk.
type Loop interface {
	Now() supervisor.Status
	History() search.History // shared: not to be changed
	Snapshot() metrics.Snapshot
}

// Journal is the study's record: a journal.Reader.
type Journal interface {
	Trial(id int64) (journal.Record, error)
	Some(ids []int64) ([]journal.Record, error)
	Source(id int64) ([]byte, error)
}

// GPUs are read when somebody looks: a gpu.GPUs.
type GPUs interface {
	Devices() []gpu.Device
	Sample(ctx context.Context) []gpu.Sample
}

// Options are what the API shows.
type Options struct {
	Loop    Loop
	Journal Journal
	GPUs    GPUs                                      // nil: none
	Folder  func(id int64) string                     // of a trial's bundle
	Start   func(ctx context.Context) ([]byte, error) // train.py as the study found it; nil: not known
	Spent   func() (modelserver.Sums, error)          // what models have cost; nil: there are none
	Version string
	// Patience is how long a request waits for the journal; 0: 800 ms, so that
	// an answer comes within a second.
	Patience time.Duration
}

// API is a handler for Prefix.
type API struct {
	o       Options
	mux     *http.ServeMux
	routes  []string
	slots   chan struct{} // held while the journal is read
	start   once[[]byte]
	gpus    gpuCache
	curve   championCurve
	derived documents
	levels  levels
	stairs  stairs
	hub     *hub
	end     context.CancelFunc // of what goes on by itself
	readers sync.WaitGroup
}

const (
	patience = 800 * time.Millisecond
	readers  = 4 // requests that read the journal at once
)

// New returns the API of a study. Close it before the server that it is part of.
func New(o Options) *API {
	a := &API{o: o, mux: http.NewServeMux(), slots: make(chan struct{}, readers)}
	if a.o.Patience == 0 {
		a.o.Patience = patience
	}
	a.hub = newHub(a)
	ctx, end := context.WithCancel(context.Background())
	if a.end = end; o.GPUs != nil {
		a.readers.Go(func() { a.watchGPUs(ctx) })
	}
	for path, answer := range map[string]func(*http.Request) (any, error){
		"status":          a.status,
		"candidates":      a.candidates,
		"candidates/{id}": a.candidate,
		"compare":         a.compare,
		"search":          a.search,
		"trials":          a.trials,
		"trials/{id}":     a.trial,
		"staircase":       a.staircase,
		"lineage":         a.lineage,
		"constants":       a.constants,
		"strategies":      a.strategies,
		"timeline":        a.timeline,
		"gpus":            a.gpuPast,
	} {
		a.handle(path, func(w http.ResponseWriter, r *http.Request) {
			body, err := encoded(answer(r))
			a.send(w, r, "application/json", body, err)
		})
	}
	a.handle("trials/{id}/files/{name}", func(w http.ResponseWriter, r *http.Request) {
		data, err := a.file(r)
		a.send(w, r, "text/plain; charset=utf-8", data, err)
	})
	a.handle("openapi.json", func(w http.ResponseWriter, r *http.Request) { a.send(w, r, "application/json", description, nil) })
	a.handle("events", a.hub.serve)
	a.mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) {
		a.send(w, r, "", nil, missing("there is no %s: %sopenapi.json lists what there is", r.URL.Path, Prefix))
	})
	return a
}

func (a *API) handle(path string, h http.HandlerFunc) {
	a.routes = append(a.routes, Prefix+path)
	a.mux.HandleFunc("GET "+Prefix+path, h)
}

//go:embed openapi.json
var description []byte

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Close ends the event streams, at once.
func (a *API) Close() {
	a.end()
	a.hub.close()
	a.readers.Wait()
}

// fault is an error with its status.
type fault struct {
	code int
	text string
}

func (f fault) Error() string { return f.text }

func missing(format string, args ...any) error {
	return fault{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

func wrong(format string, args ...any) error {
	return fault{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

var errBusy = fault{http.StatusServiceUnavailable, "the journal does not answer now: ask again; if it lasts, see what else holds journal.db open (`fuser`), and the disk"}

// encoded is an answer as JSON, unless it is that already.
func encoded(answer any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if body, ok := answer.(json.RawMessage); ok {
		return body, nil
	}
	return json.Marshal(answer)
}

// send answers with a body and its ETag, with 304 to who has it, or with an
// error in words.
func (a *API) send(w http.ResponseWriter, r *http.Request, kind string, body []byte, err error) {
	h := w.Header()
	if err != nil {
		code := http.StatusInternalServerError
		var f fault
		if errors.As(err, &f) {
			code = f.code
		}
		if code == http.StatusServiceUnavailable {
			h.Set("Retry-After", "1")
		}
		body, _ = json.Marshal(map[string]string{"error": err.Error()}) // a string is always fit
		h.Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write(body)
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-cache") // to be kept, and asked about
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", kind)
	_, _ = w.Write(body)
}

func matches(list, tag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}

// read does what may wait for the disk, and gives it up when it takes too long.
// What is given up goes on, and keeps its slot until it ends.
func read[T any](ctx context.Context, a *API, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	limit := time.NewTimer(a.o.Patience)
	defer limit.Stop()
	select {
	case a.slots <- struct{}{}:
	case <-limit.C:
		return none, errBusy
	case <-ctx.Done():
		return none, errBusy
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-a.slots }()
		value, err := work()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-limit.C:
		return none, errBusy
	case <-ctx.Done():
		return none, errBusy
	}
}
