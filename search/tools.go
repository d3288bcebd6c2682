package search

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"
)

// Environment is all that a Strategy is built from. Its zero value is one with
// the seed 0, every option at its default, and no world.
type Environment struct {
	Seed uint64
	// Table fills a struct from the strategy's own [search.<name>] table and
	// refuses keys that the struct does not have; nil: there is no table.
	Table    func(o any) error
	Registry *Registry // by which it finds others; nil: Default
	Tools
}

// Decode fills o, a strategy's options with their defaults, from its own table.
func (e Environment) Decode(o any) error {
	if e.Table == nil {
		return nil
	}
	return e.Table(o)
}

// Build makes another strategy, which this one asks, in the same environment.
func (e Environment) Build(name string, seed uint64) (Strategy, error) {
	r := e.Registry
	if r == nil {
		r = Default
	}
	e.Seed = seed
	return r.Build(name, e)
}

// Tools are what the daemon lends to strategies that need more than History.
// They keep the world out of search: a test hands in functions of its own.
type Tools struct {
	// Check says of a train.py what admission would say: its constants, or why
	// it cannot be a trial.
	Check func(ctx context.Context, source []byte) ([]Constant, error)
	// Source returns the train.py of a trial; 0 is the study's own start.
	Source func(ctx context.Context, id int64) ([]byte, error)
	// Read returns a file of the workspace, such as program.md, as it is now.
	Read func(name string) ([]byte, error)
	// Ideas are what people have suggested in words and nobody has taken up yet.
	Ideas func() []Idea
	// Options decodes another plugin's [search.<name>] table; nil: there is none.
	Options func(name string) func(any) error
	// Model is the model server; nil where none is configured.
	Model Model
	// Start starts a program of the user's. ctx bounds the start, not its life.
	Start func(ctx context.Context, c Command) (Process, error)
	Log   *slog.Logger
}

// Idea is a suggestion in words.
type Idea struct {
	ID   int64
	Text string
}

// Model answers prompts. Its errors say in one line what a person can do.
type Model interface {
	Complete(ctx context.Context, p Prompt) (Reply, error)
}

// Prompt is a conversation that a model is to continue.
type Prompt struct {
	Model  string   `json:"model,omitempty"` // of several models, the one to ask; empty: whose turn it is
	System string   `json:"system"`
	Turns  []string `json:"turns"` // the user's and the model's, in alternation, the user's first and last
}

// Reply is a model's answer, and what it cost.
type Reply struct {
	Model        string  `json:"model"`
	Text         string  `json:"text"`
	PromptTokens int     `json:"prompt_tokens"`
	ReplyTokens  int     `json:"reply_tokens"`
	Dollars      float64 `json:"dollars"`
	Seconds      float64 `json:"seconds"`
	Truncated    bool    `json:"truncated"`
	Reasoning    bool    `json:"reasoning,omitempty"` // Text is the model's reasoning: the server gave no other
}

// ErrPromptTooLong marks the error of a Model that has no room for a prompt.
var ErrPromptTooLong = errors.New("the prompt is too long for the model")

// Command is a program to start, without a shell.
type Command struct {
	Argv     []string          // an element that begins with ./ or ../ is relative to autoresearch.toml
	Env      []string          // names of variables that it sees although they may hold secrets
	Files    map[string][]byte // written into its working directory, which is new
	Deadline time.Duration     // after which it is killed; 0: it may live as long as the daemon
	Network  bool              // in the sandbox: it may use it, and name look-ups
	Read     []string          // in the sandbox: files and folders that it reads beside its own; ~/ is the user's home
	Write    []string          // in the sandbox: those that it writes too
	Folders  []string          // in the sandbox: folders of the study that it reads
	Output   int               // bytes of its standard output to keep, half of them the last; 0: Stdout is read instead
}

// Process is a program that runs. Close must be called in the end.
type Process interface {
	Stdin() io.WriteCloser
	Stdout() io.Reader // ends when the program has ended; nil if its output is kept
	// Output is what has been kept of its standard output so far.
	Output() []byte
	// Tail is the last lines that it wrote to standard error.
	Tail() string
	// File reads from its working directory as it is now, until Close.
	File(name string) ([]byte, error)
	// Done is closed when it has ended, and all that it started with it.
	Done() <-chan struct{}
	// Err says how it ended, once Done is closed: nil for status 0.
	Err() error
	// Kill ends it with all that it started.
	Kill()
	// Close kills it and removes its working directory.
	Close()
}

// Preparer is a Strategy that can get ready while a trial runs. Prepare is
// called on a goroutine of its own when a trial begins, which is in h.Pending;
// Tell and Ask may be called meanwhile. It returns when there is nothing left
// to do for this history, or when ctx ends.
type Preparer interface {
	Prepare(ctx context.Context, h History)
}

// Closer is a Strategy that holds programs. Close is called when another one
// takes its place, and when the loop ends.
type Closer interface {
	Close()
}

// Weigher is a Strategy that asks others. Weights are the chances of each to be
// the next, by name, for display; the caller is the one that calls Ask.
type Weigher interface {
	Weights(h History) map[string]float64
}

// Attachment is a file that is kept with a trial, such as a prompt.
type Attachment struct {
	Name string // a plain file name
	Data []byte
}
