package supervisor

import (
	"log/slog"
	"sync"

	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
	"autoresearchd/search/prune"
)

// pruner is the rule that ends hopeless trials, with what the finished ones have
// taught it.
type pruner struct {
	study *study.Study

	mu   sync.Mutex
	name string
	rule *prune.Rule
	told int // how many of what is done the rule knows
}

// watch follows a trial that begins, by the rule of that name.
func (p *pruner) watch(name string, t search.Trial) (*prune.Watch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name != p.name {
		rule, err := prune.New(name)
		if err != nil {
			return nil, err
		}
		p.name, p.rule, p.told = name, rule, 0
	}
	if done := p.study.History().Done; p.rule != nil && p.told < len(done) {
		_, bars := search.Bars(done)
		for ; p.told < len(done); p.told++ {
			r := done[p.told]
			if _, scored := r.Score(); scored {
				var err error
				if r.Outcome.Curve, err = p.study.Curve(r.Trial.ID); err != nil {
					return nil, err
				}
			}
			p.rule.Add(r, bars[p.told])
		}
	}
	return p.rule.Watch(t), nil
}

// pruning is what the rule says of a running trial. The supervisor's mu guards it.
type pruning struct {
	watch   *prune.Watch
	end     func(error) // ends the trial
	verdict *prune.Verdict
}

// hear takes in where the trial's curve has come to, and ends it if it is
// condemned and does not run on.
func (p *pruning) hear(log *slog.Logger, at search.Point) {
	v, condemned := p.watch.Point(at)
	if !condemned {
		return
	}
	p.verdict = &v
	if v.RunsOn {
		log.Info("trial is condemned, and runs on to count the mistakes", "reason", v.Why)
		return
	}
	p.end(trainer.Prune{Why: v.Why})
}

// sentence notes it in the trial's outcome.
func (p *pruning) sentence(o *search.Outcome) {
	if p.verdict == nil {
		return
	}
	o.Condemned = &p.verdict.Condemned
	if p.verdict.RunsOn {
		o.Flags = append(o.Flags, "held to be hopeless, and run on to count the mistakes: "+p.verdict.Why)
	}
}
