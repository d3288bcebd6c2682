// Package turn is one turn of a study, as pure functions: which trial comes next
// (Next), and what a finished one means (Conclude). The daemon and a simulated
// study both call them, so what is measured in simulation is what runs.
//
//	baseline | what must run again | a person's suggestion | the judge's re-run | the strategy's proposal
//	              │
//	    Parent, Patch, Examine ─► Trial ─► worth it? ─► it begins
//	              ▲                           │
//	              └──── vetoed: ask again ◄───┴──► mended
//
// What the world must do in between comes in as functions, World.
package turn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

// Names of those who propose and are no strategies, beside search.Confirm.
const (
	Baseline   = "baseline"
	Suggestion = "suggestion"
)

// Vetoes bounds how many proposals for one trial may be vetoed.
const Vetoes = 5

// The errors of Next.
var (
	// ErrWait says that nothing can begin before a pending trial is decided.
	ErrWait = errors.New("the baseline has no score yet")
	// ErrTried says that a strategy proposes again and again what has run.
	ErrTried = errors.New("proposes only what has been tried")
)

// unfit is the error of a proposal that cannot become a trial.
type unfit struct{ error }

// World is what a turn asks of the world. Errors of its functions end the turn;
// a fault is the train.py's, in words.
type World struct {
	// Parent returns the train.py of a trial and its constants; 0 is the study's own start.
	Parent func(ctx context.Context, id int64) (source []byte, constants []search.Constant, err error)
	// Inspect reads the constants of a train.py.
	Inspect func(ctx context.Context, source []byte) (constants []search.Constant, fault string, err error)
	// Examine is Inspect, and says also what else keeps it from being a trial.
	Examine func(ctx context.Context, source []byte) (constants []search.Constant, fault string, err error)
	// Ideas are the suggestions in words that wait; nil: there are none.
	Ideas func() []search.Idea
}

// Suggested is a person's suggestion of values or of a whole train.py.
type Suggested struct {
	ID              int64
	search.Proposal // without a Parent it starts from the champion; without a Description that is its values; it is by Suggestion unless it says by whom
}

// Turn is what a turn is played with.
type Turn struct {
	World
	Strategy  search.Strategy
	Name      string                 // of Strategy
	Known     func(name string) bool // other names that its proposals may carry: a portfolio names who it asked; nil: any
	Judge     search.Judge
	Anew      int64              // a trial whose program must run again before anything else does; 0: none
	Suggested []Suggested        // that wait, the oldest first
	Limits    constraint.Options // of the device that it is for
	Kind      string             // of that device, within which scores compare
	ConfirmOn string             // the kind of devices on which what it promises is confirmed; "": its own
	Seed      uint64             // of trials whose proposal names none
	Listener
}

// Listener is told what happens on the way to a trial; nil: nobody is.
type Listener struct {
	Asking func() error // before each proposal; an error ends the turn
	Vetoed func(t search.Trial, reason string)
	Mended func(t search.Trial, reason string)
	Unfit  func(suggestion int64, err error) // a suggestion that cannot become a trial: it is passed over
}

