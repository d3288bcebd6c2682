// Package openai asks language models behind any server that speaks OpenAI's
// chat completions. It bounds every wait, counts what requests cost, and turns
// every fault of a server into one line; the key reaches nothing but the
// Authorization header.
package openai

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	api "github.com/sashabaranov/go-openai"

	"autoresearchd/search"
)

// Model is a model with its prices in dollars a million tokens.
type Model struct {
	Name        string
	InputPrice  float64
	OutputPrice float64
}

// Options say whom to ask, and how much it may cost.
type Options struct {
	BaseURL   string
	Models    []Model
	Key       func() (string, error) // read for every request, so that it can be changed; nil or empty: none
	KeyHint   string                 // where a person looks when the key is refused
	MaxCost   float64                // dollars; 0: no cap
	MaxTokens int                    // of a reply; 0: the server's own limit
	Timeout   time.Duration          // of one request
	Ledger    Ledger                 // nil: in memory
	Observer  Observer               // nil: none
	Transport http.RoundTripper      // nil: the network
	Random    func() float64         // jitter, 0 to 1; nil: a random one
	Log       *slog.Logger
}

// Ledger keeps what was spent, over restarts. What Reserve has taken is on the
// disk before a request is sent, so that a request whose end nobody saw counts
// as what it could have cost.
type Ledger interface {
	// Reserve takes dollars, if the sum stays within limit (0: none); else ErrCap.
	Reserve(dollars, limit float64) error
	// Settle puts what a request to a model has cost in the place of what was reserved.
	Settle(model string, reserved, dollars float64, promptTokens, replyTokens int) error
}

// ErrCap means that the money of [llm] max_cost is spent.
var ErrCap = errors.New("llm.max_cost is reached")

// Observer counts requests. outcome is one of Outcomes.
type Observer interface {
	ObserveLLM(model, outcome string, d time.Duration, promptTokens, replyTokens int, dollars float64)
}

// Outcomes are all the words that an Observer is told.
var Outcomes = []string{"ok", "truncated", "empty", "refused", "unauthorized", "not_found", "bad_request", "rate_limited", "server_error", "timeout", "unreachable", "malformed", "cancelled"}

const (
	connectTimeout  = 10 * time.Second
	firstBackoff    = time.Second
	longestBackoff  = time.Minute
	longestAfter    = 2 * time.Minute // a Retry-After beyond it is not waited for
	breakerAfter    = 3               // failures in a row
	breakerOpen     = time.Minute     // doubled by every failure more
	breakerLongest  = 30 * time.Minute
	breakerHopeless = 5 * time.Minute // after a fault that only a person mends
	maxBody         = 8 << 20
	cappedTokens    = 16384 // of a reply, where money is capped and MaxTokens is not set
)

// Client is a search.Model. Its methods may be called from any goroutine.
type Client struct {
	o    Options
	http *http.Client

	mu       sync.Mutex
	next     int // whose turn it is
	breakers map[string]*breaker
}

type breaker struct {
	failures int
	until    time.Time // not asked before
	last     string    // the fault that opened it
}

// New makes a client; it does not speak to the server.
func New(o Options) (*Client, error) {
	if len(o.Models) == 0 {
		return nil, errors.New("llm.models is empty: name at least one model")
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Host == "" {
		return nil, errors.New("llm.base_url is not the address of a server")
	}
	if o.Timeout <= 0 {
		o.Timeout = 3 * time.Minute
	}
	if o.Ledger == nil {
		o.Ledger = &memoryLedger{}
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Key == nil {
		o.Key = func() (string, error) { return "", nil }
	}
	base := o.Transport
	if base == nil {
		dialer := &net.Dialer{Timeout: connectTimeout}
		base = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: connectTimeout,
			ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second,
		}
	}
	c := &Client{o: o, breakers: map[string]*breaker{}}
	c.http = &http.Client{Transport: &reader{base}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return fmt.Errorf("%w to %s", errRedirect, r.URL.Host)
	}}
	for _, m := range o.Models {
		c.breakers[m.Name] = &breaker{}
	}
	return c, nil
}

// Names lists the models.
func (c *Client) Names() []string {
	names := make([]string, len(c.o.Models))
	for i, m := range c.o.Models {
		names[i] = m.Name
	}
	return names
}

var (
	errRedirect = errors.New("the server redirects")
	errTooLong  = errors.New("the answer is longer than 8 MiB")
)

// reader bounds what is read of an answer, and notes its Retry-After.
type reader struct{ http.RoundTripper }

type noteKey struct{}

