package llm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

// candidate is a proposal that waits for the GPU.
type candidate struct {
	description string
	memo        memo
	edits       []edit                  // of the champion memo.Base
	values      map[string]search.Value // constants to set
	source      []byte                  // nil: only constants change
	consts      []search.Constant       // of source
	print       uint64                  // of the train.py that would run
	idea        int64
	known       int // trials that its model knew of
	attachments []search.Attachment
}

func (c *candidate) proposal(h search.History) search.Proposal {
	p := search.Proposal{
		Strategy: Name, Description: c.description, Parent: h.Champion.ID, Values: c.values, Source: c.source,
		Memo: c.memo.encode(), Attachments: c.attachments,
	}
	if c.idea != 0 {
		p.Ideas = []int64{c.idea}
	}
	return p
}

// read turns a reply into a candidate, or says what is wrong with it.
func (s *strategy) read(ctx context.Context, h search.History, t task, reply search.Reply) (*candidate, error) {
	if reply.Truncated {
		if _, err := body(reply.Text); errors.Is(err, errThoughts) {
			return nil, errors.New("the reply was cut off within its reasoning, at the longest length that the server allows: reason less (or let a person raise llm.max_tokens)")
		}
		return nil, errors.New("the reply was cut off at the longest length that the server allows: be shorter, and use edits instead of a whole file")
	}
	a, err := parse(reply.Text)
	if reply.Reasoning {
		if err == nil {
			err = wholeThought(reply.Text, a)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, and that is no whole answer: %w", inReasoning, err)
		}
		s.remark(fmt.Sprintf("model %s: %s; it is whole, and used. %s", reply.Model, inReasoning, reasoningRemedy))
	}
	if err != nil {
		return nil, err
	}
	c := &candidate{known: len(h.Done), edits: a.edits, memo: memo{Model: reply.Model, Expect: a.expect, Base: h.Champion.ID}}
	if t.idea != nil {
		c.idea = t.idea.ID
	}
	consts := t.constants
	source := t.base
	switch {
	case len(a.edits) == 0 && a.file == "":
		c.memo.Kind = "constants"
	case !s.o.Edits:
		return nil, errors.New("the reply edits train.py, but in this study only constants may be changed")
	default:
		c.memo.Kind = "edit"
		var fault error
		if len(a.edits) > 0 {
			source, fault = apply(t.base, a.edits)
		}
		if a.file != "" && (fault != nil || len(a.edits) == 0) {
			c.memo.Kind, c.edits = "file", nil
			source, fault = []byte(a.file), sound([]byte(a.file))
		}
		if fault != nil {
			return nil, fault
		}
		if consts, err = s.tools.Check(ctx, source); err != nil {
			return nil, fmt.Errorf("train.py with the change cannot be a trial: %w", err)
		}
		c.source, c.consts = source, consts
	}
	if t.crash != nil {
		before := memoOf(t.crash.Trial.Proposal.Memo)
		c.memo.Kind, c.memo.Fixes, c.memo.Depth, c.edits = "fix", t.crash.Trial.ID, before.Depth+1, nil
		c.source, c.consts = source, consts
	}
	if c.values, err = settings(a.constants, consts); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, h, c, identity(t.base, t.constants), source, consts); err != nil {
		return nil, err
	}
	c.describe(h, a.description)
	return c, nil
}

// Where a reply has nothing but reasoning.
const (
	inReasoning     = "the reply's text is empty, and all it says stands in its field of reasoning (reasoning_content)"
	reasoningRemedy = "To mend that, let the server not part the two (vLLM and SGLang: start without --reasoning-parser; llama.cpp: --reasoning-format none), let the model not reason (Ollama: a model or template without thinking), or raise llm.max_tokens"
)

// wholeThought refuses reasoning that does not end with the one proposal that
// it holds, in the form that was asked for.
func wholeThought(text string, a answer) error {
	text, err := body(text)
	if err != nil {
		return err
	}
	held := 0
	for _, part := range split(text) {
		one, err := part.read()
		if err != nil {
			return err
		}
		if one.proposes() && !one.loose || part.kind != normal && one.proposes() {
			held++
		}
	}
	switch {
	case a.loose || a.description == "":
		return errors.New("it proposes nothing in the form that was asked for")
	case held > 1:
		return errSeveral
	}
	return nil
}

// remark logs what a person should mend, once for the same.
func (s *strategy) remark(words string) {
	s.mu.Lock()
	news := !s.remarks[words]
	s.remarks[words] = true
	s.mu.Unlock()
	if news {
		s.tools.Log.Warn("a model server should be set up in another way", "what", words)
	}
}

