package journal

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"testing"
)

// row is a row of the table as SQLite hands it out.
type row []any

func (r row) Scan(dest ...any) error {
	for i, d := range dest {
		switch d := d.(type) {
		case *string:
			*d = r[i].(string)
		case *int64:
			*d = r[i].(int64)
		case sql.Scanner:
			if err := d.Scan(r[i]); err != nil {
				return err
			}
		default:
			return fmt.Errorf("column %d is a %T", i, d)
		}
	}
	return nil
}

// FuzzRecord: a row that can be read can be written, and is then read the same.
func FuzzRecord(f *testing.F) {
	trial, _ := json.Marshal(testTrial(3))
	outcome, _ := json.Marshal(testOutcome(3))
	f.Add(string(trial), string(outcome), `{"exit": 1, "said": "no"}`)
	f.Add(`{"id": 1e3}`, `{"status": "completed", "phases": {"train": 1e308}}`, "null")
	f.Add(`{"id": 2, "constants": [{"name": "A", "value": [1, "x", null], "start": -1}]}`, "{}", "{}")
	f.Fuzz(func(t *testing.T, trial, outcome, answer string) {
		read := func(trial, outcome, answer string) (Record, error) {
			return scanRecord(row{trial, "done", "", nil, outcome, 0.5, "keep", nil, int64(1), nil, int64(1), answer})
		}
		first, err := read(trial, outcome, answer)
		if err != nil {
			return
		}
		write := func(r Record) (texts [3]string) {
			for i, part := range []any{r.Trial, r.Outcome, r.Decision.Answer} {
				text, err := json.Marshal(part)
				if err != nil {
					t.Fatalf("%q, %q, %q is read, and cannot be written: %v", trial, outcome, answer, err)
				}
				texts[i] = string(text)
			}
			return texts
		}
		a := write(first)
		second, err := read(a[0], a[1], a[2])
		if b := write(second); err != nil || a != b {
			t.Fatalf("%v\n%s\n%s", err, a, b)
		}
	})
}

// FuzzBlob: what was packed is unpacked, and no bytes bring the reader down.
func FuzzBlob(f *testing.F) {
	f.Add([]byte("DEPTH = 8\n"))
	f.Add(encodeCurve(testOutcome(3).Curve))
	packed, _ := pack(bytes.Repeat([]byte{0}, 1<<16))
	f.Add(packed)
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = unpack(data)
		packed, err := pack(data)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := unpack(packed); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%q became %q: %v", data, again, err)
		}
		if curve, err := decodeCurve(data); err == nil && !bytes.Equal(encodeCurve(curve), data) && !(len(curve) == 0 && len(data) == 0) {
			t.Fatalf("%q became %v", data, curve)
		}
	})
}