type note struct {
	after string
	sent  bool // the server has seen the request
}

func (r *reader) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := r.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if n, ok := req.Context().Value(noteKey{}).(*note); ok {
		n.after, n.sent = res.Header.Get("Retry-After"), true
	}
	res.Body = &bounded{res.Body, maxBody}
	return res, nil
}

type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// fault is why a request has no reply.
type fault struct {
	outcome string
	text    string
	tries   int           // requests in all before it is given up
	after   time.Duration // the server's own wish
	lasting bool          // only a person can mend it
}

func (f *fault) Error() string { return f.text }

// Complete asks a model, again after faults that pass. Where the wished model
// is set aside, another answers.
func (c *Client) Complete(ctx context.Context, p search.Prompt) (search.Reply, error) {
	m, err := c.pick(p.Model)
	if err != nil {
		return search.Reply{}, err
	}
	for try := 1; ; try++ {
		reply, err := c.once(ctx, m, p)
		if err == nil {
			c.closed(m.Name)
			return reply, nil
		}
		var f *fault
		if !errors.As(err, &f) { // no request was made
			return search.Reply{}, err
		}
		if ctx.Err() != nil {
			return search.Reply{}, fmt.Errorf("model %s: %s: %w", m.Name, f.text, ctx.Err())
		}
		wait := firstBackoff << min(try-1, 10)
		wait = time.Duration((0.5 + 0.5*c.o.Random()) * float64(min(wait, longestBackoff)))
		wait = max(wait, f.after)
		if try >= f.tries || wait > longestAfter {
			c.failed(m.Name, f)
			return search.Reply{}, fmt.Errorf("model %s: %s", m.Name, f.text)
		}
		c.o.Log.Debug("a model is asked again", "model", m.Name, "after", wait, "why", f.text)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return search.Reply{}, fmt.Errorf("model %s: %s: %w", m.Name, f.text, ctx.Err())
		}
	}
}

// pick returns the wished model, or the next whose breaker is closed.
func (c *Client) pick(wish string) (Model, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	start := c.next
	for i, m := range c.o.Models {
		if m.Name == wish {
			start = i
		}
	}
	if wish == "" {
		c.next++
	}
	var soonest *breaker
	for i := range c.o.Models {
		m := c.o.Models[(start+i)%len(c.o.Models)]
		b := c.breakers[m.Name]
		if !now.Before(b.until) {
			return m, nil
		}
		if soonest == nil || b.until.Before(soonest.until) {
			soonest = b
		}
	}
	return Model{}, fmt.Errorf("the model server is left alone until %s, after %d failures: %s", soonest.until.Format("15:04:05"), soonest.failures, soonest.last)
}

func (c *Client) closed(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*c.breakers[name] = breaker{}
}

// failed opens a model's breaker after a few failures in a row, at once where
// only a person can help or the server has named a time.
func (c *Client) failed(name string, f *fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.breakers[name]
	b.failures++
	b.last = f.text
	open := time.Duration(0)
	if b.failures >= breakerAfter {
		open = min(breakerOpen<<min(b.failures-breakerAfter, 10), breakerLongest)
	}
	if f.lasting {
		open = max(open, breakerHopeless)
	}
	if f.outcome == "refused" { // the model's mood, not the server's
		open = 0
	}
	b.until = time.Now().Add(max(open, f.after))
}

