package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// source is what a scrape reads: the supervisor, and what models have cost.
type source struct {
	*supervisor.Supervisor
	ledger *modelserver.Ledger
}

func (s source) Snapshot() metrics.Snapshot {
	m := s.Supervisor.Snapshot()
	if dollars, ok := s.ledger.Spent(); ok {
		m.LLM.Cost = &dollars
	}
	return m
}

// lateMeter passes on to metrics that are made after what they measure: the
// registry reads the supervisor, which tells the registry.
type lateMeter struct {
	m atomic.Pointer[metrics.Metrics]
}

func (l *lateMeter) set(m *metrics.Metrics) { l.m.Store(m) }

func (l *lateMeter) page() http.Handler { return l.m.Load().Handler() }

func (l *lateMeter) journal(seconds float64) {
	if m := l.m.Load(); m != nil {
		m.ObserveJournal(time.Duration(seconds * float64(time.Second)))
	}
}

func (l *lateMeter) ObservePhase(p search.Phase, d time.Duration) {
	if m := l.m.Load(); m != nil {
		m.ObservePhase(p, d)
	}
}

func (l *lateMeter) ObserveKill(p search.Phase, cause string, d time.Duration) {
	if m := l.m.Load(); m != nil {
		m.ObserveKill(p, cause, d)
	}
}

func (l *lateMeter) ObserveAsk(strategy string, d time.Duration) {
	if m := l.m.Load(); m != nil {
		m.ObserveAsk(strategy, d)
	}
}

func (l *lateMeter) ObserveLLM(model, outcome string, d time.Duration, promptTokens, replyTokens int, dollars float64) {
	if m := l.m.Load(); m != nil {
		m.ObserveLLM(model, outcome, d, promptTokens, replyTokens, dollars)
	}
}
