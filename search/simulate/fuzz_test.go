package simulate_test

import (
	"encoding/json"
	"strings"
	"testing"

	"autoresearchd/search/simulate"
)

// FuzzReadSpace: a space that is read has its start within, and is written so
// that it reads back the same.
func FuzzReadSpace(f *testing.F) {
	for _, seed := range []string{
		`{"MATRIX_LR": {"low": 0.005, "high": 0.2, "log": true, "start": 0.04}, "DEPTH": {"low": 4, "high": 24, "integer": true, "start": 8}, "PATTERN": {"choices": ["SSSL", "LLLL"], "start": "SSSL"}}`,
		`{"A": {"choices": [1, 0.5, 2.5], "start": 1}}`, `{"A": {"low": -1e308, "high": 1e308, "start": 0}}`, `{"A": {"low": 0, "high": 1, "log": true, "start": 1}}`, `{"A": {"low": 1, "high": 1, "start": 1}}`,
		`{"A": {"low": 9.3e18, "high": 1e19, "integer": true, "start": 9.5e18}}`, `{"A[0]": {"choices": [[1, 2], [3, 4]], "start": [1, 2]}}`, `{"": {}}`, `{"A": {"low": 1, "high": 2, "start": null}}`, `{`, `[]`, `{} {}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		task, err := simulate.ReadSpace([]byte(data))
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\r\x00\x1b") && json.Valid([]byte(data)) {
				t.Errorf("%q: %q", data, text)
			}
			return
		}
		space, err := task.Space()
		if err != nil {
			t.Fatalf("%q is read, and is no space: %v", data, err)
		}
		start := space.Decode(space.Start())
		if _, err := space.Point(start); err != nil {
			t.Errorf("%q does not hold its own start %v: %v", data, start, err)
		}
		written, err := simulate.Describe(task)
		if err != nil || space.Len() == 0 {
			return
		}
		again, err := simulate.ReadSpace(written)
		if err != nil {
			t.Fatalf("%q became %s: %v", data, written, err)
		}
		if twice, err := simulate.Describe(again); err != nil || string(twice) != string(written) {
			t.Errorf("%q became %s, then %s: %v", data, written, twice, err)
		}
	})
}
