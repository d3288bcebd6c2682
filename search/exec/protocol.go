package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"autoresearchd/search"
)

// Protocol is the version that hello names and its answer repeats. One JSON
// object stands on each line, both ways; scripts/examples/README.md shows a
// whole conversation.
//
//	hello    → {"protocol": 1}       once, before anything else
//	space                            begins anew: what was told before is void
//	earlier                          a trial of another study; its value does not compare
//	tell                             a finished trial, in the journal's order
//	ask      → answer                the constants of the next trial
//	refused                          why the last answer cannot be a trial; an ask follows
const Protocol = 1

type hello struct {
	Type      string         `json:"type"`
	Protocol  int            `json:"protocol"`
	Seed      uint32         `json:"seed"`
	Objective string         `json:"objective"` // what tell's value is
	Direction string         `json:"direction"`
	Options   map[string]any `json:"options"`
}

type greeting struct {
	Protocol int    `json:"protocol"`
	Name     string `json:"name,omitempty"`
}

type space struct {
	Type       string      `json:"type"`
	Dimensions []dimension `json:"dimensions"`
}

// dimension is a search.Dimension. A range has low and high, both included; a
// grid has choices.
type dimension struct {
	Name    string         `json:"name"`
	Kind    string         `json:"kind"`  // int, float, str, bool, tuple: of its values
	Scale   string         `json:"scale"` // linear, log, logit, grid
	Low     *search.Value  `json:"low,omitempty"`
	High    *search.Value  `json:"high,omitempty"`
	Step    *search.Value  `json:"step,omitempty"` // values are whole multiples of it
	Choices []search.Value `json:"choices,omitempty"`
	Ordered bool           `json:"ordered"` // neighbours on a grid are alike
	Start   search.Value   `json:"start"`   // the champion's
}

type tell struct {
	Type        string                  `json:"type"`
	Study       string                  `json:"study,omitempty"` // of earlier: which
	Trial       int64                   `json:"trial"`
	Constants   map[string]search.Value `json:"constants"`
	Status      search.Status           `json:"status"`
	Value       *float64                `json:"value"` // null: it has no score
	Decision    search.Verdict          `json:"decision"`
	Strategy    string                  `json:"strategy"` // whose proposal it was
	Description string                  `json:"description"`
	Seconds     float64                 `json:"seconds"` // on the wall
	Memo        json.RawMessage         `json:"memo,omitempty"`
}

type ask struct {
	Type    string                    `json:"type"`
	ID      int                       `json:"id"`
	Seed    uint32                    `json:"seed"`
	Pending []map[string]search.Value `json:"pending"` // trials that are not finished
}

type refused struct {
	Type   string `json:"type"`
	ID     int    `json:"id"`
	Reason string `json:"reason"`
}

type answer struct {
	ID          int                     `json:"id"`
	Constants   map[string]search.Value `json:"constants"`
	Description string                  `json:"description"`
	Memo        json.RawMessage         `json:"memo"` // told back with the trial
	None        string                  `json:"none"` // why there is nothing to propose
}

func (a answer) check(id int) error {
	switch {
	case a.ID != id:
		return fmt.Errorf("it answered ask %d, not %d: an answer repeats the id of its ask", a.ID, id)
	case a.Constants == nil && a.None == "":
		return errors.New(`its answer has neither "constants" nor "none"`)
	case len(a.Memo) > 64<<10:
		return fmt.Errorf("its memo has %d bytes: 65536 are told back at most", len(a.Memo))
	}
	return nil
}

func describe(s search.Space) space {
	out := space{Type: "space", Dimensions: []dimension{}}
	for _, d := range s.Dimensions() {
		e := dimension{Name: d.Name, Kind: d.Start.Kind().String(), Scale: d.Scale.String(), Choices: d.Choices, Ordered: d.Ordered, Start: d.Start}
		if d.Scale != search.Grid {
			e.Low, e.High = number(d.Low, d), number(d.High, d)
			if d.Step > 0 {
				e.Step = number(d.Step, d)
			}
		}
		out.Dimensions = append(out.Dimensions, e)
	}
	return out
}

// number writes an end of a range as the dimension's values are written.
func number(x float64, d search.Dimension) *search.Value {
	v := search.FloatValue(x)
	if d.Start.Kind() == search.Int {
		v = search.IntValue(int64(x))
	}
	return &v
}

// constants are a trial's, by the names that dimensions have: a tuple stands
// element by element, unless it is a dimension as a whole.
func constants(consts []search.Constant, s search.Space) map[string]search.Value {
	whole := map[string]bool{}
	for _, d := range s.Dimensions() {
		whole[d.Name] = true
	}
	out := map[string]search.Value{}
	for _, c := range consts {
		if c.Value.Kind() != search.Tuple || whole[c.Name] {
			if finite(c.Value) {
				out[c.Name] = c.Value
			}
			continue
		}
		for k, item := range c.Value.Items() {
			if finite(item) {
				out[fmt.Sprintf("%s[%d]", c.Name, k)] = item
			}
		}
	}
	return out
}

// finite reports whether JSON can say it.
func finite(v search.Value) bool {
	for _, item := range v.Items() {
		if !finite(item) {
			return false
		}
	}
	return v.Kind() != search.Float || !math.IsNaN(v.Number()) && !math.IsInf(v.Number(), 0)
}

func result(r search.Result, s search.Space) tell {
	t := tell{
		Type: "tell", Trial: r.Trial.ID, Constants: constants(r.Trial.Constants, s), Status: r.Outcome.Status, Decision: r.Decision.Verdict,
		Strategy: r.Trial.Proposal.Strategy, Description: r.Trial.Proposal.Description, Seconds: r.Outcome.WallSeconds,
	}
	if bpb, ok := r.Score(); ok {
		t.Value = &bpb
	}
	if t.Strategy == Name && json.Valid(r.Trial.Proposal.Memo) {
		t.Memo = r.Trial.Proposal.Memo
	}
	return t
}
