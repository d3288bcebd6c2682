// Package llmtest is a model server that says what a test tells it to say.
package llmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Request is what a server was asked.
type Request struct {
	Key       string // of the Authorization header
	Path      string
	Model     string `json:"model"`
	MaxTokens int    `json:"max_tokens"`
	Messages  []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Body map[string]any `json:"-"` // all of it
}

// Last is the newest of the user's turns.
func (r Request) Last() string { return r.Messages[len(r.Messages)-1].Content }

// Step answers one request.
type Step func(w http.ResponseWriter, r *http.Request, q Request)

// Server answers chat completions by a script, one step a request, and when
// the script has ended by Then. It is an http.Handler and a RoundTripper.
type Server struct {
	Then   Step
	Models []string // of GET /models

	mu     sync.Mutex
	script []Step
	asked  []Request
}

// New returns a server with a script.
func New(script ...Step) *Server {
	return &Server{script: script, Then: Status(503, "the script has ended"), Models: []string{"small"}}
}

// Add appends to the script.
func (s *Server) Add(steps ...Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = append(s.script, steps...)
}

// Always makes step the answer to every request that the script has none for.
func (s *Server) Always(step Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Then = step
}

// Asked returns the requests so far.
func (s *Server) Asked() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.asked...)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := Request{Path: r.URL.Path, Key: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	if strings.HasSuffix(r.URL.Path, "/models") {
		var list []map[string]string
		for _, name := range s.Models {
			list = append(list, map[string]string{"id": name, "object": "model"})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"object": "list", "data": list})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = errors.Join(json.Unmarshal(body, &q), json.Unmarshal(body, &q.Body))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	step := s.Then
	if len(s.script) > 0 {
		step, s.script = s.script[0], s.script[1:]
	}
	s.mu.Unlock()
	step(w, r, q)
}

// RoundTrip answers without a network, for tests in which time is not real.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) { return Handler(s)(r) }

// Handler makes a RoundTripper's method of a handler.
func Handler(h http.Handler) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		return roundTrip(h, r)
	}
}

func roundTrip(h http.Handler, r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

// completion is an answer with one reply.
func completion(q Request, text, finish, refusal string) map[string]any {
	size := 0
	for _, m := range q.Messages {
		size += len(m.Content)
	}
	return map[string]any{
		"id": "1", "object": "chat.completion", "model": q.Model,
		"choices": []any{map[string]any{"index": 0, "finish_reason": finish, "message": map[string]any{"role": "assistant", "content": text, "refusal": refusal}}},
		"usage":   map[string]int{"prompt_tokens": size / 4, "completion_tokens": len(text) / 4, "total_tokens": (size + len(text)) / 4},
	}
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// Say replies with text.
func Say(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) { send(w, completion(q, text, "stop", "")) }
}

// Sayf replies with what f makes of the request.
func Sayf(f func(q Request) string) Step {
	return func(w http.ResponseWriter, r *http.Request, q Request) { Say(f(q))(w, r, q) }
}

// Cut replies with text that ended at the longest length.
func Cut(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) { send(w, completion(q, text, "length", "")) }
}

// Refuse replies with a refusal.
func Refuse(words string) Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) {
		send(w, completion(q, "", "stop", words))
	}
}

// Empty answers without a reply.
func Empty() Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) {
		send(w, map[string]any{"id": "1", "choices": []any{}})
	}
}

// Torn sends half of an answer.
func Torn(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) {
		data, _ := json.Marshal(completion(q, text, "stop", ""))
		_, _ = w.Write(data[:len(data)/2])
	}
}

// Raw sends what is no completion.
func Raw(text string) Step {
	return func(w http.ResponseWriter, _ *http.Request, _ Request) { _, _ = io.WriteString(w, text) }
}

// Status fails with a status; headers are NAME, VALUE pairs.
func Status(code int, words string, headers ...string) Step {
	return func(w http.ResponseWriter, _ *http.Request, q Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": words, "type": "error"}})
	}
}

// Betray fails with the key in its words, as some servers do.
func Betray() Step {
	return func(w http.ResponseWriter, r *http.Request, q Request) {
		Status(401, fmt.Sprintf("Incorrect API key provided: %s.", q.Key))(w, r, q)
	}
}

// Hang answers when nobody waits any more.
func Hang() Step {
	return func(_ http.ResponseWriter, r *http.Request, _ Request) { <-r.Context().Done() }
}
