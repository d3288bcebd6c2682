package portfolio

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"autoresearchd/search"
	_ "autoresearchd/search/cmaes"
	_ "autoresearchd/search/llm"
	"autoresearchd/search/simulate"
	_ "autoresearchd/search/tpe"
)

// none is the quality of no model at all.
const none = -1

// modelled plays a study in which a modelled language model answers the llm
// strategy: its prompts, its reading of replies and its checks are the real ones.
func modelled(task simulate.Task, quality float64, seed uint64, trials int) (*simulate.Study, error) {
	var st *simulate.Study
	tools := search.Tools{
		Check:  func(_ context.Context, source []byte) ([]search.Constant, error) { return simulate.Read(source) },
		Source: func(_ context.Context, id int64) ([]byte, error) { return st.Source(id) },
	}
	var err error
	if quality != none {
		if tools.Model, err = simulate.NewModelled(task, quality, seed); err != nil {
			return nil, err
		}
	}
	made, err := New(search.Environment{Seed: seed, Tools: tools, Table: func(v any) error {
		v.(*Options).Arms = []string{"evolution", "tpe", "cmaes", "llm"} // gp asks in tens of milliseconds
		return nil
	}})
	if err != nil {
		return nil, err
	}
	if st, err = simulate.NewStudy(task, made, seed); err != nil {
		return nil, err
	}
	for len(st.History.Done) < trials {
		if _, err := st.Turn(); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// swept are studies with a model of one quality, and without one on the same seeds.
type swept struct {
	better simulate.Interval // by how much regret is lower than without a model
	share  float64           // of the model's proposals among the trials
	edits  int               // of its trials that changed the code and ran to their end
	noise  float64           // standard deviation of a measurement, on the scale of regret
}

func sweep(t *testing.T, task string, quality float64, studies, trials int) swept {
	t.Helper()
	built, err := simulate.LookupTask(task)
	if err != nil {
		t.Fatal(err)
	}
	var out swept
	first := built.New(1)
	best, middling := first.Scale()
	out.noise = first.Noise / (middling - best)
	better := make([]float64, studies)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for worker := range 2 {
		wait.Go(func() {
			for seed := worker; seed < studies; seed += 2 {
				var regret [2]float64
				for i, q := range []float64{none, quality} {
					st, err := modelled(built.New(uint64(seed)), q, uint64(seed), trials)
					if err != nil {
						t.Error(err)
						return
					}
					f := simulate.SumUp(st, Name, uint64(seed), trials)
					regret[i] = f.Regret[trials-1]
					if q == none {
						continue
					}
					mu.Lock()
					out.share += f.Shares[language] / float64(studies)
					for _, r := range st.History.Done {
						var memo struct{ LLM struct{ Kind string } }
						if json.Unmarshal(r.Trial.Proposal.Memo, &memo) == nil && memo.LLM.Kind == "edit" && r.Outcome.Status == search.Completed {
							out.edits++
						}
					}
					mu.Unlock()
				}
				better[seed] = regret[0] - regret[1]
			}
		})
	}
	wait.Wait()
	out.better = simulate.NewInterval(better)
	t.Logf("%s, quality %g: regret after %d trials lower by %.4f ± %.4f than without a model, which has %.0f %% of the trials, %d of them edits that ran",
		task, quality, trials, out.better.Mean, out.better.Half, 100*out.share, out.edits)
	return out
}

// TestModelledLLM has a language model of any quality in the portfolio. With a
// useless one it is as good as without, up to the noise of a measurement, and
// from a modest one on it is better. The long form is `scripts/bench.sh llm`.
func TestModelledLLM(t *testing.T) {
	const trials = 50
	for _, c := range []struct {
		task    string
		quality float64
		better  bool
		studies int // constants matter less than code, so that more are needed to see it
	}{{"hopper", 0, false, 80}, {"hopper", 1, true, 80}, {"code", 0, false, 20}, {"code", 0.5, true, 20}, {"code", 1, true, 20}} {
		got := sweep(t, c.task, c.quality, c.studies, trials)
		least, most := 0.2, 0.36
		if !c.better {
			least, most = 0.02, 0.12
		}
		if got.share < least || got.share > most {
			t.Errorf("%s, quality %g: the model has %.2f of the trials, want %g to %g", c.task, c.quality, got.share, least, most)
		}
		if c.better && !(got.better.Mean > got.better.Half) {
			t.Errorf("%s: a model of quality %g does not pay: %.4f ± %.4f", c.task, c.quality, got.better.Mean, got.better.Half)
		}
		if got.better.Mean+got.better.Half < -got.noise {
			t.Errorf("%s: a model of quality %g does harm: %.4f ± %.4f, the noise is %.4f", c.task, c.quality, got.better.Mean, got.better.Half, got.noise)
		}
		if (c.task == "code") != (got.edits > 0) {
			t.Errorf("%s, quality %g: %d edits of the code ran to their end", c.task, c.quality, got.edits)
		}
	}
}
