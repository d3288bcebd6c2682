package httpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"autoresearchd/search"
)

var quiet = slog.New(slog.DiscardHandler)

func public() Public {
	return Public{
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metric 1\n") }),
		Ready:   func() error { return nil },
		Log:     quiet,
	}
}

func TestPublic(t *testing.T) {
	ready := errors.New("the baseline runs")
	p := public()
	p.Ready = func() error { return ready }
	s, err := Listen("127.0.0.1:0", p)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func(method, path string) string {
		t.Helper()
		req, _ := http.NewRequest(method, "http://"+s.Addr()+path, nil)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/metrics", "200 metric 1\n"},
		{"GET", "/healthz", "200 alive\n"},
		{"HEAD", "/healthz", "200 "},
		{"GET", "/readyz", "503 not ready: the baseline runs\n"},
		{"GET", "/", "200 " + index},
		{"GET", "/v1/status", "404 404 page not found\n"},
		{"POST", "/v1/pause", "405 read-only: commands go over the Unix socket (`autoresearchd pause`, …)\n"},
		{"DELETE", "/metrics", "405 read-only: commands go over the Unix socket (`autoresearchd pause`, …)\n"},
	} {
		if got := ask(c.method, c.path); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.method, c.path, got, c.want)
		}
	}
	ready = nil
	if got := ask("GET", "/readyz"); got != "200 ready\n" {
		t.Errorf("readyz: %q", got)
	}

	_, err = Listen(s.Addr(), public())
	want := "serve http on " + s.Addr() + ": the address is in use: end what listens there (`ss -ltnp`) or set another [http] listen, \"\" for none"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err, open := <-s.Done(); err != nil {
		t.Errorf("ended with %v, %v", err, open)
	}
}

func TestOff(t *testing.T) {
	s, err := Listen("", public())
	if s != nil || err != nil {
		t.Fatalf("got %v, %v", s, err)
	}
	if s.Addr() != "" || s.Done() != nil || s.Close() != nil {
		t.Error("a server that is off does something")
	}
}

// Close ends a request that does not end by itself.
func TestCloseBusy(t *testing.T) {
	p, entered := public(), make(chan struct{})
	p.Metrics = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	})
	s, err := Listen("127.0.0.1:0", p)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + s.Addr() + "/metrics")
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-failed
}

type fake struct {
	calls  []string
	values map[string]search.Value
	text   string
	err    error
}

func (f *fake) do(name string) error { f.calls = append(f.calls, name); return f.err }

func (f *fake) Status() any                                  { return map[string]any{"state": "running", "trials": 3} }
func (f *fake) Pause(context.Context) error                  { return f.do("pause") }
func (f *fake) Resume(context.Context) error                 { return f.do("resume") }
func (f *fake) Cancel(_ context.Context, which string) error { return f.do("cancel " + which) }
func (f *fake) Stop(context.Context) error                   { return f.do("stop") }
func (f *fake) Reload(context.Context) (string, error) {
	return "it holds from the next trial on", f.do("reload")
}
func (f *fake) Suggest(_ context.Context, v map[string]search.Value) (string, error) {
	f.values = v
	return "trial 8 will try it", f.err
}

func (f *fake) SuggestText(_ context.Context, text string) (string, error) {
	f.text = text
	return "a model will try it", f.err
}

func (f *fake) Drop(_ context.Context, id int64) (string, error) {
	return fmt.Sprintf("dropped: suggestion %d", id), f.err
}

func (f *fake) Ablate(_ context.Context, id int64) (string, error) {
	return fmt.Sprintf("without #%d: DEPTH 4 -> 6", id), f.err
}

