package simulate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"autoresearchd/search"
)

// row is one recorded trial of a table.
type row struct {
	Constants map[string]search.Value `json:"constants"`
	Value     *float64                `json:"value"`
	Status    search.Status           `json:"status"`
}

// cell is what a table has for the same constants.
type cell struct {
	values []float64
	status search.Status
}

// ReadTable makes a task of recorded trials: `[{"constants": {…}, "value":
// 0.98}, {"constants": {…}, "status": "out of memory"}, …]`, or an object that
// has them as "rows" and may have a "start", the constants of the first trial,
// which else is the first row that has a value. Constants that recur are
// measurements of the same, of which one is drawn each time. What the table has
// not crashes: covered says which share of all combinations it has.
func ReadTable(data []byte) (t Task, covered float64, err error) {
	var table struct {
		Name  string                  `json:"name"`
		Start map[string]search.Value `json:"start"`
		Rows  []row                   `json:"rows"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")) {
		err = d.Decode(&table.Rows)
	} else {
		err = d.Decode(&table)
	}
	if err != nil {
		return t, 0, fmt.Errorf(`read the table: %w: its rows are {"constants": {…}, "value": 0.98} or {"constants": {…}, "status": "crashed"}`, err)
	}
	if table.Start == nil {
		at := slices.IndexFunc(table.Rows, func(r row) bool { return r.Value != nil })
		if at < 0 {
			return t, 0, errors.New("read the table: no row has a value")
		}
		table.Start = table.Rows[at].Constants
	}
	t = Task{Name: table.Name, Foreign: true, Overrides: map[string]search.Override{}}
	if t.Name == "" {
		t.Name = "table"
	}
	combinations := 1.0
	for _, name := range sorted(table.Start) {
		a := axis{}
		start := table.Start[name]
		a.Start = &start
		for i, r := range table.Rows {
			v, ok := r.Constants[name]
			if !ok || len(r.Constants) != len(table.Start) {
				return t, 0, fmt.Errorf("read the table: row %d has not the constants of the start: %d of them, %s among them", i+1, len(table.Start), name)
			}
			if !slices.ContainsFunc(a.Choices, v.Equal) {
				a.Choices = append(a.Choices, v)
			}
		}
		combinations *= float64(len(a.Choices))
		raw, err := json.Marshal(map[string]any{"start": start, "choices": a.Choices})
		if err == nil {
			err = t.add(name, raw)
		}
		if err != nil {
			return t, 0, fmt.Errorf("read the table: %s: %w", name, err)
		}
	}
	if _, err := t.Space(); err != nil {
		return t, 0, fmt.Errorf("read the table: %w", err)
	}
	err = t.record(table.Rows, combinations, &covered)
	return t, covered, err
}

// record fills the task with what the rows say.
func (t *Task) record(rows []row, combinations float64, covered *float64) error {
	_, consts := Source(t.Lines)
	key := func(values map[string]search.Value) uint64 {
		at := slices.Clone(consts)
		for i, c := range at {
			if at[i].Value = values[c.Name]; c.Value.Kind() == search.Float {
				at[i].Value = float(at[i].Value)
			}
		}
		return search.Fingerprint(at)
	}
	cells := map[uint64]cell{}
	for i, r := range rows {
		k := key(r.Constants)
		c := cells[k]
		switch {
		case r.Value != nil && (math.IsNaN(*r.Value) || math.IsInf(*r.Value, 0)):
			return fmt.Errorf("read the table: row %d: value %g is not finite", i+1, *r.Value)
		case r.Value != nil:
			c.values = append(c.values, *r.Value)
		case !Failure(r.Status):
			return fmt.Errorf("read the table: row %d has neither a value nor a status that says why: crashed, out of memory, diverged, timed out", i+1)
		default:
			c.status = r.Status
		}
		cells[k] = c
	}
	*covered = float64(len(cells)) / combinations
	t.True = func(values map[string]search.Value) (float64, search.Status) {
		c, ok := cells[key(values)]
		switch {
		case !ok:
			return 0, search.Crashed
		case len(c.values) == 0:
			return 0, c.status
		}
		return mean(c.values), search.Completed
	}
	t.Measure = func(_ context.Context, _ int64, values map[string]search.Value, seed uint64) (Measured, error) {
		c, ok := cells[key(values)]
		switch {
		case !ok:
			return Measured{Status: search.Crashed, Detail: "the table has no such trial"}, nil
		case len(c.values) == 0:
			return Measured{Status: c.status}, nil
		}
		return Measured{Value: c.values[rand.New(rand.NewPCG(seed, 0x726f77)).IntN(len(c.values))], Status: search.Completed}, nil
	}
	var all []float64
	for _, c := range cells {
		if len(c.values) > 0 {
			all = append(all, mean(c.values))
		}
	}
	t.Floor, t.Middling = slices.Min(all), median(all)
	return nil
}

// Failure reports whether a program may say of a trial that it ended so.
func Failure(s search.Status) bool {
	switch s {
	case search.Crashed, search.OutOfMemory, search.Diverged, search.TimedOut, search.Pruned, search.Tampered, search.Interrupted:
		return true
	}
	return false
}

func sorted[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
