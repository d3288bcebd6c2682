package api

import (
	"encoding/json"
	"sync"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// documents keeps answers that follow from the finished trials, each until there
// is another trial.
type documents struct {
	mu   sync.Mutex
	kept map[string]*document
}

type document struct {
	mu     sync.Mutex // held while it is made: whoever else asks waits for the same
	trials int
	body   json.RawMessage
}

// get returns the document of that name for h, making it if h has trials that
// it does not know.
func (d *documents) get(name string, h search.History, write func(search.History) (any, error)) (json.RawMessage, error) {
	d.mu.Lock()
	if d.kept == nil {
		d.kept = map[string]*document{}
	}
	doc := d.kept[name]
	if doc == nil {
		doc = &document{}
		d.kept[name] = doc
	}
	d.mu.Unlock()
	doc.mu.Lock()
	defer doc.mu.Unlock()
	if doc.body != nil && doc.trials >= len(h.Done) {
		return doc.body, nil
	}
	answer, err := write(h)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	doc.body, doc.trials = body, len(h.Done)
	return body, nil
}

// levels keeps what search.Levels says until there is another trial.
type levels struct {
	mu   sync.Mutex
	kept []float64
}

func (l *levels) of(done []search.Result) []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) != len(done) {
		l.kept = search.Levels(done)
	}
	return l.kept
}

// stairs keeps the candidates until there is another trial.
type stairs struct {
	mu     sync.Mutex
	trials int
	kept   record.Staircase
}

func (s *stairs) of(done []search.Result) record.Staircase {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trials != len(done) {
		s.trials, s.kept = len(done), record.NewStaircase(done)
	}
	return s.kept
}

// once keeps a value that was found.
type once[T any] struct {
	mu    sync.Mutex
	found bool
	value T
}

func (o *once[T]) get(find func() (T, error)) (T, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.found {
		return o.value, nil
	}
	value, err := find()
	if err == nil {
		o.value, o.found = value, true
	}
	return value, err
}
