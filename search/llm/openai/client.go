// Package openai asks language models behind any server that speaks OpenAI's
// chat completions. It bounds every wait, counts what requests cost, and turns
// every fault of a server into one line; the key reaches nothing but the
// Authorization header.
package openai

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
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
	leastTokens     = 256   // of a reply that is worth asking for
	lessons         = 6     // refusals of a parameter that one reply may take
)

// Client is a search.Model. Its methods may be called from any goroutine.
type Client struct {
	o    Options
	http *http.Client

	mu       sync.Mutex
	next     int // whose turn it is
	breakers map[string]*breaker
	habits   map[string]*habits
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
	c := &Client{o: o, breakers: map[string]*breaker{}, habits: map[string]*habits{}}
	c.http = &http.Client{Transport: &reader{base}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return &redirection{public(r.URL)}
	}}
	for _, m := range o.Models {
		c.breakers[m.Name], c.habits[m.Name] = &breaker{}, &habits{}
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

// Complete asks a model, again after faults that pass. Where the wished model
// is set aside, another answers.
func (c *Client) Complete(ctx context.Context, p search.Prompt) (search.Reply, error) {
	m, err := c.pick(p.Model)
	if err != nil {
		return search.Reply{}, err
	}
	for try, learned := 1, 0; ; try++ {
		reply, news, err := c.once(ctx, m, p)
		if err == nil {
			c.closed(m.Name)
			return reply, nil
		}
		var f *fault
		if !errors.As(err, &f) { // no request was made
			return search.Reply{}, err
		}
		if news && learned < lessons && ctx.Err() == nil {
			learned++
			try--
			c.o.Log.Debug("a model is asked in another way", "model", m.Name, "why", f.text)
			continue
		}
		if ctx.Err() != nil {
			return search.Reply{}, fmt.Errorf("model %s: %s: %w", m.Name, f.text, ctx.Err())
		}
		wait := firstBackoff << min(try-1, 10)
		wait = time.Duration((0.5 + 0.5*c.o.Random()) * float64(min(wait, longestBackoff)))
		wait = max(wait, f.after)
		if try >= f.tries || wait > longestAfter {
			if f.place {
				f.text += c.advice(ctx, f, m.Name)
			}
			c.failed(m.Name, f)
			return search.Reply{}, &failure{fmt.Sprintf("model %s: %s", m.Name, f.text), f.mark}
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

// failure is a fault on its way out, with its mark.
type failure struct {
	text string
	mark error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.mark }

// advice is what the server's list of models says about a fault.
func (c *Client) advice(ctx context.Context, f *fault, model string) string {
	key, err := c.o.Key()
	if err != nil {
		return ""
	}
	return scrub(c.advise(ctx, f, key, model), key)
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
	return Model{}, fmt.Errorf("the model server is left alone until %s, after %s: %s", soonest.until.Format("15:04:05"), count(soonest.failures, "failure"), soonest.last)
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
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
	if f.outcome == "refused" || f.harmless { // the model's mood, or this prompt, and not the server's
		open = 0
	}
	b.until = time.Now().Add(max(open, f.after))
}

// once makes one request. An error that is no fault means that none was made.
// news: the next request will be another, by what was learned of this one.
func (c *Client) once(ctx context.Context, m Model, p search.Prompt) (_ search.Reply, news bool, _ error) {
	key, err := c.o.Key()
	if err != nil {
		return search.Reply{}, false, err
	}
	c.mu.Lock()
	h := *c.habits[m.Name]
	c.mu.Unlock()
	tokens := c.o.MaxTokens
	if tokens == 0 && c.o.MaxCost > 0 {
		tokens = cappedTokens
	}
	tokens = h.tokens(tokens)
	if h.limit == noLimit && c.o.MaxCost > 0 {
		return search.Reply{}, false, fmt.Errorf("model %s is not asked: its server takes neither max_tokens nor max_completion_tokens, without which llm.max_cost cannot be kept: set it to 0 there", m.Name)
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
		return search.Reply{}, false, fmt.Errorf("model %s is not asked: %w", m.Name, err)
	}
	n := &note{stream: h.stream}
	limit, cancel := context.WithTimeout(context.WithValue(ctx, noteKey{}, n), c.o.Timeout)
	defer cancel()
	begin := time.Now()
	res, err := c.client(key, c.o.BaseURL).CreateChatCompletion(limit, h.request(m.Name, p, tokens))
	reply := search.Reply{Model: m.Name, Seconds: time.Since(begin).Seconds()}
	outcome := "ok"
	var f *fault
	if err != nil {
		f = c.explain(ctx, limit, err, n, key)
		if news = h.learn(f.refusal, m.Name, tokens, leastTokens); news {
			c.mu.Lock()
			*c.habits[m.Name] = h
			c.mu.Unlock()
		}
		if f.outcome == "timeout" || f.outcome == "malformed" || f.outcome == "cancelled" {
			reply.Dollars = reserved // the server may have answered, and count it
		}
	} else {
		f = read(res, &reply, n)
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
		return search.Reply{}, news, f
	}
	return reply, false, nil
}

func (c *Client) client(key, base string) *api.Client {
	config := api.DefaultConfig(key)
	config.BaseURL = base
	config.HTTPClient = c.http
	return api.NewClientWithConfig(config)
}

// read takes the reply out of an answer. Where a reply has no text but its
// reasoning, that is the text, and marked so.
func read(res api.ChatCompletionResponse, reply *search.Reply, n *note) *fault {
	reply.PromptTokens, reply.ReplyTokens = res.Usage.PromptTokens, res.Usage.CompletionTokens
	if len(res.Choices) == 0 {
		return &fault{outcome: "empty", text: "the answer holds no reply", tries: 2}
	}
	choice := res.Choices[0]
	reply.Text = choice.Message.Content
	reply.Truncated = choice.FinishReason == api.FinishReasonLength
	reasoning := choice.Message.ReasoningContent
	switch empty := strings.TrimSpace(reply.Text) == ""; {
	case empty && choice.Message.Refusal != "":
		return &fault{outcome: "refused", text: "the model refuses: " + line(choice.Message.Refusal), tries: 1}
	case choice.FinishReason == api.FinishReasonContentFilter:
		return &fault{outcome: "refused", text: "the server's content filter has taken the reply", tries: 1}
	case empty && reply.Truncated && strings.TrimSpace(reasoning) != "":
		return &fault{outcome: "truncated", text: "the reply ended at its longest length while the model was still reasoning: raise llm.max_tokens, or let the model reason less", tries: 1}
	case empty && reply.Truncated:
		return &fault{outcome: "truncated", text: "the reply ended at its longest length before it began: raise llm.max_tokens", tries: 1}
	case empty && strings.TrimSpace(reasoning) != "":
		reply.Text, reply.Reasoning = reasoning, true
	case empty && n.tool != "":
		return &fault{outcome: "empty", text: fmt.Sprintf("the reply is a call of the tool %s, and no text: this model is no use here without a chat template that lets it answer", line(n.tool)), tries: 2}
	case empty:
		return &fault{outcome: "empty", text: "the reply is empty", tries: 2}
	}
	return nil
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
