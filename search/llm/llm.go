// Package llm lets a language model propose: new values of constants, edits of
// train.py, or a whole new file. A model is asked while the GPU trains, so that
// a proposal is ready when the GPU is free; where none is, an optimiser
// proposes instead, and its proposal says so.
//
// What a model writes is read leniently and applied strictly: no draft of its
// reasoning and nothing that it takes back, only train.py, every search text at
// its one place, within the space, nothing that was tried already, and nothing
// that admission would refuse. A reply that fails gets one
// repair turn with the fault; a trial that crashed is sometimes given back with
// its traceback, as in AIDE (arXiv 2502.13138).
package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"time"

	"autoresearchd/search"
	_ "autoresearchd/search/evolution" // the default fallback
	"autoresearchd/search/fallback"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "llm"

// Options is the [search.llm] table.
type Options struct {
	Fallback    string        `toml:"fallback" doc:"strategy that proposes while no model has; \"none\": wait for one"`
	Wait        time.Duration `toml:"wait" doc:"how long a free GPU waits for a model before the fallback proposes"`
	Candidates  int           `toml:"candidates" doc:"proposals kept ready"`
	Edits       bool          `toml:"edits" doc:"models may edit train.py; false: only its constants"`
	History     int           `toml:"history" doc:"trials in each list that a prompt shows"`
	PromptBytes int           `toml:"prompt_bytes" doc:"longest prompt; history is cut first"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Fallback: "evolution", Wait: time.Minute, Candidates: 2, Edits: true, History: 16, PromptBytes: 160_000}
}

func init() { search.Default.Register(Name, New, Defaults()) }

// ErrNothing means that no model has a proposal, where there is no fallback.
var ErrNothing = errors.New("no model has made a proposal")

const (
	fixDepth  = 3   // repairs of repairs after a crash
	fixChance = 0.5 // share of crashed edits that are given back
	fixRecent = 4   // trials after which a crash is past
	ideaTries = 3   // requests for an idea in words before it is left alone
)

type strategy struct {
	seed     uint64
	o        Options
	fallback *fallback.Fallback // nil: none
	tools    search.Tools

	refreshing sync.Mutex // held while the candidates are gone through; taken before mu

	mu        sync.Mutex
	ready     []*candidate
	latest    search.History // what Prepare was called with last
	preparing bool
	busy      chan struct{}  // closed when the request under way ends; nil: none
	trouble   error          // why the last request came to nothing
	said      string         // what was logged last
	ideas     map[int64]int  // requests made for an idea
	given     map[int64]bool // ideas of proposals that were handed out since Prepare
	fixed     map[int64]bool
	prints    map[int64]uint64 // identities of trials
	remarks   map[string]bool  // what a person has been told
	room      map[string]int   // bytes of prompt that a model has taken, where it has refused more
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf("search.llm."+format, args...)) }
	if o.Wait < 0 || o.Wait > time.Hour {
		bad("wait = %v: use a duration from \"0s\" to \"1h\"", o.Wait)
	}
	if o.Candidates < 1 || o.Candidates > 16 {
		bad("candidates = %d: use 1 to 16", o.Candidates)
	}
	if o.History < 1 || o.History > 1000 {
		bad("history = %d: use 1 to 1000", o.History)
	}
	if o.PromptBytes < 8000 || o.PromptBytes > 4<<20 {
		bad("prompt_bytes = %d: use 8000 to %d", o.PromptBytes, 4<<20)
	}
	s := &strategy{seed: env.Seed, o: o, ideas: map[int64]int{}, given: map[int64]bool{}, fixed: map[int64]bool{}, prints: map[int64]uint64{}, remarks: map[string]bool{}, room: map[string]int{}}
	switch o.Fallback {
	case "none":
	case Name:
		bad("fallback = %q: use a strategy that needs nobody, such as \"evolution\", or \"none\"", o.Fallback)
	default:
		f, err := fallback.New(Name, o.Fallback, env)
		if err != nil {
			faults = append(faults, err)
		}
		s.fallback = f
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	s.lend(env.Tools)
	return s, nil
}

// lend fills what is missing, so that nothing below asks whether it is there.
func (s *strategy) lend(t search.Tools) {
	missing := errors.New("it is not to be had here")
	if t.Check == nil {
		t.Check = func(context.Context, []byte) ([]search.Constant, error) { return nil, missing }
	}
	if t.Source == nil {
		t.Source = func(context.Context, int64) ([]byte, error) { return nil, missing }
	}
	if t.Read == nil {
		t.Read = func(string) ([]byte, error) { return nil, missing }
	}
	if t.Ideas == nil {
		t.Ideas = func() []search.Idea { return nil }
	}
	if t.Log == nil {
		t.Log = slog.New(slog.DiscardHandler)
	}
	s.tools = t
}

// memo is what a proposal carries in its Memo, under the key "llm".
type memo struct {
	Kind    string  `json:"kind,omitempty"` // "constants", "edit", "file", "fix"
	Model   string  `json:"model,omitempty"`
	Expect  string  `json:"expect,omitempty"`
	Base    int64   `json:"base,omitempty"`  // the champion that it starts from
	Fixes   int64   `json:"fixes,omitempty"` // the crashed trial that it mends
	Depth   int     `json:"depth,omitempty"` // how many repairs it is away from a fresh idea
	Dollars float64 `json:"dollars,omitempty"`
}

// edit reports whether a model changed the code.
func (m memo) edit() bool { return m.Kind == "edit" || m.Kind == "file" || m.Kind == "fix" }

func memoOf(data []byte) memo {
	var m struct {
		LLM memo `json:"llm"`
	}
	if len(data) == 0 || json.Unmarshal(data, &m) != nil {
		return memo{}
	}
	return m.LLM
}

// Expected is the effect that a model said its proposal would have; empty if
// none did.
func Expected(p search.Proposal) string { return memoOf(p.Memo).Expect }

func (m memo) encode() []byte {
	data, err := json.Marshal(map[string]memo{"llm": m})
	if err != nil {
		return nil
	}
	return data
}

// Tell lets the fallback learn; the rest is read from the history.
func (s *strategy) Tell(r search.Result) {
	if s.fallback != nil {
		s.fallback.Tell(r)
	}
}

// Ask uses a candidate that is ready, else waits for the request under way,
// else lets the fallback propose.
func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	if s.tools.Model == nil {
		return s.fall(ctx, h, errors.New("no model is configured"))
	}
	limit, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	for tried := false; ; {
		s.refresh(ctx, h)
		if c := s.take(); c != nil {
			return c.proposal(h), nil
		}
		s.mu.Lock()
		busy, trouble := s.busy, s.trouble
		s.mu.Unlock()
		switch {
		case busy != nil:
			select {
			case <-busy:
				tried = true
			case <-limit.Done():
				trouble = fmt.Errorf("no model has answered within %v", s.o.Wait)
			}
		case !tried && trouble == nil && limit.Err() == nil: // nobody was asked while the last trial ran
			tried = true
			_ = s.request(limit, h) // its error is kept in trouble
			continue
		default:
			if trouble == nil {
				trouble = errors.New("no reply could be used")
			}
			return s.fall(ctx, h, trouble)
		}
		if err := ctx.Err(); err != nil {
			return search.Proposal{}, err
		}
		if limit.Err() != nil {
			return s.fall(ctx, h, trouble)
		}
	}
}

// fall lets the fallback propose, and says why.
func (s *strategy) fall(ctx context.Context, h search.History, why error) (search.Proposal, error) {
	s.complain(why)
	if s.fallback == nil {
		return search.Proposal{}, fmt.Errorf("%w: %w", ErrNothing, why)
	}
	return s.fallback.Ask(ctx, h, why)
}

// complain logs why no model proposes, once for the same reason.
func (s *strategy) complain(why error) {
	s.mu.Lock()
	news := why.Error() != s.said
	s.said = why.Error()
	s.mu.Unlock()
	if news && s.tools.Model != nil {
		s.tools.Log.Warn("no model proposes; the search continues without one", "why", oneLine(why.Error(), 500))
	}
}

// Prepare asks models until enough candidates are ready for this history.
func (s *strategy) Prepare(ctx context.Context, h search.History) {
	if s.tools.Model == nil {
		return
	}
	s.mu.Lock()
	s.latest, s.trouble = h, nil
	clear(s.given) // who keeps them knows by now
	if s.preparing {
		s.mu.Unlock()
		return // the one that runs goes on with this history
	}
	s.preparing = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.preparing = false
		s.mu.Unlock()
	}()
	// The second bound is on money: a candidate may be dropped as soon as it is made.
	for failures, asked := 0, 0; failures < 2 && asked < 2*s.o.Candidates+4 && ctx.Err() == nil; asked++ {
		s.mu.Lock()
		h := s.latest
		s.mu.Unlock()
		s.refresh(ctx, h)
		s.mu.Lock()
		enough := len(s.ready) >= s.o.Candidates
		s.mu.Unlock()
		if enough && s.wish(h, false) == nil {
			return
		}
		if err := s.request(ctx, h); err != nil && ctx.Err() == nil {
			s.complain(err)
			failures++
		}
	}
}

// request has one conversation with a model; a usable proposal becomes a
// candidate.
func (s *strategy) request(ctx context.Context, h search.History) error {
	s.mu.Lock()
	if s.busy != nil { // Ask and Prepare do not ask twice for the same
		busy := s.busy
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
		}
		return ctx.Err()
	}
	done := make(chan struct{})
	s.busy = done
	s.mu.Unlock()
	c, err := s.converse(ctx, h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c != nil {
		s.ready = append(s.ready, c)
		s.said = ""
	}
	s.trouble = err
	s.busy = nil
	close(done)
	return err
}

// converse asks for one proposal, with one repair turn.
func (s *strategy) converse(ctx context.Context, h search.History) (*candidate, error) {
	champion, err := s.tools.Source(ctx, h.Champion.ID)
	if err != nil {
		return nil, fmt.Errorf("read the champion's train.py: %w", err)
	}
	t := task{base: champion, champion: champion, constants: h.Champion.Constants}
	if r := s.crashed(h); r != nil {
		source, err := s.tools.Source(ctx, r.Trial.ID)
		if err == nil {
			t.crash, t.base, t.constants = r, source, r.Trial.Constants
			s.mu.Lock()
			s.fixed[r.Trial.ID] = true
			s.mu.Unlock()
		}
	} else {
		t.idea = s.wish(h, true)
	}
	model := s.choose(h)
	p := s.prompt(h, t, model)
	kept := []search.Attachment{attach("prompt", 1, p.System+"\n\n"+p.Turns[0])}
	dollars := 0.0
	for turn := 1; ; turn++ {
		reply, err := s.tools.Model.Complete(ctx, p)
		if err != nil {
			if turn == 1 && errors.Is(err, search.ErrPromptTooLong) && s.shorten(model, p, err) {
				p = s.prompt(h, t, model)
				kept[0] = attach("prompt", 1, p.System+"\n\n"+p.Turns[0])
				turn--
				continue
			}
			return nil, err
		}
		dollars += reply.Dollars
		kept = append(kept, attach("reply", turn, reply.Text))
		c, fault := s.read(ctx, h, t, reply)
		if fault == nil {
			c.memo.Dollars, c.attachments = dollars, kept
			s.tools.Log.Debug("a model has a proposal", "model", reply.Model, "description", c.description, "dollars", dollars, "seconds", reply.Seconds)
			return c, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if turn == 2 {
			return nil, fmt.Errorf("model %s replied twice with nothing usable: %w", reply.Model, fault)
		}
		p.Model = reply.Model
		p.Turns = append(p.Turns, cut(reply.Text, 32<<10), repair(fault))
		kept = append(kept, attach("prompt", turn+1, p.Turns[len(p.Turns)-1]))
	}
}

// shortest is the least that a prompt may be cut to.
const shortest = 8000

// shorten halves a model's prompts after one was too long, and reports whether
// there was anything to halve.
func (s *strategy) shorten(model string, p search.Prompt, why error) bool {
	size := len(p.System)
	for _, t := range p.Turns {
		size += len(t)
	}
	if size <= shortest {
		return false
	}
	size = max(shortest, size/2)
	s.mu.Lock()
	s.room[model] = size
	s.mu.Unlock()
	s.tools.Log.Warn("prompts are made shorter for a model", "bytes", size, "why", oneLine(why.Error(), 500))
	return true
}

func attach(what string, turn int, text string) search.Attachment {
	return search.Attachment{Name: fmt.Sprintf("llm-%s-%d.txt", what, turn), Data: []byte(strings.TrimRight(text, "\n") + "\n")}
}

// wish is the oldest idea that no candidate takes up. count notes that it is
// asked for.
func (s *strategy) wish(h search.History, count bool) *search.Idea {
	ideas := s.tools.Ideas()
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := map[int64]bool{}
	for _, c := range s.ready {
		taken[c.idea] = true
	}
	for i := range h.Pending {
		for _, id := range h.Pending[i].Proposal.Ideas {
			taken[id] = true
		}
	}
	for _, idea := range ideas {
		if !taken[idea.ID] && !s.given[idea.ID] && s.ideas[idea.ID] < ideaTries {
			if count {
				s.ideas[idea.ID]++
			}
			return &idea
		}
	}
	return nil
}

// crashed is the trial to mend: a model's own edit of this champion that
// crashed lately, if the coin of that trial says so.
func (s *strategy) crashed(h search.History) *search.Result {
	if !s.o.Edits {
		return nil
	}
	mended := map[int64]bool{}
	for i := range h.Pending {
		mended[memoOf(h.Pending[i].Proposal.Memo).Fixes] = true
	}
	s.mu.Lock()
	for id := range s.fixed {
		mended[id] = true
	}
	s.mu.Unlock()
	for i := len(h.Done) - 1; i >= 0 && i >= len(h.Done)-fixRecent; i-- {
		r := &h.Done[i]
		m := memoOf(r.Trial.Proposal.Memo)
		mended[m.Fixes] = true
		if r.Outcome.Status != search.Crashed || !m.edit() || mended[r.Trial.ID] || m.Depth >= fixDepth || m.Base != h.Champion.ID {
			continue
		}
		if coin(s.seed, r.Trial.ID) {
			return r
		}
	}
	return nil
}

// coin depends on nothing but the study's seed and the trial.
func coin(seed uint64, id int64) bool {
	return rand.New(rand.NewPCG(seed, 0xd1b54a32d192ed03*uint64(id))).Float64() < fixChance
}

// sortByScore puts the best first.
func sortByScore(results []*search.Result) {
	sort.SliceStable(results, func(a, b int) bool { return results[a].Outcome.ValBPB < results[b].Outcome.ValBPB })
}