// settings reads constants as values of train.py's types. What keeps its value
// is left out.
func settings(constants []setting, consts []search.Constant) (map[string]search.Value, error) {
	var faults []error
	values, texts := map[string]search.Value{}, map[string]string{}
	for _, set := range constants {
		at := slices.IndexFunc(consts, func(c search.Constant) bool { return c.Name == set.name })
		if at < 0 {
			faults = append(faults, fmt.Errorf("train.py has no constant %s", inline(set.name, 60)))
			continue
		}
		v, err := set.value(consts[at].Value)
		switch before, twice := values[set.name]; {
		case err != nil:
			faults = append(faults, err)
		case v.Equal(consts[at].Value): // also as the first half of "from 8 to 9"
		case twice && !before.Equal(v):
			faults = append(faults, fmt.Errorf("the reply sets %s to %s and to %s: give one value", set.name, inline(texts[set.name], 60), inline(set.text, 60)))
		default:
			values[set.name], texts[set.name] = v, set.text
		}
	}
	if len(values) == 0 {
		values = nil
	}
	return values, errors.Join(faults...)
}

// resolve works out the train.py that a candidate would run as, and refuses it
// if it leaves the space, is no other than the train.py whose identity is base,
// or has run before.
func (s *strategy) resolve(ctx context.Context, h search.History, c *candidate, base uint64, source []byte, consts []search.Constant) error {
	if c.source == nil {
		for _, name := range sortedKeys(c.values) {
			if err := within(h, name, c.values[name]); err != nil {
				return err
			}
		}
		if len(c.values) == 0 {
			return errors.New("the constants of the reply have these values already: it changes nothing")
		}
	}
	if _, err := search.Patch(source, consts, c.values); err != nil {
		return err
	}
	resolved := slices.Clone(consts)
	for i := range resolved {
		if v, ok := c.values[resolved[i].Name]; ok {
			resolved[i].Value = v
		}
	}
	c.print = 31*constraint.Skeleton(source, consts) ^ search.Fingerprint(resolved) // identity of the patched source
	if c.print == base {
		return errors.New("it changes nothing that runs")
	}
	if id := s.ran(ctx, h, c.print, search.Fingerprint(resolved)); id != 0 {
		return fmt.Errorf("trial %d was the same train.py: propose something that has not been tried", id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.ready {
		if other.print == c.print {
			return errors.New("the same was proposed a moment ago: propose something else")
		}
	}
	return nil
}

// ran returns the trial whose train.py had the same identity, 0 if none had. Sources are read only where the constants agree.
func (s *strategy) ran(ctx context.Context, h search.History, print, constants uint64) int64 {
	same := func(t *search.Trial) bool {
		if search.Fingerprint(t.Constants) != constants {
			return false
		}
		s.mu.Lock()
		have, ok := s.prints[t.ID]
		s.mu.Unlock()
		if !ok {
			source, err := s.tools.Source(ctx, t.ID)
			if err != nil {
				return false
			}
			have = identity(source, t.Constants)
			s.mu.Lock()
			s.prints[t.ID] = have
			s.mu.Unlock()
		}
		return have == print
	}
	for i := range h.Done {
		if h.Done[i].Outcome.Status != search.Interrupted && same(&h.Done[i].Trial) {
			return h.Done[i].Trial.ID
		}
	}
	for i := range h.Pending {
		if same(&h.Pending[i]) {
			return h.Pending[i].ID
		}
	}
	return 0
}

// describe makes the line for people: the model's words and the constants.
func (c *candidate) describe(h search.History, words string) {
	changes := ""
	if len(c.values) > 0 && c.source == nil {
		to := slices.Clone(h.Champion.Constants)
		for i := range to {
			if v, ok := c.values[to[i].Name]; ok {
				to[i].Value = v
			}
		}
		changes = oneLine(search.Describe(h.Champion.Constants, to), 200)
	}
	switch {
	case words == "" && changes != "":
		c.description = changes
	case words == "":
		c.description = "an edit of train.py without a description"
	case changes != "" && !strings.Contains(words, changes):
		c.description = words + " (" + changes + ")"
	default:
		c.description = words
	}
	if c.memo.Fixes != 0 {
		c.description = fmt.Sprintf("mends trial %d: %s", c.memo.Fixes, c.description)
	}
}

// refresh brings the candidates up to a history: those of an earlier champion
// are applied to the new one, and dropped where they do not fit any more or
// have been tried by others meanwhile.
func (s *strategy) refresh(ctx context.Context, h search.History) {
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	s.mu.Lock()
	all := s.ready
	s.ready = nil
	s.mu.Unlock()
	for _, c := range all {
		fresh, err := s.rebase(ctx, h, c)
		if err != nil && ctx.Err() == nil {
			s.tools.Log.Debug("a model's proposal is dropped", "description", c.description, "why", err)
			continue
		}
		if err != nil {
			fresh = c // not its fault
		}
		s.mu.Lock()
		s.ready = append(s.ready, fresh)
		s.mu.Unlock()
	}
}

func (s *strategy) rebase(ctx context.Context, h search.History, c *candidate) (*candidate, error) {
	fresh := *c
	champion := func() ([]byte, error) { return s.tools.Source(ctx, h.Champion.ID) }
	if c.memo.Base == h.Champion.ID {
		source, consts := c.source, c.consts
		if source == nil {
			consts = h.Champion.Constants
			var err error
			if source, err = champion(); err != nil {
				return nil, err
			}
		}
		return &fresh, s.resolve(ctx, h, &fresh, 0, source, consts)
	}
	if c.source != nil && len(c.edits) == 0 {
		return nil, fmt.Errorf("it is a whole file made from trial %d, which is not the champion any more", c.memo.Base)
	}
	source, err := champion()
	if err != nil {
		return nil, err
	}
	base, consts := source, h.Champion.Constants
	if c.source != nil {
		if source, err = apply(base, c.edits); err != nil {
			return nil, err
		}
		if consts, err = s.tools.Check(ctx, source); err != nil {
			return nil, err
		}
		fresh.source, fresh.consts = source, consts
	}
	fresh.values = maps.Clone(c.values)
	for _, k := range consts {
		if v, ok := fresh.values[k.Name]; ok && v.Equal(k.Value) {
			delete(fresh.values, k.Name)
		}
	}
	fresh.memo.Base = h.Champion.ID
	return &fresh, s.resolve(ctx, h, &fresh, identity(base, h.Champion.Constants), source, consts)
}

// take picks the best candidate: what a person asked for, then what mends a
// crash, then what its model knew most of the history for.
func (s *strategy) take() *candidate {
	s.refreshing.Lock() // while the list is gone through, it is not whole
	defer s.refreshing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	rank := func(c *candidate) float64 {
		r := float64(c.known)
		if c.memo.Fixes != 0 {
			r += 1e9
		}
		if c.idea != 0 {
			r += 2e9
		}
		return r
	}
	best, at := math.Inf(-1), -1
	for i, c := range s.ready {
		if r := rank(c); r > best {
			best, at = r, i
		}
	}
	if at < 0 {
		return nil
	}
	c := s.ready[at]
	s.ready = slices.Delete(s.ready, at, at+1)
	if c.idea != 0 {
		s.given[c.idea] = true
	}
	return c
}

// choose names the model to ask where there are several: an upper confidence
// bound on the share of kept proposals, less what the model costs beside the
// others (UCB1, Auer et al. 2002).
func (s *strategy) choose(h search.History) string {
	list, ok := s.tools.Model.(interface{ Names() []string })
	if !ok {
		return ""
	}
	names := list.Names()
	if len(names) < 2 {
		return ""
	}
	count, kept, dollars := map[string]float64{}, map[string]float64{}, map[string]float64{}
	total, spent := 0.0, 0.0
	note := func(m memo, keep bool) {
		count[m.Model]++
		dollars[m.Model] += m.Dollars
		total++
		spent += m.Dollars
		if keep {
			kept[m.Model]++
		}
	}
	for i := range h.Done {
		if m := memoOf(h.Done[i].Trial.Proposal.Memo); m.Model != "" {
			note(m, h.Done[i].Decision.Verdict == search.Keep)
		}
	}
	for i := range h.Pending {
		if m := memoOf(h.Pending[i].Proposal.Memo); m.Model != "" {
			note(m, false)
		}
	}
	s.mu.Lock()
	for _, c := range s.ready {
		note(c.memo, false)
	}
	s.mu.Unlock()
	best, at := math.Inf(-1), 0
	for i, name := range names {
		n := count[name]
		if n == 0 {
			return name
		}
		value := (kept[name] + 0.5) / (n + 1)
		if spent > 0 { // what an average proposal costs buys more of a cheap model's
			value /= 0.5 + 0.5*(dollars[name]/n)/(spent/total)
		}
		if value += 0.5 * math.Sqrt(math.Log(total)/n); value > best {
			best, at = value, i
		}
	}
	return names[at]
}
