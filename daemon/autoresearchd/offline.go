package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// statusOf asks the daemon, or reads the journal where none runs.
func statusOf(ctx context.Context, state string) (now supervisor.Status, err error) {
	client, err := httpd.Dial(state)
	if err == nil {
		return now, client.Status(ctx, &now)
	}
	r, opened := journal.OpenReader(state)
	if opened != nil {
		return now, opened
	}
	defer r.Close()
	board, read := supervisor.Read(r)
	if read != nil {
		return now, read
	}
	return unasked(board.Now(), err), nil
}

// unasked is a study's status from its record, where its daemon could not be
// asked.
func unasked(past supervisor.Status, err error) supervisor.Status {
	if !errors.Is(err, httpd.ErrNone) {
		past.State, past.Waiting, past.Next = "not known", err.Error(), "not known"
	}
	return past
}

// recordAPI is the API of a study from its record, which a daemon may go on
// writing. Close it.
func (g *globals) recordAPI(state string, r *journal.Reader) (*api.API, error) {
	loop := &recordLoop{state: state, r: r}
	if err := loop.renew(); err != nil {
		return nil, err
	}
	about, _, err := r.Study()
	if err != nil {
		return nil, err
	}
	o := api.Options{
		Loop: loop, Journal: r, Version: version,
		Folder: func(id int64) string { return study.Folder(state, id) },
		Spent:  func() (modelserver.Sums, error) { return modelserver.Read(state) },
	}
	if repo, err := g.workspace(context.Background(), about); err == nil { // a record may be all that is left
		o.Start = func(ctx context.Context) ([]byte, error) { return repo.ReadFile(ctx, about.BaseCommit, "train.py") }
	}
	return api.New(o), nil
}

// recordLoop is a study of which another process may run the trials. It reads
// the journal again when that was written to.
type recordLoop struct {
	state string
	r     *journal.Reader

	mu    sync.Mutex
	mark  string // of the journal, when the board was read from it
	board *supervisor.Board
	fault error // of the last attempt to read
}

// renew reads the journal if it has to be. mu is held, or nobody else knows l.
func (l *recordLoop) renew() error {
	mark := l.r.Mark()
	if mark == l.mark && l.fault == nil {
		return nil
	}
	board, err := supervisor.Read(l.r)
	if l.fault = err; err == nil {
		l.board, l.mark = board, mark
	}
	return err
}

// known is the record as it can be read now, else as it was last read.
func (l *recordLoop) known() (*supervisor.Board, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.renew()
	return l.board, err
}

// Now asks the daemon, or knows the record alone.
func (l *recordLoop) Now() (now supervisor.Status) {
	client, err := httpd.Dial(l.state)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err = client.Status(ctx, &now); err == nil {
			return now
		}
	}
	board, fault := l.known()
	now = unasked(board.Now(), err)
	if fault != nil {
		now.State, now.Waiting = "not known", fault.Error()
	}
	return now
}

func (l *recordLoop) History() search.History {
	board, _ := l.known()
	return board.History()
}

func (l *recordLoop) Snapshot() metrics.Snapshot {
	board, _ := l.known()
	return board.Snapshot()
}
