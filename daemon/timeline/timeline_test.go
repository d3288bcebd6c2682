package timeline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"autoresearchd/daemon/timeline"
	"autoresearchd/search"
)

var began = time.Date(2026, 1, 5, 22, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return began.Add(time.Duration(seconds * float64(time.Second)))
}

// study is two trials on a seat, the second ready beside the first's
// evaluation, one on another seat, one that is under way and one that was imported.
func study() ([]search.Result, []search.Trial) {
	trial := func(id int64, seat string, asked, started float64) search.Trial {
		t := search.Trial{ID: id, Candidate: id, Device: seat, StartedAt: at(started), Proposal: search.Proposal{Strategy: "tpe", Description: fmt.Sprintf("change %d", id)}}
		if asked >= 0 {
			t.AskedAt = at(asked)
		}
		return t
	}
	done := []search.Result{
		{Trial: trial(1, "cuda:0", -1, 0), Outcome: search.Outcome{Status: search.Completed, WallSeconds: 331, Phases: map[search.Phase]float64{search.Startup: 5, search.Compile: 10, search.Train: 300, search.Evaluate: 15, search.Exit: 1}}},
		{Trial: trial(2, "cuda:10", 0.5, 2), Outcome: search.Outcome{Status: search.Crashed, WallSeconds: 4, Phases: map[search.Phase]float64{search.Startup: 4}}},
		{Trial: trial(3, "cuda:0", 314, 315.5), Outcome: search.Outcome{
			Status: search.Completed, WallSeconds: 330, Phases: map[search.Phase]float64{search.Startup: 2, search.Compile: 6, search.Gate: 6, search.Train: 300, search.Evaluate: 15, search.Exit: 1},
			Gate: &search.GateRecord{After: 1, Scored: at(330), Opened: at(330.2), Waited: 6},
		}},
		{Trial: search.Trial{ID: 4, Proposal: search.Proposal{Strategy: search.Imported}}, Outcome: search.Outcome{Status: search.Completed}},
	}
	return done, []search.Trial{trial(5, "cuda:2", 10, 12)}
}

func TestOf(t *testing.T) {
	var lines []string
	for _, r := range timeline.Of(study()) {
		line := fmt.Sprintf("%d %s/%d %.1f to %.1f", r.Trial, r.Seat, r.Lane, r.Begin.Sub(began).Seconds(), r.End.Sub(began).Seconds())
		if r.After != 0 {
			line += fmt.Sprintf(" after %d", r.After)
		}
		for _, s := range r.Spans {
			line += fmt.Sprintf(", %s %.1f+%.1f", s.Kind, s.Begin.Sub(began).Seconds(), s.Seconds)
		}
		lines = append(lines, line)
	}
	want := `1 cuda:0/0 0.0 to 331.0, startup 0.0+5.0, compile 5.0+10.0, train 15.0+300.0, evaluate 315.0+15.0, exit 330.0+1.0
2 cuda:10/0 0.5 to 6.0, ask 0.5+1.5, startup 2.0+4.0
5 cuda:2/0 10.0 to 12.0, ask 10.0+2.0
3 cuda:0/1 314.0 to 646.2 after 1, ask 314.0+1.5, startup 315.5+2.0, compile 317.5+6.0, gate 324.2+6.0, train 330.2+300.0, evaluate 630.2+15.0, exit 645.2+1.0`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(timeline.Seats(timeline.Of(study())), " "); got != "cuda:0 cuda:2 cuda:10" {
		t.Errorf("seats %s", got)
	}
}

// TestChrome reads the trace back: what lies within a lane is nested, as the
// format demands, and the arrow goes from the evaluation to the gate.
func TestChrome(t *testing.T) {
	var b bytes.Buffer
	if err := timeline.Chrome(&b, timeline.Of(study())); err != nil {
		t.Fatal(err)
	}
	type event struct {
		Name string  `json:"name"`
		Ph   string  `json:"ph"`
		Ts   float64 `json:"ts"`
		Dur  float64 `json:"dur"`
		Pid  int     `json:"pid"`
		Tid  int     `json:"tid"`
		ID   int64   `json:"id"`
	}
	var trace struct {
		TraceEvents []event `json:"traceEvents"`
	}
	if err := json.Unmarshal(b.Bytes(), &trace); err != nil {
		t.Fatalf("%v\n%s", err, b.Bytes())
	}
	spans := map[string]int{}
	var arrows []event
	for i, e := range trace.TraceEvents {
		spans[e.Ph]++
		if e.Ph == "s" || e.Ph == "f" {
			arrows = append(arrows, e)
		}
		for _, o := range trace.TraceEvents[:i] {
			if e.Ph != "X" || o.Ph != "X" || o.Pid != e.Pid || o.Tid != e.Tid {
				continue
			}
			inside := e.Ts >= o.Ts && e.Ts+e.Dur <= o.Ts+o.Dur
			if apart := e.Ts >= o.Ts+o.Dur || e.Ts+e.Dur <= o.Ts; !inside && !apart {
				t.Errorf("%s overlaps %s in one lane: %v, %v", e.Name, o.Name, e, o)
			}
		}
	}
	if spans["X"] != 4+5+2+1+7 || spans["M"] != 3 {
		t.Errorf("events by kind: %v", spans)
	}
	if len(arrows) != 2 || arrows[0].ID != 3 || arrows[1].ID != 3 || arrows[0].Tid != 1 || arrows[1].Tid != 2 || arrows[0].Ts > arrows[1].Ts {
		t.Errorf("the arrow to the gate: %v", arrows)
	}
	b.Reset()
	if err := timeline.Chrome(&b, nil); err != nil || !json.Valid(b.Bytes()) {
		t.Errorf("of nothing: %v %s", err, b.Bytes())
	}
}
