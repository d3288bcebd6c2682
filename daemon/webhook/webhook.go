// Package webhook tells a web address what a person wants to hear of a study:
// a new champion, a tampered score, a stall, an end. It never holds the loop up and never says
// the address in full, as who knows it may write there.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/config"
)

// Notice is what is sent, as JSON; for Slack only its text.
type Notice struct {
	Event      string     `json:"event"` // "champion", "tampered", "stall" or "end"
	Time       time.Time  `json:"time"`
	Host       string     `json:"host"`
	Study      string     `json:"study"`
	Text       string     `json:"text"` // one line for people
	State      string     `json:"state,omitempty"`
	Champion   *Champion  `json:"champion,omitempty"`
	Baseline   float64    `json:"baseline_val_bpb,omitempty"` // the mean of its runs
	Candidates Candidates `json:"candidates"`
	Runs       int        `json:"runs"` // that are over
}

// Champion is the best candidate.
type Champion struct {
	ID          int64   `json:"id"`
	Commit      string  `json:"commit"`
	ValBPB      float64 `json:"val_bpb"` // the mean of its runs
	Runs        int     `json:"runs"`    // of which it is the mean
	Gain        float64 `json:"gain"`    // below the baseline, in bits per byte
	Claim       string  `json:"claim"`   // "confirmed", or "unconfirmed (1 of 3 paired seeds)"; "": the judge claims nothing
	Description string  `json:"description"`
}

// Candidates counts them by what they have come to.
type Candidates struct {
	Total     int `json:"total"`
	Kept      int `json:"kept"`
	Discarded int `json:"discarded"` // those that were refuted among them
	Failed    int `json:"failed"`
	Pending   int `json:"pending"` // and those that were only interrupted
}

const (
	attempts   = 6
	firstWait  = time.Second
	longest    = 5 * time.Minute // that a server may have us wait
	queued     = 64
	answerSize = 4 << 10
)

// Sender sends notices one after another, each with a few attempts. Its methods
// may be called from any goroutine; none of them waits for the network but
// Close.
type Sender struct {
	log  *slog.Logger
	wait func(context.Context, time.Duration) error

	queue chan Notice
	idle  chan struct{} // closed when the last notice has been dealt with
	stop  context.CancelFunc

	mu     sync.Mutex
	config config.Notify
	closed bool
	fault  string // the last that was logged, so that it is logged once
}

// New starts a sender. Without an address it sends nothing.
func New(c config.Notify, log *slog.Logger) *Sender { return start(c, log, sleep) }

func start(c config.Notify, log *slog.Logger, wait func(context.Context, time.Duration) error) *Sender {
	ctx, stop := context.WithCancel(context.Background())
	s := &Sender{log: log, wait: wait, queue: make(chan Notice, queued), idle: make(chan struct{}), stop: stop, config: c}
	go func() {
		defer close(s.idle)
		for n := range s.queue {
			s.deliver(ctx, n)
		}
	}()
	return s
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// Configure puts another configuration in force, also for what waits.
func (s *Sender) Configure(c config.Notify) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.fault = c, ""
}

// Send queues a notice that somebody asked for.
func (s *Sender) Send(n Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !s.config.Enabled() || !slices.Contains(s.config.Events, n.Event) {
		return
	}
	select {
	case s.queue <- n:
	default:
		s.complain(n, errors.New("too many notices wait for the server"))
	}
}

// Close sends what waits, until ctx ends.
func (s *Sender) Close(ctx context.Context) {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.queue)
	}
	s.mu.Unlock()
	select {
	case <-s.idle:
	case <-ctx.Done():
		s.stop()
		<-s.idle
	}
}

// complain logs what goes wrong, once for the same reason. mu is held.
func (s *Sender) complain(n Notice, err error) {
	if err.Error() != s.fault {
		s.fault = err.Error()
		s.log.Warn("a notice could not be sent", "event", n.Event, "err", err)
	}
}

// deliver tries a few times to send a notice.
func (s *Sender) deliver(ctx context.Context, n Notice) {
	var err error
	pause := firstWait
	for attempt := range attempts {
		s.mu.Lock()
		c := s.config
		s.mu.Unlock()
		if !c.Enabled() {
			return // a reload switched it off
		}
		var again bool
		var after time.Duration
		if again, after, err = post(ctx, c, n); err == nil {
			s.mu.Lock()
			s.fault = ""
			s.mu.Unlock()
			return
		}
		if !again || attempt == attempts-1 {
			break
		}
		d := max(after, time.Duration(float64(pause)*(0.8+0.4*rand.Float64())))
		if s.wait(ctx, d) != nil {
			err = fmt.Errorf("the daemon ends: %w", err)
			break
		}
		pause *= 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complain(n, err)
}

var client = &http.Client{
	// A redirect would carry the notice elsewhere.
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends a notice once. again says whether another attempt may help, after
// how long the server wants none before.
func post(ctx context.Context, c config.Notify, n Notice) (again bool, after time.Duration, err error) {
	to, err := Address(c)
	if err != nil {
		return false, 0, err
	}
	body, err := encode(c.Format, n)
	if err != nil {
		return false, 0, fmt.Errorf("write the notice: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false, 0, errors.New("the address of the webhook is not one")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "autoresearchd")
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // it holds the whole address
			err = u.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v (notify.timeout)", c.Timeout)
		}
		return true, 0, fmt.Errorf("send to %s: %w", Redact(to), err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, answerSize))
	if resp.StatusCode/100 == 2 {
		return false, 0, nil
	}
	again = resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout || resp.StatusCode >= 500
	return again, retryAfter(resp.Header.Get("Retry-After"), time.Now()), fmt.Errorf("send to %s: the server answers %d %s", Redact(to), resp.StatusCode, http.StatusText(resp.StatusCode))
}

// Address is where notices go; only what Redact leaves of it may be said. A file
// is read anew for each.
func Address(c config.Notify) (string, error) {
	if c.WebhookFile == "" {
		return c.Webhook, nil
	}
	text, err := os.ReadFile(c.WebhookFile)
	if err != nil {
		return "", fmt.Errorf("read notify.webhook_file: %w", err)
	}
	to := strings.TrimSpace(string(text))
	if u, err := url.Parse(to); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%s (notify.webhook_file) does not hold the address of a server", c.WebhookFile)
	}
	return to, nil
}

// Redact is as much of an address as may be said.
func Redact(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "the webhook"
	}
	return u.Scheme + "://" + u.Host + "/…"
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(header string, now time.Time) time.Duration {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(header, 10, 32); err == nil {
		return min(longest, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(header); err == nil {
		return min(longest, max(0, at.Sub(now)))
	}
	return 0
}

// encode writes a notice in a configuration's format.
func encode(format string, n Notice) ([]byte, error) {
	if format == "slack" {
		return json.Marshal(map[string]any{"text": slack(n.Text), "mrkdwn": false})
	}
	return json.Marshal(n)
}

// slack takes the meaning from what Slack, and servers that speak like it,
// would read as links, commands and calls to everybody.
func slack(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b").Replace(s)
}
