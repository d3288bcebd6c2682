package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"autoresearchd/daemon/config"
)

// server answers each request by the next of its answers, the last one again
// and again.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	answers []func(http.ResponseWriter, *http.Request)
	bodies  []string
	came    chan struct{}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func serve(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *server {
	s := &server{answers: answers, came: make(chan struct{}, 100)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.bodies = append(s.bodies, string(body))
		answer := s.answers[0]
		if len(s.answers) > 1 {
			s.answers = s.answers[1:]
		}
		s.mu.Unlock()
		s.came <- struct{}{}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) got() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.bodies...)
}

// lab is a sender whose waits take no time, and what it logs.
type lab struct {
	*Sender
	mu    sync.Mutex
	text  bytes.Buffer
	waits []time.Duration
}

func (l *lab) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lab) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newLab(c config.Notify) *lab {
	l := &lab{}
	l.Sender = start(c, slog.New(slog.NewTextHandler(l, nil)), func(ctx context.Context, d time.Duration) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waits = append(l.waits, d)
		return ctx.Err()
	})
	return l
}

// end waits until all is sent or given up.
func (l *lab) end() { l.Close(context.Background()) }

func to(address string) config.Notify {
	c := config.Default().Notify
	c.Webhook = address
	return c
}

const secret = "/T0/B0/s3cr3t?key=k3y"

var notice = Notice{Event: "champion", Study: "nov23", Host: "gpu1", Text: "nov23: val_bpb 0.973412 <@everyone> & more", Champion: &Champion{ID: 31, ValBPB: 0.973412}, Candidates: Candidates{Total: 57, Kept: 4}}

func TestFormats(t *testing.T) {
	s := serve(t, status(204))
	c := to(s.URL + secret)
	l := newLab(c)
	l.Send(notice)
	<-s.came
	c.Format = "slack"
	l.Configure(c)
	l.Send(notice)
	l.Send(Notice{Event: "lunch"})
	<-s.came
	c.Events = []string{"end"}
	l.Configure(c)
	l.Send(notice) // nobody wants it any more
	c.Webhook = ""
	l.Configure(c)
	l.Send(Notice{Event: "end"})
	l.end()
	got := s.got()
	var n Notice
	if err := json.Unmarshal([]byte(got[0]), &n); err != nil || n.Text != notice.Text || n.Champion.ID != 31 || n.Candidates.Total != 57 {
		t.Errorf("got %s: %v", got[0], err)
	}
	var text struct{ Text string }
	if err := json.Unmarshal([]byte(got[1]), &text); err != nil || text.Text != "nov23: val_bpb 0.973412 &lt;@\u200beveryone&gt; &amp; more" {
		t.Errorf("got %s: %v", got[1], err)
	}
	if len(got) != 2 || l.log() != "" {
		t.Errorf("got %q, logged %q", got, l.log())
	}
}

// TestAttempts has servers that fail in every way; each notice is tried a few
// times where that may help, and what is logged never holds the secret.
func TestAttempts(t *testing.T) {
	broken := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			conn.Close()
		}
	}
	retry := func(value string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
	for name, c := range map[string]struct {
		answers  []func(http.ResponseWriter, *http.Request)
		requests int
		logged   string
		wait     time.Duration // the first, at least
	}{
		"at once":        {[]func(http.ResponseWriter, *http.Request){status(200)}, 1, "", 0},
		"after failures": {[]func(http.ResponseWriter, *http.Request){status(500), broken, status(503), status(200)}, 4, "", 800 * time.Millisecond},
		"never":          {[]func(http.ResponseWriter, *http.Request){status(502)}, 6, "the server answers 502 Bad Gateway", 800 * time.Millisecond},
		"refused":        {[]func(http.ResponseWriter, *http.Request){status(404)}, 1, "the server answers 404 Not Found", 0},
		"sent elsewhere": {[]func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other"+secret, http.StatusFound) }}, 1, "302 Found", 0},
		"cut off":        {[]func(http.ResponseWriter, *http.Request){broken}, 6, "send to http://127.0.0.1", 800 * time.Millisecond},
		"asked to wait":  {[]func(http.ResponseWriter, *http.Request){retry("17"), status(200)}, 2, "", 17 * time.Second},
		"for too long":   {[]func(http.ResponseWriter, *http.Request){retry("86400"), status(200)}, 2, "", 5 * time.Minute},
		"nonsense":       {[]func(http.ResponseWriter, *http.Request){retry("soon"), status(200)}, 2, "", 800 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, c.answers...)
			l := newLab(to(s.URL + secret))
			l.Send(notice)
			l.end()
			if got := len(s.got()); got != c.requests {
				t.Errorf("%d requests, want %d", got, c.requests)
			}
			if log := l.log(); (c.logged == "") != (log == "") || !strings.Contains(log, c.logged) || strings.Contains(log, "s3cr3t") || strings.Contains(log, "k3y") {
				t.Errorf("logged %q, want %q", log, c.logged)
			}
			if len(l.waits) != c.requests-1 {
				t.Errorf("waited %v", l.waits)
			}
			for i, d := range l.waits {
				if i == 0 && d < c.wait || i > 0 && d < l.waits[i-1] && c.wait < time.Second {
					t.Errorf("waited %v", l.waits)
				}
			}
		})
	}
}

