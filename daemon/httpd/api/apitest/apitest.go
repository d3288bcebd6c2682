// Package apitest serves studies of package journaltest, which no daemon runs,
// over the API: for tests of it and of what is built on it.
package apitest

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/journal/journaltest"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/metrics/gpu"
	"autoresearchd/search"
)

// Study is a study of which only the first trials may be seen.
type Study struct {
	API    *api.API
	Loop   *Loop
	Reader *journal.Reader
}

// Open fills the state directory dir and serves it.
func Open(dir string, o journaltest.Options) (*Study, error) {
	if err := journaltest.Fill(dir, o); err != nil {
		return nil, err
	}
	r, err := journal.OpenReader(dir)
	if err != nil {
		return nil, err
	}
	s, err := supervisor.Read(r)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	l := &Loop{Board: s, shown: o.Trials}
	a := api.New(api.Options{
		Loop: l, Journal: r, GPUs: gpus{}, Version: "test", Patience: time.Minute,
		Folder: func(id int64) string { return filepath.Join(dir, "trials", strconv.FormatInt(id, 10)) },
		Start:  func(context.Context) ([]byte, error) { return r.Source(1) },
		Spent: func() (modelserver.Sums, error) {
			return modelserver.Sums{Dollars: 0.25, Requests: 81, PromptTokens: 640_000, ReplyTokens: 32_000, Models: map[string]modelserver.Use{
				"another-model":   {Dollars: 0.05, Requests: 20, PromptTokens: 140_000, ReplyTokens: 12_000},
				journaltest.Model: {Dollars: 0.2, Requests: 60, PromptTokens: 500_000, ReplyTokens: 20_000},
			}}, nil
		},
	})
	return &Study{API: a, Loop: l, Reader: r}, nil
}

// gpus are one that says everything and one that says little.
type gpus struct{}

func (gpus) Devices() []gpu.Device {
	return []gpu.Device{{Index: 0, Name: "NVIDIA H200", MemoryTotal: 141 << 30}, {Index: 1, Name: "NVIDIA H200", MemoryTotal: 141 << 30}}
}

func (gpus) Sample(context.Context) []gpu.Sample {
	some := metrics.Some
	return []gpu.Sample{
		{Device: 0, Label: "0", MemoryUsed: some(48 << 30), MemoryTotal: some(141 << 30), Utilization: some(0.98), Power: some(612), Temperature: some(58)},
		{Device: 1, Label: "1", MemoryUsed: some(1 << 30), MemoryTotal: some(141 << 30)},
		{Device: 1, Label: "1:0", MemoryUsed: some(1 << 30)},
	}
}

// Close ends the streams and releases the journal.
func (s *Study) Close() error {
	s.API.Close()
	return s.Reader.Close()
}

// Loop is what a study's supervisor would know after some of its trials.
type Loop struct {
	*supervisor.Board

	mu    sync.Mutex
	shown int
	edit  func(*supervisor.Status)
}

// Show says how many of the study's trials have finished.
func (l *Loop) Show(trials int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shown = trials
}

// Edit changes what Now says: the trial that runs, for example.
func (l *Loop) Edit(edit func(*supervisor.Status)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edit = edit
}

// History implements api.Loop.
func (l *Loop) History() search.History {
	h := l.Board.History()
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Done = h.Done[:min(l.shown, len(h.Done))]
	return h
}

// Now implements api.Loop.
func (l *Loop) Now() supervisor.Status {
	now := l.Board.Now()
	done := l.History().Done
	if len(done) < len(l.Board.History().Done) { // else the board knows it
		now.Tried = supervisor.Count(done)
		if _, c := search.Ends(done); c != nil && now.Champion != nil {
			now.Champion.ID, now.Champion.Description = c.ID, c.Description
			now.Champion.ValBPB, now.Champion.Runs = c.Score()
		}
	}
	now.Runs, now.Trials = len(done), supervisor.TrialCounts{Total: len(done)}
	for _, r := range done {
		switch r.Decision.Verdict {
		case search.Keep:
			now.Trials.Keep++
		case search.Discard:
			now.Trials.Discard++
		default:
			now.Trials.Crash++
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.edit != nil {
		l.edit(&now)
	}
	return now
}

// Snapshot implements api.Loop.
func (l *Loop) Snapshot() metrics.Snapshot {
	m := l.Board.Snapshot()
	for _, state := range supervisor.SeatStates {
		m.SeatStates = append(m.SeatStates, string(state))
	}
	for _, s := range l.Now().Seats {
		m.Seats = append(m.Seats, scraped(s))
	}
	m.Weights = map[string]float64{"evolution": 0.2, "tpe": 0.3, "gp": 0.25, "cmaes": 0.15, "llm": 0.1}
	return m
}
