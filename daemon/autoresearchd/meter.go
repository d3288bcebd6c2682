package main

import (
	"net/http"
	"sync/atomic"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
	"autoresearchd/search/llm/openai"
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

// models has what is counted of a configuration's models begin at 0.
func (l *lateMeter) models(c config.LLM) {
	if !c.Enabled {
		return
	}
	var names []string
	for _, m := range c.Models {
		names = append(names, m.Name)
	}
	l.m.Load().Models(names, openai.Outcomes)
}

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
