package timeline

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"autoresearchd/search"
)

// event is one of the trace event format, which chrome://tracing, Perfetto and
// Speedscope open. Times are microseconds.
type event struct {
	Name     string         `json:"name"`
	Category string         `json:"cat,omitempty"`
	Kind     string         `json:"ph"` // X: a span, M: a name, s and f: both ends of an arrow
	At       int64          `json:"ts"`
	Duration *int64         `json:"dur,omitempty"`
	Process  int            `json:"pid"` // a seat, from 1
	Thread   int            `json:"tid"` // a lane of it, from 1
	Arrow    int64          `json:"id,omitempty"`
	Binds    string         `json:"bp,omitempty"`
	Args     map[string]any `json:"args,omitempty"`
}

// Chrome writes runs as a trace: a process a seat, in it each run with its
// phases, and an arrow from the evaluation that a run waited for. Times count
// from the first run's beginning.
func Chrome(w io.Writer, runs []Run) error {
	out := bufio.NewWriter(w)
	var zero time.Time
	if len(runs) > 0 {
		zero = runs[0].Begin
	}
	micros := func(t time.Time) int64 { return t.Sub(zero).Microseconds() }
	span := func(r Run, seat int, name, category string, begin, end time.Time) event {
		took := max(0, end.Sub(begin).Microseconds())
		return event{Name: name, Category: category, Kind: "X", At: micros(begin), Duration: &took, Process: seat, Thread: r.Lane + 1}
	}
	fmt.Fprintf(out, `{"displayTimeUnit":"ms","otherData":{"began":%q},"traceEvents":[`, zero.UTC().Format(time.RFC3339Nano))
	first := true
	var fault error
	put := func(e event) {
		line, err := json.Marshal(e)
		if err != nil && fault == nil {
			fault = err
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		out.WriteByte('\n')
		out.Write(line)
	}
	seats := Seats(runs)
	for i, name := range seats {
		put(event{Name: "process_name", Kind: "M", Process: i + 1, Args: map[string]any{"name": name}})
	}
	scored := map[int64]event{} // where a trial's evaluation ends
	for _, r := range runs {
		seat := slices.Index(seats, r.Seat) + 1
		whole := span(r, seat, fmt.Sprintf("trial %d", r.Trial), "trial", r.Begin, r.End)
		whole.Args = map[string]any{"trial": r.Trial, "candidate": r.Candidate, "strategy": r.Strategy, "description": r.Description, "status": r.Status, "decision": r.Decision}
		put(whole)
		for _, s := range r.Spans {
			end := s.Begin.Add(duration(s.Seconds))
			put(span(r, seat, s.Kind, "phase", s.Begin, end))
			arrow := event{Name: "scored", Category: "gate", At: micros(end), Process: seat, Thread: r.Lane + 1}
			switch s.Kind {
			case string(search.Evaluate):
				arrow.At = max(micros(s.Begin), arrow.At-1) // within the span that it binds to
				scored[r.Trial] = arrow
			case string(search.Gate):
				if from, ok := scored[r.After]; ok {
					from.Kind, from.Arrow = "s", r.Trial
					arrow.Kind, arrow.Arrow, arrow.Binds = "f", r.Trial, "e"
					arrow.At = max(micros(s.Begin), from.At, arrow.At-1)
					put(from)
					put(arrow)
				}
			}
		}
	}
	out.WriteString("\n]}\n")
	if err := out.Flush(); fault == nil {
		fault = err
	}
	if fault != nil {
		return fmt.Errorf("write the trace: %w", fault)
	}
	return nil
}

// Seats are the names of those that ran a trial, in order.
func Seats(runs []Run) []string {
	var names []string
	for _, r := range runs {
		names = append(names, r.Seat)
	}
	slices.SortFunc(names, natural)
	return slices.Compact(names)
}

// natural compares names with numbers in them: cuda:2 comes before cuda:10.
func natural(a, b string) int {
	if len(a) != len(b) && stem(a) == stem(b) {
		return len(a) - len(b)
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// stem is a name without the digits at its end.
func stem(s string) string {
	for s != "" && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		s = s[:len(s)-1]
	}
	return s
}
