package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/daemon/httpd/api"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/metrics"
	"autoresearchd/search"
)

// pipes is a listener in memory: nothing is buffered, so that who does not read
// is felt at once.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// serveOn serves with the daemon's limits on connections.
func serveOn(t *testing.T, h http.Handler) *pipes {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	s := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: 60 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-ended
	})
	return l
}

type event struct{ id, name, data string }

type stream struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

// watch opens a stream; last is its Last-Event-ID.
func watch(t *testing.T, l *pipes, last string) *stream {
	t.Helper()
	here, there := net.Pipe()
	l.conns <- there
	if last != "" {
		last = "Last-Event-ID: " + last + "\r\n"
	}
	_, err := fmt.Fprintf(here, "GET %sevents HTTP/1.1\r\nHost: x\r\n%s\r\n", api.Prefix, last)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(here), nil)
	must(t, err)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	t.Cleanup(func() { here.Close() })
	return &stream{t, here, bufio.NewReader(resp.Body)}
}

// next reads one block; a comment's name is ":".
func (s *stream) next() (event, error) {
	var e event
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return e, err
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); name {
		case "":
			if value == "" {
				if line == "\n" {
					return e, nil
				}
			}
			e.name = ":"
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "retry":
			if value != "2000" {
				s.t.Errorf("retry %s", value)
			}
		}
	}
}

// until skips to the next event of a name.
func (s *stream) until(name string) event {
	s.t.Helper()
	for {
		e, err := s.next()
		if err != nil {
			s.t.Fatalf("waiting for %s: %v", name, err)
		}
		if e.name == name {
			return e
		}
	}
}

// loop is a study that a test drives.
type loop struct {
	mu   sync.Mutex
	step int
	done []search.Result
}

func (l *loop) Now() supervisor.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return supervisor.Status{State: "running", Trials: supervisor.TrialCounts{Total: len(l.done)}, Seats: []supervisor.SeatStatus{{Name: "cpu", Device: "cpu", State: supervisor.SeatRunning,
		Trial: &supervisor.RunningStatus{ID: 9, Candidate: 9, Run: 1, Step: l.step, Curve: [][2]float64{{0.1, 3}}}}}}
}
func (l *loop) History() search.History {
	l.mu.Lock()
	defer l.mu.Unlock()
	return search.History{Done: l.done[:len(l.done):len(l.done)]}
}
func (l *loop) Snapshot() metrics.Snapshot { return metrics.Snapshot{} }

func (l *loop) finish(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.done = append(l.done, search.Result{Trial: search.Trial{ID: int64(len(l.done) + 1), Candidate: 1}})
	}
}
func (l *loop) advance() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step++
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &loop{}
		l.finish(3)
		a := api.New(api.Options{Loop: l})
		server := serveOn(t, a)
		one, two := watch(t, server, ""), watch(t, server, "")
		for _, s := range []*stream{one, two} {
			if e, _ := s.next(); e.id != "3" || e.name != "" {
				t.Errorf("the stream begins with %+v", e)
			}
			if e, _ := s.next(); e.name != "status" || !strings.Contains(e.data, `"total":3`) || strings.Contains(e.data, "curve") {
				t.Errorf("then comes %+v", e)
			}
			if e, _ := s.next(); e.name != "status" { // the producer's first
				t.Errorf("then comes %+v", e)
			}
		}
		// A second is the least between two status events.
		begin := time.Now()
		l.advance()
		for _, s := range []*stream{one, two} {
			if e, _ := s.next(); e.name != "status" || !strings.Contains(e.data, `"step":1`) {
				t.Errorf("%+v", e)
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
		l.finish(2)
		for _, s := range []*stream{one, two} {
			for _, want := range []event{{"4", "trial", `{"id":4,"candidate":1}`}, {"5", "trial", `{"id":5,"candidate":1}`}} {
				if e, _ := s.next(); e != want {
					t.Errorf("%+v, want %+v", e, want)
				}
			}
			if e, _ := s.next(); e.name != "status" {
				t.Errorf("%+v", e)
			}
		}
		// Nothing changes: heartbeats, long past the server's own limits.
		begin = time.Now()
		go io.Copy(io.Discard, two.conn)
		for range 10 {
			if e, err := one.next(); err != nil || e.name != ":" {
				t.Errorf("%+v, %v", e, err)
			}
		}
		if d := time.Since(begin); d < 130*time.Second || d > 150*time.Second {
			t.Errorf("ten heartbeats in %v", d)
		}
		// One that was away hears what it missed, and nothing twice.
		one.conn.Close()
		l.finish(2)
		back := watch(t, server, "4")
		if e, _ := back.next(); e != (event{}) { // retry alone
			t.Errorf("%+v", e)
		}
		for _, want := range []string{"5", "6", "7"} {
			if e, _ := back.next(); e.id != want || e.name != "trial" {
				t.Errorf("%+v, want trial %s", e, want)
			}
		}
		l.finish(1)
		if e := back.until("trial"); e.id != "8" {
			t.Errorf("%+v", e)
		}
		go io.Copy(io.Discard, back.conn)
		a.Close()
		synctest.Wait()
	})
}

func TestSlowWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &loop{}
		a := api.New(api.Options{Loop: l})
		server := serveOn(t, a)
		slow, quick := watch(t, server, ""), watch(t, server, "")
		quick.until("status")
		for id := range 100 { // of which the slow one reads nothing
			l.finish(1)
			if e := quick.until("trial"); e.id != fmt.Sprint(id+1) {
				t.Fatalf("%+v", e)
			}
		}
		heard := 0
		for {
			e, err := slow.next()
			if err != nil {
				break
			}
			if e.name == "trial" {
				heard++
			}
		}
		if heard > 40 {
			t.Errorf("the slow watcher was told of %d trials", heard)
		}
		go io.Copy(io.Discard, quick.conn)
		a.Close()
	})
}

// TestStreamsEnd ends those that wait and those that hang in a write.
func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := api.New(api.Options{Loop: &loop{}})
		server := serveOn(t, a)
		waits, hangs := watch(t, server, ""), watch(t, server, "")
		waits.until("status")
		waits.until("status")
		begin := time.Now()
		a.Close()
		for {
			_, err := waits.next()
			if err == io.EOF { // and not cut
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for {
			if _, err := hangs.next(); err != nil {
				break
			}
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("it took %v", d)
		}
		w := ask(t, a, "events")
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || w.Body.String() != `{"error":"the daemon is being stopped: connect again when it is back"}` {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}
