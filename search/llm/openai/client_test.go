package openai

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/llm/llmtest"
)

const key = "sk-very-secret-0123456789"

type seen struct {
	outcomes []string
	dollars  float64
}

func (s *seen) ObserveLLM(model, outcome string, _ time.Duration, _, _ int, dollars float64) {
	s.outcomes = append(s.outcomes, outcome)
	s.dollars += dollars
}

func client(t *testing.T, server http.RoundTripper, change func(*Options)) (*Client, *seen) {
	t.Helper()
	o := &seen{}
	options := Options{
		BaseURL: "http://models.test/v1", Models: []Model{{Name: "small", InputPrice: 1, OutputPrice: 2}},
		Key: func() (string, error) { return key, nil }, KeyHint: "llm.key_env OPENAI_API_KEY",
		Timeout: time.Minute, Observer: o, Transport: server, Random: func() float64 { return 1 },
	}
	if change != nil {
		change(&options)
	}
	c, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	return c, o
}

var prompt = search.Prompt{System: "be brief", Turns: []string{"hello"}}

// TestFaults sends each fault of a server, and looks at the line that is made
// of it, how often the server was asked, and how long that took.
func TestFaults(t *testing.T) {
	ok := llmtest.Say("fine")
	for _, c := range []struct {
		name     string
		script   []llmtest.Step
		want     string // of the error; empty: a reply
		outcomes string
		took     time.Duration
	}{
		{"reply", []llmtest.Step{ok}, "", "ok", 0},
		{"401", []llmtest.Step{llmtest.Betray(), ok}, "the server refuses the key (401): check llm.key_env OPENAI_API_KEY: Incorrect API key provided: [key].", "unauthorized", 0},
		{"404", []llmtest.Step{llmtest.Status(404, "no model small")}, "the server has no such model (404): check llm.models: no model small; it lists small all the same", "not_found", 0},
		{"400", []llmtest.Step{llmtest.Status(400, "context length exceeded\nby far"), ok}, "the prompt is too long for the model (400): lower search.llm.prompt_bytes, or give the model a longer context: context length exceeded by far", "bad_request", 0},
		{"429 with Retry-After", []llmtest.Step{llmtest.Status(429, "slow down", "Retry-After", "17"), ok}, "", "rate_limited ok", 17 * time.Second},
		{"429 with a date", []llmtest.Step{llmtest.Status(429, "slow down", "Retry-After", "Sat, 01 Jan 2000 00:00:30 GMT"), ok}, "", "rate_limited ok", 30 * time.Second},
		{"429 for hours", []llmtest.Step{llmtest.Status(429, "come back tomorrow", "Retry-After", "3600"), ok}, "too many requests (429): come back tomorrow", "rate_limited", 0},
		{"429 for good", []llmtest.Step{llmtest.Status(429, "slow down"), llmtest.Status(429, "slow down"), llmtest.Status(429, "slow down"), llmtest.Status(429, "slow down"), ok},
			"too many requests (429): slow down", "rate_limited rate_limited rate_limited rate_limited", 7 * time.Second},
		{"500", []llmtest.Step{llmtest.Status(500, "oops"), llmtest.Status(502, "oops"), ok}, "", "server_error server_error ok", 3 * time.Second},
		{"500 in HTML", []llmtest.Step{func(w http.ResponseWriter, _ *http.Request, _ llmtest.Request) {
			w.WriteHeader(500)
			fmt.Fprint(w, "<html>\n\x1b[31mbad")
		}, ok}, "", "server_error ok", time.Second},
		{"hang", []llmtest.Step{llmtest.Hang(), ok}, "", "timeout ok", 61 * time.Second},
		{"hang for good", []llmtest.Step{llmtest.Hang(), llmtest.Hang(), ok}, "no reply within 1m0s", "timeout timeout", 121 * time.Second},
		{"torn", []llmtest.Step{llmtest.Torn("hello"), ok}, "", "malformed ok", time.Second},
		{"not JSON", []llmtest.Step{llmtest.Raw("hello"), llmtest.Raw("")}, "the answer is not a whole chat completion", "malformed malformed", time.Second},
		{"a web page", []llmtest.Step{llmtest.Raw("<!DOCTYPE html><html><head><title>Open WebUI</title></head><body>Sign in</body>"), ok}, "the server answers with a web page, not with a reply: check llm.base_url, which often ends in /v1: Open WebUI: Sign in", "malformed", 0},
		{"wrong JSON", []llmtest.Step{llmtest.Raw(`{"choices": 7}`), llmtest.Raw(`[]`)}, "the answer is not a whole chat completion", "malformed malformed", time.Second},
		{"huge", []llmtest.Step{llmtest.Raw(`{"choices": [{"message": {"content": "` + strings.Repeat("x", maxBody)), ok}, "", "malformed ok", time.Second},
		{"empty", []llmtest.Step{llmtest.Empty(), llmtest.Say("  \n")}, "the reply is empty", "empty empty", time.Second},
		{"refusal", []llmtest.Step{llmtest.Refuse("I can't help\nwith that"), ok}, "the model refuses: I can't help with that", "refused", 0},
		{"truncated", []llmtest.Step{llmtest.Cut("half a")}, "", "truncated", 0},
		{"redirect", []llmtest.Step{func(w http.ResponseWriter, r *http.Request, _ llmtest.Request) {
			http.Redirect(w, r, "http://elsewhere.test/v1", http.StatusTemporaryRedirect)
		}, ok}, "the server answers with a redirection: set llm.base_url to where it leads: http://elsewhere.test/v1", "bad_request", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := llmtest.New(c.script...)
				llm, o := client(t, server, nil)
				begin := time.Now()
				reply, err := llm.Complete(t.Context(), prompt)
				switch {
				case c.want == "" && err != nil:
					t.Fatalf("no reply: %v", err)
				case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.ContainsAny(err.Error(), "\n\x1b")):
					t.Fatalf("error %v, want %q on one line", err, c.want)
				case c.want == "" && (reply.Text == "" || reply.Model != "small" || reply.Dollars <= 0):
					t.Errorf("reply %+v", reply)
				}
				if err != nil && strings.Contains(err.Error(), key) {
					t.Errorf("the key is in %q", err)
				}
				if got := strings.Join(o.outcomes, " "); got != c.outcomes {
					t.Errorf("outcomes %s, want %s", got, c.outcomes)
				}
				for _, outcome := range o.outcomes {
					if !slices.Contains(Outcomes, outcome) {
						t.Errorf("outcome %q is not announced", outcome)
					}
				}
				if took := time.Since(begin); took != c.took {
					t.Errorf("it took %v, want %v", took, c.took)
				}
				for _, q := range server.Asked() {
					if q.Key != key || q.Path != "/v1/chat/completions" || q.Model != "small" || q.Messages[0].Content != "be brief" || q.Last() != "hello" {
						t.Errorf("asked %+v", q)
					}
				}
			})
		})
	}
}

