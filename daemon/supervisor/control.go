package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Pause stops the loop after the running trials; it stays so over restarts.
func (s *Supervisor) Pause(context.Context) error { return s.hold(true) }

// Resume lets a paused or ended study go on.
func (s *Supervisor) Resume(context.Context) error { return s.hold(false) }

func (s *Supervisor) hold(paused bool) error {
	if err := s.study.SetFlag(journal.Paused, paused); err != nil {
		return err
	}
	if !paused {
		if err := s.study.SetFlag(journal.Ended, false); err != nil {
			return err
		}
	}
	s.poke()
	return nil
}

// Cancel ends a trial, which is recorded as interrupted: the one that which
// names, by its number or its seat, and of a seat's two the one that is ahead.
// Without a name it is the one that runs, where there is one alone.
func (s *Supervisor) Cancel(_ context.Context, which string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	var found *flight
	for _, seat := range s.seats {
		for _, f := range []*flight{seat.next, seat.cur} {
			if f == nil {
				continue
			}
			id := strconv.FormatInt(f.trial.ID, 10)
			if which == id || which == seat.device.Name || which == "" {
				found = f
			}
			if f == seat.cur || seat.cur == nil {
				names = append(names, fmt.Sprintf("%s on %s", id, seat.device.Name))
			}
		}
	}
	state, _ := s.doing()
	switch {
	case len(names) == 0:
		return fmt.Errorf("no trial is running: the study is %s", state)
	case found == nil:
		return fmt.Errorf("no trial %s is running: these are: %s", which, strings.Join(names, ", "))
	case which == "" && len(names) > 1:
		return fmt.Errorf("several trials are running: name one by its number or its device: %s", strings.Join(names, ", "))
	}
	found.cancel()
	return nil
}

// Stop ends the study after the running trials.
func (s *Supervisor) Stop(context.Context) error {
	if err := s.study.SetFlag(journal.Ended, true); err != nil {
		return err
	}
	s.poke()
	return nil
}

// Suggest queues values of constants for the next proposal and says in words
// what was queued.
func (s *Supervisor) Suggest(ctx context.Context, values map[string]search.Value) (string, error) {
	champion := s.study.Champion()
	if champion == nil {
		return "", fmt.Errorf("there is no champion to change yet: suggest again after the baseline")
	}
	// What cannot be applied is refused now, not when its turn comes.
	source, err := s.study.Source(ctx, champion.Trial.ID)
	if err != nil {
		return "", err
	}
	if _, err := search.Patch(source, champion.Trial.Constants, values); err != nil {
		return "", err
	}
	words := describe(champion.Trial.Constants, values)
	if err := s.study.Suggest(journal.Suggestion{Kind: kindValues, Text: words, Values: values, At: time.Now()}); err != nil {
		return "", err
	}
	s.poke()
	c := s.proposer.coming()
	said := "queued: " + words
	// What [search.space] may be wrong about was said at the start.
	space, _ := search.NewSpace(champion.Trial.Constants, c.Search.Overrides())
	for _, beyond := range space.Outside(values) {
		said += "\nwarning: " + beyond + ", which is all that strategies search; it is tried all the same"
	}
	return said, nil
}

// Ablate queues a candidate's kept changes, each taken back once, and says in
// words what was queued.
func (s *Supervisor) Ablate(ctx context.Context, candidate int64) (string, error) {
	changes, err := s.study.Changes()
	if err != nil {
		return "", err
	}
	if c := changes.Candidate(candidate); c == nil || changes.Baseline == nil {
		return "", fmt.Errorf("there is no candidate %d with a change to take back", candidate)
	}
	queued, err := changes.Queue(ctx, s.proposer.world().Examine, candidate, s.study.Suggest)
	if len(queued) > 0 {
		s.poke()
	}
	return strings.Join(queued, "\n"), err
}

// Drop takes back a suggestion that no trial has taken, and says which.
func (s *Supervisor) Drop(_ context.Context, id int64) (string, error) {
	g, err := s.study.Drop(id)
	if err != nil {
		return "", err
	}
	return "dropped: " + g.Text, nil
}

// longestIdea is how long a suggestion in words may be, in bytes.
const longestIdea = 4000

// SuggestText queues an idea in words for a strategy that can read, and says
// what will be done with it.
func (s *Supervisor) SuggestText(_ context.Context, text string) (string, error) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\ufffd"))
	c := s.proposer.coming()
	const instead = ", or suggest values with `suggest --set NAME=VALUE`"
	switch {
	case text == "":
		return "", fmt.Errorf("the suggestion is empty")
	case len(text) > longestIdea:
		return "", fmt.Errorf("the suggestion is %d bytes long, at most %d are taken", len(text), longestIdea)
	case s.o.Model == nil || !c.LLM.Enabled:
		return "", fmt.Errorf("a suggestion in words needs a language model, and [llm] is not enabled: set enabled = true, base_url and models there and reload" + instead)
	case !slices.Contains([]string{"llm", "portfolio", "agent"}, c.Search.Strategy):
		return "", fmt.Errorf("strategy %s does not read words: set search.strategy to \"llm\" or \"portfolio\" and reload%s", c.Search.Strategy, instead)
	}
	if err := s.study.Suggest(journal.Suggestion{Kind: kindText, Text: text, At: time.Now()}); err != nil {
		return "", err
	}
	return "queued: a model is asked for a proposal that carries it out", nil
}

// poke wakes the seats.
func (s *Supervisor) poke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// Wake lets every seat look again whether it can go on.
func (s *Supervisor) Wake() { s.poke() }

// Reload puts a configuration in force before the next proposal. It is refused,
// and the old one stays, where it changes what needs a restart.
func (s *Supervisor) Reload(c *config.Config) error {
	err := s.confirmable(c)
	if err != nil {
		s.proposer.reloadFailed(err)
		return err
	}
	err = s.proposer.Reload(c)
	if err == nil {
		s.poke()
	}
	return err
}

// ReloadFailed notes why there was no sound configuration to reload.
func (s *Supervisor) ReloadFailed(why error) { s.proposer.reloadFailed(why) }