func TestSameFaultIsLoggedOnce(t *testing.T) {
	s := serve(t, status(403), status(403), status(200), status(403))
	l := newLab(to(s.URL + secret))
	for range 4 {
		l.Send(notice)
		<-s.came
	}
	l.end()
	if n := strings.Count(l.log(), "403 Forbidden"); n != 2 { // once, and once again after a success
		t.Errorf("logged %d times:\n%s", n, l.log())
	}
}

// TestHang proves that a server that hangs holds nobody up: not who sends, not
// the next notices beyond what is kept, not the end.
func TestHang(t *testing.T) {
	free := make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { <-free })
	defer close(free)
	l := newLab(to(s.URL + secret))
	l.Send(notice)
	<-s.came
	for range queued + 10 {
		l.Send(notice)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l.Close(ctx)
	l.Send(notice) // too late
	log := l.log()
	if !strings.Contains(log, "too many notices wait") || strings.Contains(log, "s3cr3t") || strings.Count(log, "\n") > 3 {
		t.Errorf("logged\n%s", log)
	}
}

func TestTimeout(t *testing.T) {
	free := make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) { <-free }, status(200))
	defer close(free)
	c := to(s.URL + secret)
	c.Timeout = 50 * time.Millisecond
	l := &lab{}
	l.Sender = start(c, slog.New(slog.NewTextHandler(l, nil)), func(ctx context.Context, _ time.Duration) error {
		c.Timeout = time.Minute // for the attempt that is answered
		l.Configure(c)
		return ctx.Err()
	})
	l.Send(notice)
	l.end()
	if got := len(s.got()); got != 2 || l.log() != "" {
		t.Errorf("%d requests, logged %q", got, l.log())
	}
}

func TestNobodyListens(t *testing.T) {
	s := serve(t, status(200))
	address := s.URL
	s.Close()
	l := newLab(to(address + secret))
	l.Send(notice)
	l.end()
	if log := l.log(); !strings.Contains(log, "connection refused") || strings.Contains(log, "s3cr3t") || len(l.waits) != attempts-1 {
		t.Errorf("waited %v, logged %q", l.waits, log)
	}
}

func TestFile(t *testing.T) {
	s := serve(t, status(200))
	path := filepath.Join(t.TempDir(), "hook")
	c := config.Default().Notify
	c.WebhookFile = path
	for text, want := range map[string]string{"  " + s.URL + secret + "\n": "", "s3cr3t": "does not hold the address of a server", "": "does not hold the address"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l := newLab(c)
		l.Send(notice)
		l.end()
		if log := l.log(); (want == "") != (log == "") || !strings.Contains(log, want) || strings.Contains(log, "s3cr3t") {
			t.Errorf("with %q logged %q", text, log)
		}
	}
	if got := len(s.got()); got != 1 {
		t.Errorf("%d requests", got)
	}
	if _, err := Address(config.Notify{WebhookFile: path + "/none"}); err == nil || !strings.Contains(err.Error(), "read notify.webhook_file: ") {
		t.Error(err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://hooks.slack.com/services/T0/B0/x": "https://hooks.slack.com/…", "https://ada:pw@host:8443/x?y=z#f": "https://host:8443/…", "s3cr3t": "the webhook", "http://[::1": "the webhook", "": "the webhook",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 0 ": 0, "-3": 0, "1e3": 0, "99999999999999": 0, "4000000000": longest,
		"Mon, 23 Nov 2026 12:00:30 GMT": 30 * time.Second, "Mon, 23 Nov 2026 11:00:00 GMT": 0, "Mon, 23 Nov 2099 11:00:00 GMT": longest,
	} {
		if got := retryAfter(in, now); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("slack", "<!channel> @here \xff\x00")
	f.Fuzz(func(t *testing.T, format, text string) {
		data, err := encode(format, Notice{Text: text})
		var out map[string]any
		if err != nil || json.Unmarshal(data, &out) != nil {
			t.Fatalf("%q became %q: %v", text, data, err)
		}
		if said := fmt.Sprint(out["text"]); format == "slack" && (strings.ContainsAny(said, "<>") || strings.Contains(strings.ReplaceAll(said, "@\u200b", ""), "@")) {
			t.Errorf("%q became %q", text, said)
		}
	})
}