func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		llm, o := client(t, roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }), nil)
		_, err := llm.Complete(t.Context(), prompt)
		if err == nil || !strings.Contains(err.Error(), "the server cannot be reached: connection refused") {
			t.Errorf("error %v", err)
		}
		if len(o.outcomes) != 3 || o.dollars != 0 {
			t.Errorf("%v outcomes, $%v", o.outcomes, o.dollars)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestEchoedKey proves that a key that a model repeats is taken out.
func TestEchoedKey(t *testing.T) {
	llm, _ := client(t, llmtest.New(llmtest.Sayf(func(q llmtest.Request) string { return "your key is " + q.Key })), nil)
	reply, err := llm.Complete(t.Context(), prompt)
	if err != nil || reply.Text != "your key is [key]" {
		t.Errorf("%q, %v", reply.Text, err)
	}
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := llmtest.New()
		server.Then = llmtest.Status(400, "no")
		llm, _ := client(t, server, nil)
		ask := func() error { _, err := llm.Complete(t.Context(), prompt); return err }
		for range breakerAfter {
			if err := ask(); err == nil || !strings.Contains(err.Error(), "(400)") {
				t.Fatalf("error %v", err)
			}
		}
		if err := ask(); err == nil || !strings.Contains(err.Error(), "is left alone until 00:01:00, after 3 failures: the server refuses the request (400): no") {
			t.Fatalf("with the breaker open: %v", err)
		}
		if n := len(server.Asked()); n != breakerAfter {
			t.Fatalf("%d requests", n)
		}
		time.Sleep(breakerOpen)
		if err := ask(); err == nil || !strings.Contains(err.Error(), "(400)") {
			t.Fatalf("after a minute: %v", err)
		}
		time.Sleep(breakerOpen)
		if err := ask(); err == nil || !strings.Contains(err.Error(), "left alone until 00:03:00") {
			t.Fatalf("it opens for two minutes then: %v", err)
		}
		time.Sleep(breakerOpen)
		server.Add(llmtest.Say("back"))
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		if err := ask(); err == nil || strings.Contains(err.Error(), "left alone") {
			t.Errorf("a reply closes it: %v", err)
		}
	})
}

func TestSeveralModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := llmtest.New()
		server.Then = func(w http.ResponseWriter, r *http.Request, q llmtest.Request) {
			if q.Model == "b" {
				llmtest.Status(404, "no b")(w, r, q)
				return
			}
			llmtest.Say("from "+q.Model)(w, r, q)
		}
		llm, _ := client(t, server, func(o *Options) { o.Models = []Model{{Name: "a"}, {Name: "b"}, {Name: "gpt-5-c"}}; o.MaxTokens = 50 })
		var got []string
		for range 5 {
			reply, err := llm.Complete(t.Context(), prompt)
			if err != nil {
				got = append(got, "error")
			} else {
				got = append(got, reply.Model)
			}
		}
		if want := []string{"a", "error", "gpt-5-c", "a", "gpt-5-c"}; !slices.Equal(got, want) {
			t.Errorf("models took turns as %v, want %v: b is set aside", got, want)
		}
		wished := prompt
		wished.Model = "gpt-5-c"
		if reply, err := llm.Complete(t.Context(), wished); err != nil || reply.Model != "gpt-5-c" {
			t.Errorf("wished for gpt-5-c: %v, %v", reply.Model, err)
		}
		for _, q := range server.Asked() {
			if want := map[bool]int{true: 0, false: 50}[q.Model == "gpt-5-c"]; q.MaxTokens != want {
				t.Errorf("%s was given max_tokens %d, want %d", q.Model, q.MaxTokens, want)
			}
		}
	})
}

// TestCap proves that money is never spent beyond the cap, whatever a reply costs.
func TestCap(t *testing.T) {
	server := llmtest.New()
	server.Then = llmtest.Say(strings.Repeat("word ", 4000)) // 5000 tokens
	llm, o := client(t, server, func(o *Options) {
		o.Models[0] = Model{Name: "small", InputPrice: 10, OutputPrice: 20}
		o.MaxCost = 1
	})
	var err error
	n := 0
	for ; n < 100; n++ {
		if _, err = llm.Complete(t.Context(), prompt); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrCap) || o.dollars > 1 || o.dollars < 0.5 || len(server.Asked()) != n {
		t.Errorf("%d requests for $%.3f of $1, then %v", n, o.dollars, err)
	}
	if server.Asked()[0].MaxTokens != cappedTokens {
		t.Errorf("a capped request may be %d tokens long", server.Asked()[0].MaxTokens)
	}
}

// TestUnseenEnd proves that a request that nobody saw the end of is counted.
func TestUnseenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		llm, o := client(t, llmtest.New(llmtest.Hang()), func(o *Options) { o.MaxTokens = 1e6 })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := llm.Complete(ctx, prompt)
		if !errors.Is(err, context.DeadlineExceeded) || math.Abs(o.dollars-2) > 0.01 {
			t.Errorf("$%v, %v", o.dollars, err)
		}
	})
}

// TestLedgerFails proves that nothing is asked that could not be counted.
func TestLedgerFails(t *testing.T) {
	server := llmtest.New()
	llm, _ := client(t, server, func(o *Options) { o.Ledger = broken{} })
	if _, err := llm.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), "disk full") || len(server.Asked()) > 0 {
		t.Errorf("%v", err)
	}
	llm, _ = client(t, server, func(o *Options) { o.Key = func() (string, error) { return "", errors.New("read llm.key_file: gone") } })
	if _, err := llm.Complete(t.Context(), prompt); err == nil || !strings.Contains(err.Error(), "gone") || len(server.Asked()) > 0 {
		t.Errorf("%v", err)
	}
}

type broken struct{}

func (broken) Reserve(float64, float64) error                  { return errors.New("disk full") }
func (broken) Settle(string, float64, float64, int, int) error { return nil }

func TestProbe(t *testing.T) {
	llm, _ := client(t, llmtest.New(), func(o *Options) { o.Models = append(o.Models, Model{Name: "large"}) })
	words, missing, err := llm.Probe(t.Context())
	if err != nil || words != "it answers and lists 1 models" || !slices.Equal(missing, []string{"large"}) {
		t.Errorf("%q %v %v", words, missing, err)
	}
	llm, _ = client(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("no route to %s with %s", r.URL.Host, r.Header.Get("Authorization"))
	}), nil)
	if _, _, err := llm.Probe(t.Context()); err == nil || err.Error() != "the server cannot be reached: no route to models.test with Bearer [key]" {
		t.Errorf("%v", err)
	}
}
