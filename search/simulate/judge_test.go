package simulate_test

import (
	"context"
	"math"
	"sync"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/random"
	"autoresearchd/search/simulate"
)

// verdict is what a judge did to many studies: means over them.
type verdict struct {
	gain     float64 // what the last champion is better than the start, without noise
	optimism float64 // how much lower its stated val_bpb is than the true one
	keeps    float64
	reruns   float64
	givenUp  float64 // champions, for an earlier one
	claimed  float64 // studies in which any champion was claimed over the start
	wrong    float64 // studies whose last champion is claimed and not better than what it was claimed over
}

// try runs studies of 100 trials on edits alone, under a judge.
func try(t *testing.T, task string, rule string, places simulate.Places, studies int) verdict {
	t.Helper()
	built, err := simulate.LookupTask(task)
	if err != nil {
		t.Fatal(err)
	}
	judge, err := search.LookupJudge(rule)
	if err != nil {
		t.Fatal(err)
	}
	const trials, workers = 100, 4
	var (
		sum  verdict
		mu   sync.Mutex
		wait sync.WaitGroup
	)
	for worker := range workers {
		wait.Go(func() {
			for seed := worker; seed < studies; seed += workers {
				one, err := study(built.New(uint64(seed)), judge, places, uint64(seed), trials)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sum.gain += one.gain
				sum.optimism += one.optimism
				sum.keeps += one.keeps
				sum.reruns += one.reruns
				sum.givenUp += one.givenUp
				sum.claimed += one.claimed
				sum.wrong += one.wrong
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	n := float64(studies)
	mean := verdict{sum.gain / n, sum.optimism / n, sum.keeps / n, sum.reruns / n, sum.givenUp / n, sum.claimed / n, sum.wrong / n}
	t.Logf("%-8s %-7s %d at once: gain %.6f, optimism %+.6f, keeps %.1f, re-runs %.1f, given up %.2f, claims %.3f, false ones %.3f", task, rule, max(1, places.Pending), mean.gain, mean.optimism, mean.keeps, mean.reruns, mean.givenUp, mean.claimed, mean.wrong)
	return mean
}

func study(task simulate.Task, judge search.Judge, places simulate.Places, seed uint64, trials int) (verdict, error) {
	strategy, err := random.New(search.Environment{Seed: seed})
	if err != nil {
		return verdict{}, err
	}
	s, err := simulate.BeginAt(context.Background(), places, task, strategy, judge, seed)
	if err != nil {
		return verdict{}, err
	}
	s.Trials = trials
	for len(s.History.Done) < trials {
		if _, err := s.Turn(); err != nil {
			return verdict{}, err
		}
	}
	out := verdict{gain: s.Best[0] - s.Best[trials-1]}
	for _, r := range s.History.Done[1:] {
		if r.Decision.Verdict == search.Keep {
			out.keeps++
		}
		if search.IsRerun(r.Trial) {
			out.reruns++
		}
	}
	reigned := map[int64]bool{}
	_, champions := search.Course(s.History.Done)
	for _, r := range champions {
		if reigned[r.Champion.ID] {
			out.givenUp++
		}
		reigned[r.Champion.ID] = true
	}
	stated := s.Value(s.History.Champion.ID)
	if c, ok := judge.(search.Claimer); ok {
		claim := c.Claim(s.History)
		stated = claim.ValBPB
		if claim.Proven != 1 {
			out.claimed = 1
		}
		if claim.Claimed && s.Truth(claim.Champion) >= s.Truth(claim.Over) {
			out.wrong = 1
		}
	}
	out.optimism = s.Best[trials-1] - stated
	return out, nil
}

// TestJudges holds the judges to what they are for, over 1,000 studies each
// with a noise of 5e-4: confirm claims no luck, gains nearly as much as greedy
// where gains are common and more where they are rare, and states what is true.
// Its re-runs take a fifth of the trials; of what greedy gains meanwhile, where
// no edit comes twice, it leaves a tenth.
func TestJudges(t *testing.T) {
	const studies, noise = 1000, 5e-4
	for _, c := range []struct {
		task  string
		share float64 // of greedy's gain that confirm must have; 0: there is none to have
	}{{"gains", 0.87}, {"plateau", 1}, {"nothing", 0}} {
		greedy, confirm := try(t, c.task, "greedy", simulate.Places{}, studies), try(t, c.task, "confirm", simulate.Places{}, studies)
		if c.share > 0 && confirm.gain < c.share*greedy.gain {
			t.Errorf("%s: confirm gains %.6f, less than %g of greedy's %.6f", c.task, confirm.gain, c.share, greedy.gain)
		}
		if confirm.wrong >= 0.05 {
			t.Errorf("%s: %.3f of the studies claim a champion that is none", c.task, confirm.wrong)
		}
		if math.Abs(confirm.optimism) > noise/10 || confirm.optimism > greedy.optimism/10 {
			t.Errorf("%s: what is stated is %.6f too low, greedy's %.6f", c.task, confirm.optimism, greedy.optimism)
		}
		if c.task == "nothing" && confirm.claimed >= 0.05 {
			t.Errorf("%s: %.3f of the studies claim something", c.task, confirm.claimed)
		}
	}
}

// TestConfirmAtOnce has several trials run at once: what confirm claims is as
// true as with one, and no program is run again more than that needs. What is
// stated flatters a little, as the last to be kept may be decided when the runs
// for the claim have begun already. Edits add up, so fewer are kept where most
// were made of an older champion.
func TestConfirmAtOnce(t *testing.T) {
	const studies, noise = 100, 5e-4
	for _, task := range []string{"gains", "nothing"} {
		one := try(t, task, "confirm", simulate.Places{}, studies)
		for _, c := range []struct {
			places         simulate.Places
			flatters, gain float64
		}{{simulate.Places{Pending: 4}, noise / 3, 0.7}, {simulate.Places{Pending: 16, Drawn: true}, noise, 0.4}} {
			many := try(t, task, "confirm", c.places, studies)
			if many.wrong >= 0.05 || math.Abs(many.optimism) > c.flatters {
				t.Errorf("%s, %+v: %.3f of the studies claim a champion that is none; what is stated is %.6f too low", task, c.places, many.wrong, many.optimism)
			}
			if many.reruns > one.reruns+3 || many.reruns < one.reruns/2 {
				t.Errorf("%s, %+v: %.1f re-runs, one at a time has %.1f", task, c.places, many.reruns, one.reruns)
			}
			if task == "gains" && many.gain < c.gain*one.gain {
				t.Errorf("%s, %+v: gains %.6f, one at a time %.6f", task, c.places, many.gain, one.gain)
			}
		}
	}
}

// TestConfirmOn has three places of a kind of devices that screens, on which
// everything scores higher, and one of that on which gains are confirmed. What is
// claimed is as true as among places that are all alike. The last trials there
// are kept for the claim, while the others look on: that costs gain in a study as
// short as this.
func TestConfirmOn(t *testing.T) {
	const studies, noise = 100, 5e-4
	slow, fast := simulate.Class{Kind: "slow", Offset: 0.01}, simulate.Class{Kind: "fast"}
	places := simulate.Places{Pending: 4, Classes: []simulate.Class{slow, slow, slow, fast}, ConfirmOn: fast.Kind}
	for _, task := range []string{"gains", "nothing"} {
		alike, two := try(t, task, "confirm", simulate.Places{Pending: 4}, studies), try(t, task, "confirm", places, studies)
		if two.wrong >= 0.05 || math.Abs(two.optimism) > noise/10 {
			t.Errorf("%s: %.3f of the studies claim a champion that is none; what is stated is %.6f too low", task, two.wrong, two.optimism)
		}
		if task == "gains" && (two.gain < 0.5*alike.gain || two.claimed < alike.claimed) {
			t.Errorf("%s: gains %.6f and claims in %.2f of the studies, alike %.6f and %.2f", task, two.gain, two.claimed, alike.gain, alike.claimed)
		}
	}
}

// TestGoneClass has the place on which gains are confirmed vanish halfway: the
// study goes on, and what is promising waits.
func TestGoneClass(t *testing.T) {
	built, err := simulate.LookupTask("gains")
	if err != nil {
		t.Fatal(err)
	}
	judge, err := search.LookupJudge("confirm")
	if err != nil {
		t.Fatal(err)
	}
	strategy, err := random.New(search.Environment{})
	if err != nil {
		t.Fatal(err)
	}
	places := simulate.Places{Pending: 2, Classes: []simulate.Class{{Kind: "slow", Offset: 0.01}, {Kind: "fast", Until: 40}}, ConfirmOn: "fast"}
	s, err := simulate.BeginAt(context.Background(), places, built.New(1), strategy, judge, 1)
	if err != nil {
		t.Fatal(err)
	}
	keeps := 0
	for s.Trials = 80; len(s.History.Done) < s.Trials; {
		r, err := s.Turn()
		if err != nil {
			t.Fatal(err)
		}
		if r.Decision.Verdict == search.Keep && len(s.History.Done) > 1 {
			if keeps++; r.Trial.Kind != "fast" {
				t.Errorf("trial %d is kept on %s: %s", r.Trial.ID, r.Trial.Kind, r.Decision.Reason)
			}
		}
	}
	waiting := 0
	for _, c := range search.Candidates(s.History) {
		if c.Standing == search.StandingPending {
			waiting++
		}
	}
	if keeps == 0 || waiting == 0 || waiting != search.Unconfirmed(s.History) {
		t.Errorf("%d are kept, %d wait, %d of them to be confirmed", keeps, waiting, search.Unconfirmed(s.History))
	}
}