// Next returns the trial that comes next, and the suggestion that it takes up,
// 0 for none. h.Pending are the trials that run, of which the strategy and the
// judge know; a vetoed proposal is pending to the strategy too, so that it
// proposes something else. The trial has everything but its ID, its device, its
// budget and when it started; its Proposal keeps the Source. Before there is a
// champion, h.Champion is the zero value, and h.Space is not looked at.
func (t Turn) Next(ctx context.Context, h search.History) (next search.Trial, suggestion int64, err error) {
	h.Kind, h.ConfirmOn = t.Kind, t.ConfirmOn
	passed := 0
	var vetoed []search.Trial
	for {
		if t.Asking != nil {
			if err := t.Asking(); err != nil {
				return search.Trial{}, 0, err
			}
		}
		p, err := t.propose(ctx, h, vetoed, passed)
		if err != nil {
			return search.Trial{}, 0, err
		}
		next, before, err := t.Admit(ctx, p.Proposal)
		if errors.As(err, &unfit{}) && p.alone {
			if passed++; t.Unfit != nil {
				t.Unfit(p.suggestion, err)
			}
			continue
		}
		if err != nil {
			return search.Trial{}, 0, err
		}
		if p.checked {
			next.ID = int64(len(h.Done) + len(h.Pending) + 1) // the one that it would have, vetoed or not
			var ok bool
			if next, ok, err = t.weigh(ctx, told(h, vetoed), next, before, len(vetoed)); err != nil {
				return search.Trial{}, 0, err
			}
			if !ok {
				vetoed = append(vetoed, next)
				continue
			}
			next.ID = 0
		}
		if next.Proposal.Ideas = nil; p.suggestion != 0 && len(p.Ideas) > 0 {
			next.Proposal.Ideas = []int64{p.suggestion}
		}
		return next, p.suggestion, nil
	}
}

// proposed is a proposal and where it came from.
type proposed struct {
	search.Proposal
	suggestion int64 // that it takes up, 0: none
	alone      bool  // it is that suggestion, and nothing else
	checked    bool  // a strategy's: it is looked at before it touches the device
}

func (t Turn) propose(ctx context.Context, h search.History, vetoed []search.Trial, passed int) (proposed, error) {
	if h.Champion.ID == 0 {
		if len(h.Pending) > 0 {
			return proposed{}, ErrWait
		}
		return proposed{Proposal: search.Proposal{Strategy: Baseline, Description: Baseline}}, nil
	}
	if t.Anew != 0 {
		p, err := search.Anew(h, t.Anew)
		return proposed{Proposal: p}, err
	}
	if passed < len(t.Suggested) {
		s := t.Suggested[passed]
		p := s.Proposal
		p.Strategy, p.Parent = cmp.Or(p.Strategy, Suggestion), cmp.Or(p.Parent, h.Champion.ID)
		if p.Description == "" {
			p.Description = "suggested: " + search.Describe(h.Champion.Constants, with(h.Champion.Constants, p.Values))
		}
		return proposed{Proposal: p, suggestion: s.ID, alone: true}, nil
	}
	if p, ok := search.Again(h); ok {
		return proposed{Proposal: p}, nil
	}
	if j, ok := t.Judge.(search.Rerunner); ok {
		if p, ok := j.Rerun(h); ok {
			return proposed{Proposal: p}, nil
		}
	}
	p, err := t.Strategy.Ask(ctx, told(h, vetoed))
	if err != nil {
		return proposed{}, fmt.Errorf("ask strategy %s: %w", t.Name, err)
	}
	if t.Known != nil && !t.Known(p.Strategy) {
		p.Strategy = t.Name
	}
	return proposed{Proposal: p, suggestion: t.idea(p), checked: true}, nil
}

// told is the history with what was vetoed, as the strategy is to know it.
func told(h search.History, vetoed []search.Trial) search.History {
	h.Pending = append(h.Pending[:len(h.Pending):len(h.Pending)], vetoed...)
	h.Vetoed = len(vetoed)
	return h
}

// idea returns the suggestion in words that a proposal takes up and that still
// waits, 0 for none.
func (t Turn) idea(p search.Proposal) int64 {
	if t.Ideas == nil || len(p.Ideas) == 0 {
		return 0
	}
	for _, i := range t.Ideas() {
		if slices.Contains(p.Ideas, i.ID) {
			return i.ID
		}
	}
	return 0
}

// with is what constants are once some are set.
func with(constants []search.Constant, values map[string]search.Value) []search.Constant {
	out := slices.Clone(constants)
	for i, c := range out {
		if v, ok := values[c.Name]; ok {
			out[i].Value = v
		}
	}
	return out
}