// stateDir is short enough for a socket's path.
func stateDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "httpd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestControl(t *testing.T) {
	state, f := stateDir(t), &fake{}
	s, err := Control(state, f, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(Socket(state))
	if err != nil || info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	c, err := Dial(state)
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		State  string
		Trials int
	}
	if err := c.Status(t.Context(), &status); err != nil || status.State != "running" || status.Trials != 3 {
		t.Errorf("status %+v, %v", status, err)
	}
	cancel := func(ctx context.Context) error { return c.Cancel(ctx, "cpu:1 & 2") }
	for _, verb := range []func(context.Context) error{c.Pause, c.Resume, cancel, c.Stop} {
		if err := verb(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Join(f.calls, " "); got != "pause resume cancel cpu:1 & 2 stop" {
		t.Errorf("calls %s", got)
	}
	values := map[string]search.Value{
		"MATRIX_LR": search.FloatValue(0.05), "DEPTH": search.IntValue(8), "ADAM_BETAS": search.TupleValue(search.FloatValue(0.8), search.FloatValue(1)),
	}
	if message, err := c.Suggest(t.Context(), values); err != nil || message != "trial 8 will try it" || !reflect.DeepEqual(f.values, values) {
		t.Errorf("%s, %v, got %v", message, err, f.values)
	}
	if message, err := c.SuggestText(t.Context(), "try\nthis"); err != nil || message != "a model will try it" || f.text != "try\nthis" {
		t.Errorf("%s, %v, got %q", message, err, f.text)
	}
	if message, err := c.Drop(t.Context(), 7); err != nil || message != "dropped: suggestion 7" {
		t.Errorf("%s, %v", message, err)
	}
	if message, err := c.Ablate(t.Context(), 7); err != nil || message != "without #7: DEPTH 4 -> 6" {
		t.Errorf("%s, %v", message, err)
	}
	f.err = errors.New("no trial is running")
	if _, err := c.Drop(t.Context(), 7); err == nil || err.Error() != "no trial is running" {
		t.Errorf("drop: %v", err)
	}
	if err := c.Cancel(t.Context(), ""); err == nil || err.Error() != "no trial is running" {
		t.Errorf("cancel: %v", err)
	}
	if _, err := c.Suggest(t.Context(), values); err == nil || err.Error() != "no trial is running" {
		t.Errorf("suggest: %v", err)
	}

	f.values = nil
	for _, c2 := range []struct{ body, want string }{
		{`{"set": {}}`, `400 {"error":"the suggestion sets no constant: write --set NAME=VALUE"}`},
		{`{"words": "x"}`, `400 {"error":"read the suggestion: json: unknown field \"words\""}`},
		{`{"text": "x", "set": {"A": 1}}`, `400 {"error":"suggest words or values, not both at once"}`},
		{`{"set": {"A": 1}} {}`, `400 {"error":"read the suggestion: more than one JSON value"}`},
		{`{"set": {"A": "` + strings.Repeat("x", maxBody) + `"}}`, `413 {"error":"a suggestion may be 65536 bytes long"}`},
		{`{`, `400 {"error":"read the suggestion: unexpected EOF"}`},
	} {
		resp, err := c.http.Post("http://autoresearchd/v1/suggest", "application/json", strings.NewReader(c2.body))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if got := fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))); got != c2.want {
			t.Errorf("%.40s: %s, want %s", c2.body, got, c2.want)
		}
	}
	if f.values != nil {
		t.Errorf("a bad suggestion arrived: %v", f.values)
	}

	if _, err := Control(state, f, quiet); err == nil || !strings.HasSuffix(err.Error(), "another daemon answers there: stop it first (`autoresearchd stop --state "+state+"`)") {
		t.Errorf("second daemon: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(Socket(state)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	if err := c.Pause(t.Context()); err == nil || err.Error() != "no daemon is running on "+state+": start it with `autoresearchd run` or `systemctl start autoresearchd`" {
		t.Errorf("after the end: %v", err)
	}
}

func TestStaleSocket(t *testing.T) {
	state := stateDir(t)
	want := "no daemon is running on " + state + ": start it with `autoresearchd run` or `systemctl start autoresearchd`"
	if _, err := Dial(state); err == nil || err.Error() != want {
		t.Errorf("never started: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: Socket(state), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as after SIGKILL
	l.Close()
	if _, err := Dial(state); err == nil || err.Error() != want {
		t.Errorf("died: %v", err)
	}
	s, err := Control(state, &fake{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()

	if err := os.WriteFile(Socket(state), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Control(state, &fake{}, quiet); err == nil || !strings.HasSuffix(err.Error(), "something that is not a socket is in the way: move it away") {
		t.Errorf("a file: %v", err)
	}
	long := filepath.Join(state, strings.Repeat("x", 100))
	if _, err := Control(long, &fake{}, quiet); err == nil || !strings.HasSuffix(err.Error(), "107 are possible: choose a shorter [study] state") {
		t.Errorf("a long path: %v", err)
	}
}
