package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"autoresearchd/daemon/timeline"
)

const (
	usualRuns = 200
	mostRuns  = 5000
)

// timelineAnswer is what the seats did, and when.
type timelineAnswer struct {
	Seats []string      `json:"seats"`
	Runs  []timelineRun `json:"runs"`  // the last ones, in the order in which they began
	Total int           `json:"total"` // of the study
}

type timelineRun struct {
	Trial       int64     `json:"trial"`
	Candidate   int64     `json:"candidate"`
	Seat        string    `json:"seat"`
	Lane        int       `json:"lane"` // of its seat, from 0: what overlaps lies in different ones
	Strategy    string    `json:"strategy"`
	Description string    `json:"description"`
	Status      string    `json:"status"` // "": it is under way
	Decision    string    `json:"decision"`
	After       int64     `json:"after"` // the trial for whose evaluation it waited at the gate; 0: none
	Begin       time.Time `json:"begin"`
	Seconds     float64   `json:"seconds"`
	Spans       [][3]any  `json:"spans"` // kind, seconds after begin, how many
}

func (a *API) timeline(r *http.Request) (any, error) {
	q := r.URL.Query()
	h := a.o.Loop.History()
	all := timeline.Of(h.Done, h.Pending)
	last, err := usualRuns, error(nil)
	switch format := q.Get("format"); format {
	case "", "json":
	case "chrome":
		last = len(all)
	default:
		return nil, wrong("format=%.20q: write json or chrome", format)
	}
	if s := q.Get("last"); s != "" {
		if last, err = strconv.Atoi(s); err != nil || last < 1 || last > mostRuns {
			return nil, wrong("last=%.20q: write a number from 1 to %d", s, mostRuns)
		}
	}
	shown := all[max(0, len(all)-last):]
	if q.Get("format") == "chrome" {
		var b bytes.Buffer
		if err := timeline.Chrome(&b, shown); err != nil {
			return nil, err
		}
		return json.RawMessage(b.Bytes()), nil
	}
	out := timelineAnswer{Seats: append([]string{}, timeline.Seats(shown)...), Runs: make([]timelineRun, len(shown)), Total: len(all)}
	for i, t := range shown {
		run := timelineRun{
			Trial: t.Trial, Candidate: t.Candidate, Seat: t.Seat, Lane: t.Lane, Strategy: t.Strategy, Description: clip(t.Description, brief), Status: string(t.Status),
			Decision: string(t.Decision), After: t.After, Begin: t.Begin, Seconds: seconds(t.End.Sub(t.Begin)), Spans: [][3]any{},
		}
		for _, s := range t.Spans {
			run.Spans = append(run.Spans, [3]any{s.Kind, seconds(s.Begin.Sub(t.Begin)), seconds(time.Duration(s.Seconds * float64(time.Second)))})
		}
		out.Runs[i] = run
	}
	return out, nil
}

// seconds is a duration to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1e3 }
