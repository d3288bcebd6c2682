package api_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/journal/journaltest"
)

// stuck is a journal that does not answer until it is let go.
type stuck struct{ held chan struct{} }

func (s stuck) Trial(int64) (journal.Record, error) {
	<-s.held
	return journal.Record{}, journal.ErrUnknown
}
func (s stuck) Some([]int64) ([]journal.Record, error) { <-s.held; return []journal.Record{}, nil }
func (s stuck) Source(int64) ([]byte, error)           { <-s.held; return nil, journal.ErrUnknown }

// TestLockedJournal asks while another program is in the middle of a write to
// the journal, and holds it locked.
func TestLockedJournal(t *testing.T) {
	s, dir := open(t, journaltest.Options{Trials: 6})
	db, err := sql.Open("sqlite", filepath.Join(dir, "journal.db"))
	must(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range []string{"PRAGMA journal_mode = WAL", "BEGIN EXCLUSIVE", "UPDATE trial SET reason = 'half written'"} {
		_, err := db.Exec(statement)
		must(t, err)
	}
	for _, path := range []string{"trials", "trials/3", "status"} {
		if w := ask(t, s.API, path); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "half written") {
			t.Errorf("%s: %d %.300s", path, w.Code, w.Body)
		}
	}
	_, err = db.Exec("ROLLBACK")
	must(t, err)
}

// TestBusyJournal wants words within a second, from however many requests at
// once, and the whole answer again when the journal is back.
func TestBusyJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &loop{}
		l.finish(5)
		j := stuck{make(chan struct{})}
		a := api.New(api.Options{Loop: l, Journal: j, Folder: func(int64) string { return "" }})
		defer a.Close()
		begin := time.Now()
		answers := make(chan error, 1)
		for range 20 {
			for _, path := range []string{"trials", "trials/3"} {
				go func() {
					w := ask(t, a, path)
					if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.HasPrefix(w.Body.String(), `{"error":"the journal does not answer now: `) {
						t.Errorf("%s: %d %s", path, w.Code, w.Body)
					}
					answers <- nil
				}()
			}
		}
		for range 40 {
			<-answers
		}
		if d := time.Since(begin); d >= time.Second {
			t.Errorf("the answers took %v", d)
		}
		for _, path := range []string{"status", "staircase", "lineage", "constants", "strategies"} { // which need no journal
			if w := ask(t, a, path); w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		close(j.held)
		synctest.Wait()
		if w := ask(t, a, "trials"); w.Code != http.StatusOK {
			t.Errorf("afterwards: %d %s", w.Code, w.Body)
		}
	})
}
