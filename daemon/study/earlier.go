package study

import (
	"fmt"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Earlier reads what the studies in these state directories have learned. Their
// daemons may run meanwhile.
func Earlier(states []string) ([]search.Earlier, error) {
	var out []search.Earlier
	for _, state := range states {
		e, err := learned(state)
		if err != nil {
			return nil, fmt.Errorf("search.warm_start: %w: name the state directory of a study, or leave it out", err)
		}
		out = append(out, e)
	}
	return out, nil
}

func learned(state string) (search.Earlier, error) {
	r, err := journal.OpenReader(state)
	if err != nil {
		return search.Earlier{}, err
	}
	defer r.Close()
	st, _, err := r.Study()
	if err != nil {
		return search.Earlier{}, err
	}
	records, err := r.Trials()
	e := search.Earlier{Name: st.Tag}
	for _, rec := range records {
		if rec.Stage.Reached(search.StageDecided) {
			e.Done = append(e.Done, rec.Result)
		}
	}
	return e, err
}
