package exec

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// scripted is a program that has written all that it will.
type scripted struct {
	out  io.Reader
	done chan struct{}
}

func (s scripted) Stdin() io.WriteCloser       { return nothing{} }
func (s scripted) Stdout() io.Reader           { return s.out }
func (s scripted) Output() []byte              { return nil }
func (s scripted) Tail() string                { return "" }
func (s scripted) File(string) ([]byte, error) { return nil, errors.New("it left no file") }
func (s scripted) Done() <-chan struct{}       { return s.done }
func (s scripted) Err() error                  { return nil }
func (s scripted) Kill()                       {}
func (s scripted) Close()                      {}

type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
func (nothing) Close() error                { return nil }

// FuzzAnswers: whatever a program writes, its constants are points of the space
// that no trial has, its words fit on a line, and its faults are told in one.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{
		`{"protocol": 1}` + "\n" + `{"id": 1, "constants": {"DEPTH": 6}, "description": "a\tb", "memo": {"k": [1]}}`,
		`{"protocol": 1}` + "\n" + `{"id": 1, "none": "all was tried"}`,
		`hello` + "\n" + `{"protocol": 1}` + "\n" + `{"loss": 2}` + "\n" + `{"id": 1, "constants": {"ADAM_BETAS": [0.8, 1e400]}}`,
		"\ufeff{\"protocol\": 1}\r\n{\"id\": 1, \"constants\": {\"WINDOW_PATTERN\": \"\\u0000\"}}\n{\"id\": 2, \"constants\": null}",
		`{"protocol": 2}`, "{", strings.Repeat("x\n", 30),
	} {
		f.Add(seed)
	}
	task := simulate.Task{Lines: simulate.Upstream()}
	space, err := task.Space()
	if err != nil {
		f.Fatal(err)
	}
	ended := make(chan struct{})
	close(ended)
	h := search.History{Space: space, Champion: search.Trial{Constants: space.Constants()}}
	f.Fuzz(func(t *testing.T, said string) {
		p := scripted{strings.NewReader(said), ended}
		s := &strategy{seed: 7, o: Defaults(), tools: search.Tools{Log: slog.New(slog.DiscardHandler)}}
		s.talk = &talk{p: p, in: bufio.NewReaderSize(p.Stdout(), lineLimit), log: s.tools.Log}
		got, err := s.converse(context.Background(), h)
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 2000 {
				t.Errorf("%q fails with %q", said, text)
			}
			return
		}
		if len(got.Description) > 1000 || strings.ContainsAny(got.Description, "\n\r\x00\x1b") || bytes.ContainsRune(got.Memo, 0) {
			t.Errorf("%q proposes %+v", said, got)
		}
		if _, err := space.Point(got.Values); err != nil || len(got.Values) == 0 {
			t.Errorf("%q proposes %v: %v", said, got.Values, err)
		}
	})
}