// once makes one request. An error that is no fault means that none was made.
func (c *Client) once(ctx context.Context, m Model, p search.Prompt) (search.Reply, error) {
	key, err := c.o.Key()
	if err != nil {
		return search.Reply{}, err
	}
	tokens := c.o.MaxTokens
	if tokens == 0 && c.o.MaxCost > 0 {
		tokens = cappedTokens
	}
	size := len(p.System)
	for _, t := range p.Turns {
		size += len(t)
	}
	price := func(prompt, reply int) float64 {
		return (float64(prompt)*m.InputPrice + float64(reply)*m.OutputPrice) / 1e6
	}
	reserved := price(size/2+200, tokens)
	if err := c.o.Ledger.Reserve(reserved, c.o.MaxCost); err != nil {
		return search.Reply{}, fmt.Errorf("model %s is not asked: %w", m.Name, err)
	}
	n := &note{}
	limit, cancel := context.WithTimeout(context.WithValue(ctx, noteKey{}, n), c.o.Timeout)
	defer cancel()
	begin := time.Now()
	res, err := c.client(key).CreateChatCompletion(limit, request(m.Name, p, tokens))
	reply := search.Reply{Model: m.Name, Seconds: time.Since(begin).Seconds()}
	outcome := "ok"
	var f *fault
	if err != nil {
		f = c.explain(ctx, limit, err, n)
		if f.outcome == "timeout" || f.outcome == "malformed" || f.outcome == "cancelled" {
			reply.Dollars = reserved // the server may have answered, and count it
		}
	} else {
		f = read(res, &reply)
		if reply.PromptTokens <= 0 {
			reply.PromptTokens = size/4 + 1
		}
		if reply.ReplyTokens < 0 || reply.ReplyTokens == 0 && reply.Text != "" {
			reply.ReplyTokens = len(reply.Text)/4 + 1
		}
		reply.Dollars = price(reply.PromptTokens, reply.ReplyTokens)
		if reply.Truncated {
			outcome = "truncated"
		}
	}
	if f != nil {
		outcome = f.outcome
		f.text = scrub(f.text, key)
	}
	reply.Text = scrub(reply.Text, key)
	if err := c.o.Ledger.Settle(m.Name, reserved, reply.Dollars, reply.PromptTokens, reply.ReplyTokens); err != nil {
		c.o.Log.Error("what a model has cost could not be recorded; no more is asked until it can be", "err", err)
	}
	if c.o.Observer != nil {
		c.o.Observer.ObserveLLM(m.Name, outcome, time.Duration(reply.Seconds*float64(time.Second)), reply.PromptTokens, reply.ReplyTokens, reply.Dollars)
	}
	if f != nil {
		return search.Reply{}, f
	}
	return reply, nil
}

func (c *Client) client(key string) *api.Client {
	config := api.DefaultConfig(key)
	config.BaseURL = c.o.BaseURL
	config.HTTPClient = c.http
	return api.NewClientWithConfig(config)
}

func request(model string, p search.Prompt, tokens int) api.ChatCompletionRequest {
	r := api.ChatCompletionRequest{Model: model, Messages: []api.ChatCompletionMessage{{Role: api.ChatMessageRoleSystem, Content: p.System}}}
	for i, t := range p.Turns {
		role := api.ChatMessageRoleUser
		if i%2 == 1 {
			role = api.ChatMessageRoleAssistant
		}
		r.Messages = append(r.Messages, api.ChatCompletionMessage{Role: role, Content: t})
	}
	// Newer models of OpenAI's refuse the one, other servers do not know the other.
	for _, family := range []string{"o1", "o3", "o4", "gpt-5", "gpt-6"} {
		if strings.HasPrefix(model, family) {
			r.MaxCompletionTokens = tokens
			return r
		}
	}
	//lint:ignore SA1019 most servers know nothing else
	r.MaxTokens = tokens
	return r
}

// read takes the reply out of an answer.
func read(res api.ChatCompletionResponse, reply *search.Reply) *fault {
	reply.PromptTokens, reply.ReplyTokens = res.Usage.PromptTokens, res.Usage.CompletionTokens
	if len(res.Choices) == 0 {
		return &fault{outcome: "empty", text: "the answer holds no reply", tries: 2}
	}
	choice := res.Choices[0]
	reply.Text = choice.Message.Content
	for _, part := range choice.Message.MultiContent {
		reply.Text += part.Text
	}
	reply.Truncated = choice.FinishReason == api.FinishReasonLength
	switch empty := strings.TrimSpace(reply.Text) == ""; {
	case choice.Message.Refusal != "":
		return &fault{outcome: "refused", text: "the model refuses: " + line(choice.Message.Refusal), tries: 1}
	case choice.FinishReason == api.FinishReasonContentFilter:
		return &fault{outcome: "refused", text: "the server's content filter has taken the reply", tries: 1}
	case empty && reply.Truncated:
		return &fault{outcome: "truncated", text: "the reply ended at its longest length before it began: raise llm.max_tokens", tries: 1}
	case empty:
		return &fault{outcome: "empty", text: "the reply is empty", tries: 2}
	}
	return nil
}

