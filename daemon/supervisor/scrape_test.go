package supervisor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/metrics"
)

// TestScrapeWhileTheJournalIsBusy holds a write of the second trial as a slow
// disk does: the page tells of the first one meanwhile.
func TestScrapeWhileTheJournalIsBusy(t *testing.T) {
	dir := scratch(t)
	newWorkspace(t, dir)
	c, err := settings(dir)
	must(t, err)
	repo, err := lineage.Open(t.Context(), c.Study.Workspace)
	must(t, err)
	j, err := journal.Open(c.Study.State)
	must(t, err)
	defer j.Close()
	s, err := begin(t.Context(), j, repo, Options{Config: c, Registry: registry(&scripted{}), Devices: []device.Device{{Name: "cpu"}}, Trials: 2, Trainer: &swift{state: c.Study.State, journal: j}})
	must(t, err)
	page := metrics.New(s, nil, metrics.Build{}).Handler()

	busy, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	j.Observe = func(float64) {
		if len(s.Snapshot().Trials) == 1 {
			once.Do(func() { close(busy) })
			<-release
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(t.Context()) }()
	<-busy
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	// Where the state did not answer in time, the page comes without it.
	for _, want := range []string{"\nautoresearch_trial_running{", "\nautoresearch_decisions_total{decision=\"keep\"} 1\n"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, w.Body)
		}
	}
	close(release)
	must(t, <-ended)
}