// Admit turns a proposal into a trial, whatever it is worth: its full source,
// every constant resolved, its seed. before are its parent's constants.
func (t Turn) Admit(ctx context.Context, p search.Proposal) (trial search.Trial, before []search.Constant, err error) {
	source, before, err := t.Parent(ctx, p.Parent)
	if err != nil {
		return search.Trial{}, nil, err
	}
	constants, fault := before, ""
	if p.Source != nil {
		source = p.Source
		if constants, fault, err = t.Inspect(ctx, source); err != nil {
			return search.Trial{}, nil, err
		}
		if fault != "" {
			return search.Trial{}, nil, unfit{fmt.Errorf("proposal %q of %s: train.py: %s", p.Description, p.Strategy, fault)}
		}
	}
	if source, err = search.Patch(source, constants, p.Values); err != nil {
		return search.Trial{}, nil, unfit{fmt.Errorf("proposal %q of %s: it does not fit its parent: %w", p.Description, p.Strategy, err)}
	}
	if constants, fault, err = t.Examine(ctx, source); err != nil {
		return search.Trial{}, nil, err
	}
	if fault != "" {
		return search.Trial{}, nil, unfit{fmt.Errorf("train.py cannot be a trial: %s", fault)}
	}
	trial = search.Trial{
		Proposal: p, Source: source, Constants: constants, Changed: search.Changed(before, constants),
		Code: constraint.Skeleton(source, constants), Seed: p.Seed, Kind: t.Kind, ConfirmOn: t.ConfirmOn,
	}
	if trial.Seed == 0 {
		trial.Seed = t.Seed
	}
	return trial, before, nil
}

// weigh looks at a strategy's trial before it touches the device: one that
// repeats another or would not fit is vetoed (not ok), one that nearly fits is
// mended.
func (t Turn) weigh(ctx context.Context, h search.History, next search.Trial, before []search.Constant, vetoed int) (mended search.Trial, ok bool, err error) {
	v := constraint.Check(h, next, t.Limits)
	switch v.Action {
	case constraint.Veto:
		if vetoed < Vetoes {
			if t.Vetoed != nil {
				t.Vetoed(next, v.Reason)
			}
			return next, false, nil
		}
		if v.Like != 0 && !v.Near {
			return next, false, fmt.Errorf("strategy %s %w: %q: %s", next.Proposal.Strategy, ErrTried, next.Proposal.Description, v.Reason)
		}
		return next, true, nil // what is believed of memory and time can be wrong: this one tests it
	case constraint.Repair:
		if t.Mended != nil {
			t.Mended(next, v.Reason)
		}
		source, err := search.Patch(next.Source, next.Constants, v.Values)
		if err != nil {
			return next, false, fmt.Errorf("mend proposal %q: %w", next.Proposal.Description, err)
		}
		constants, fault, err := t.Inspect(ctx, source)
		if err != nil {
			return next, false, err
		}
		if fault != "" {
			return next, false, fmt.Errorf("mend proposal %q: train.py: %s", next.Proposal.Description, fault)
		}
		next.Proposal.Description += " (mended: " + search.Describe(next.Constants, constants) + ")"
		next.Source, next.Constants, next.Changed = source, constants, search.Changed(before, constants)
	}
	return next, true, nil
}

// Decide is what a finished trial means. It depends on what was decided before
// it and on nothing that runs, so that a replay in the order of decisions
// decides the same; what a check answers (search.ToCheck) is recorded with it.
func Decide(j search.Judge, h search.History, r search.Result) search.Decision {
	h.Pending = nil
	return j.Judge(h, r)
}

// After is the history once a trial is decided, which goes on in h.Done's own
// array. Its Space is the old one: where the trial is kept, the caller makes it
// anew.
func After(h search.History, r search.Result) search.History {
	h.Pending = slices.DeleteFunc(slices.Clone(h.Pending), func(t search.Trial) bool { return t.ID == r.Trial.ID })
	h.Done = append(h.Done, r)
	if r.Decision.Verdict == search.Keep {
		h.Champion = search.Original(h.Done, r.Trial)
	}
	return h
}
