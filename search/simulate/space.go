package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"autoresearchd/search"
)

// axis is one constant of a space that comes from outside.
type axis struct {
	Low     *float64       `json:"low"`
	High    *float64       `json:"high"`
	Log     bool           `json:"log"`
	Integer bool           `json:"integer"`
	Choices []search.Value `json:"choices"`
	Start   *search.Value  `json:"start"`
}

// ReadSpace reads a space, `{"MATRIX_LR": {"low": 0.005, "high": 0.2, "log":
// true, "start": 0.04}, "DEPTH": {"low": 4, "high": 24, "integer": true,
// "start": 8}, "PATTERN": {"choices": ["SSSL", "LLLL"], "start": "SSSL"}}`, in
// its order. Its error joins every fault.
func ReadSpace(data []byte) (Task, error) {
	t := Task{Overrides: map[string]search.Override{}, Foreign: true}
	d := json.NewDecoder(bytes.NewReader(data))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return t, errors.New(`a space is an object of constants, {"MATRIX_LR": {"low": 0.005, "high": 0.2, "log": true, "start": 0.04}}`)
	}
	var faults []error
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return t, fmt.Errorf("read the space: %w", err)
		}
		name := key.(string)
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return t, fmt.Errorf("read the space: %s: %w", name, err)
		}
		if err := t.add(name, raw); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	if _, err := d.Token(); err != nil {
		return t, fmt.Errorf("read the space: it ends too early: %w", err)
	}
	if len(t.Lines) == 0 && len(faults) == 0 {
		return t, errors.New("the space has no constant")
	}
	if err := errors.Join(faults...); err != nil {
		return t, err
	}
	_, err := t.Space()
	return t, err
}

func (t *Task) add(name string, raw []byte) error {
	var a axis
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	switch err := d.Decode(&a); {
	case err != nil:
		return errors.New(strings.TrimPrefix(err.Error(), "json: ") + `: an axis has "low", "high", "log", "integer", "choices" and "start"`)
	case name == "" || strings.ContainsAny(name, "\n=#"):
		return errors.New("the name cannot be a constant's")
	case slices.ContainsFunc(t.Lines, func(l Line) bool { return l.Name == name }):
		return errors.New("it is given twice")
	case a.Start == nil:
		return errors.New(`it has no "start"`)
	case a.Choices != nil && (a.Low != nil || a.High != nil || a.Log || a.Integer):
		return errors.New(`give "choices" or a range, not both`)
	case len(a.Choices) == 0 && (a.Low == nil || a.High == nil):
		return errors.New(`give "low" and "high", or "choices"`)
	}
	start := *a.Start
	if len(a.Choices) == 0 {
		if k := start.Kind(); k != search.Int && k != search.Float {
			return fmt.Errorf(`"start" is %s: a range is of numbers`, start)
		}
		if start = search.FloatValue(start.Number()); a.Integer {
			if start.Number() != math.Trunc(start.Number()) {
				return fmt.Errorf(`"start" is %s: it must be whole, as "integer" is true`, start)
			}
			start = search.IntValue(int64(start.Number()))
		}
		t.Overrides[name] = search.Override{Low: a.Low, High: a.High, Log: a.Log, Integer: a.Integer}
	} else {
		// 1 among 0.5 and 2.5 is a float.
		if slices.ContainsFunc(a.Choices, func(v search.Value) bool { return v.Kind() == search.Float }) {
			start = float(start)
			for i, v := range a.Choices {
				a.Choices[i] = float(v)
			}
		}
		t.Overrides[name] = search.Override{Choices: a.Choices}
	}
	t.Lines = append(t.Lines, Line{Name: name, Text: start.Literal(), Value: start})
	return nil
}

func float(v search.Value) search.Value {
	if v.Kind() == search.Int {
		return search.FloatValue(v.Number())
	}
	return v
}

// Describe is a space as ReadSpace reads it; a tuple's elements, which have no
// name of their own there, stand as constants "NAME[0]".
func Describe(t Task) ([]byte, error) {
	space, err := t.Space()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for i, d := range space.Dimensions() {
		a := map[string]any{"start": d.Start}
		if d.Scale == search.Grid {
			a["choices"] = d.Choices
		} else {
			a["low"], a["high"] = d.Low, d.High
			if d.Scale == search.Log {
				a["log"] = true
			}
			if d.Start.Kind() == search.Int {
				a["integer"] = true
			}
		}
		data, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%s%q: %s", map[bool]string{true: "{", false: ", "}[i == 0], d.Name, data)
	}
	b.WriteString("}")
	return b.Bytes(), nil
}

// Resolve returns every constant of a task, those in given replaced: by name,
// or an element of a tuple by "NAME[0]". Values are taken as the type that the
// constant has.
func Resolve(t Task, given map[string]search.Value) (map[string]search.Value, error) {
	space, err := t.Space()
	if err != nil {
		return nil, err
	}
	u, err := space.Point(given)
	if err != nil {
		return nil, err
	}
	values := Values(space.Constants())
	for name, v := range space.Decode(u) {
		values[name] = v
	}
	return values, nil
}