// explain says in one line what went wrong, and whether it may pass.
func (c *Client) explain(ctx, limit context.Context, err error, n *note) *fault {
	var answer *api.APIError
	var plain *api.RequestError
	status, said := 0, ""
	switch {
	case errors.As(err, &answer):
		status, said = answer.HTTPStatusCode, answer.Message
	case errors.As(err, &plain):
		status, said = plain.HTTPStatusCode, string(plain.Body)
	}
	if said = line(said); said != "" {
		said = ": " + said
	}
	after := retryAfter(n.after, time.Now())
	hint := c.o.KeyHint
	if hint == "" {
		hint = "the key"
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.Is(err, errRedirect):
		return &fault{outcome: "bad_request", text: "the server answers with a redirection: set llm.base_url to where it leads", tries: 1, lasting: true}
	case status == 401 || status == 403:
		return &fault{outcome: "unauthorized", text: fmt.Sprintf("the server refuses the key (%d): check %s%s", status, hint, said), tries: 1, lasting: true}
	case status == 404 || status == 405:
		return &fault{outcome: "not_found", text: fmt.Sprintf("the server knows no such model or path (%d): check llm.models, and llm.base_url, which often ends in /v1%s", status, said), tries: 1, lasting: true}
	case status == 429:
		f := &fault{outcome: "rate_limited", text: "the server has had too many requests (429)" + said, tries: 4, after: after}
		if answer != nil && (answer.Code == "insufficient_quota" || answer.Type == "insufficient_quota") {
			f.text, f.tries, f.lasting = "the account has no money left (429)"+said, 1, true
		}
		return f
	case status == 408 || status >= 500:
		return &fault{outcome: "server_error", text: fmt.Sprintf("the server failed (%d)%s", status, said), tries: 4, after: after}
	case status >= 300:
		if strings.Contains(strings.ToLower(said), "context") {
			said += "; if the prompt is too long for the model, lower search.llm.prompt_bytes"
		}
		return &fault{outcome: "bad_request", text: fmt.Sprintf("the server refuses the request (%d)%s", status, said), tries: 1}
	case ctx.Err() != nil:
		return &fault{outcome: "cancelled", text: "nobody waited for the reply", tries: 1}
	case limit.Err() != nil:
		return &fault{outcome: "timeout", text: fmt.Sprintf("no reply within %v", c.o.Timeout), tries: 2}
	case errors.Is(err, errTooLong), errors.As(err, &syntax), errors.As(err, &kind), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), n.sent:
		return &fault{outcome: "malformed", text: "the answer is not a whole chat completion: " + line(err.Error()), tries: 2}
	}
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return &fault{outcome: "unreachable", text: "the server cannot be reached: " + line(err.Error()), tries: 3}
}

// retryAfter reads seconds or a date.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && n > 0 && !math.IsInf(n, 0) {
		return time.Duration(math.Min(n, 86400) * float64(time.Second))
	}
	if at, err := http.ParseTime(s); err == nil && at.After(now) {
		return min(at.Sub(now), 24*time.Hour)
	}
	return 0
}

// line makes one short line of what a server said.
func line(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\ufffd"), func(r rune) bool {
		return r <= ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= 0x202a && r <= 0x202e
	}), " ")
	if len(s) > 240 {
		s = strings.ToValidUTF8(s[:240], "") + "…"
	}
	return s
}

// scrub takes the key out of what a server said: some repeat it.
func scrub(s, key string) string {
	if len(key) < 4 {
		return s
	}
	s = strings.ReplaceAll(s, key, "[key]")
	return strings.ReplaceAll(s, url.QueryEscape(key), "[key]")
}

// Probe asks the server for its models. It returns a line for people, and the
// configured models that the server does not list.
func (c *Client) Probe(ctx context.Context) (words string, missing []string, err error) {
	key, err := c.o.Key()
	if err != nil {
		return "", nil, err
	}
	n := &note{}
	limit, cancel := context.WithTimeout(context.WithValue(ctx, noteKey{}, n), connectTimeout)
	defer cancel()
	list, err := c.client(key).ListModels(limit)
	if err != nil {
		f := c.explain(ctx, limit, err, n)
		if f.outcome == "not_found" {
			return "it answers, but does not list its models", nil, nil
		}
		if f.outcome == "timeout" {
			f.text = fmt.Sprintf("no answer within %v", connectTimeout)
		}
		return "", nil, errors.New(scrub(f.text, key))
	}
	known := map[string]bool{}
	for _, m := range list.Models {
		known[m.ID] = true
	}
	for _, m := range c.o.Models {
		if !known[m.Name] {
			missing = append(missing, m.Name)
		}
	}
	return fmt.Sprintf("it answers and lists %d models", len(list.Models)), missing, nil
}

// memoryLedger forgets at the end of the process.
type memoryLedger struct {
	mu    sync.Mutex
	spent float64
}

func (l *memoryLedger) Reserve(dollars, limit float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit > 0 && l.spent+dollars > limit {
		return ErrCap
	}
	l.spent += dollars
	return nil
}

func (l *memoryLedger) Settle(_ string, reserved, dollars float64, _, _ int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spent += dollars - reserved
	return nil
}
