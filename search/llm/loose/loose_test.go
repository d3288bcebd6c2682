package loose

import (
	"encoding/json"
	"testing"
)

func TestJSON(t *testing.T) {
	for data, want := range map[string]string{
		`{"a": 1, "b": [1, 2,],}`:                `{"a": 1, "b": [1, 2]}`,
		"{\"a\": 1, // one\n# two\n/* 3 */}":     "{\"a\": 1}",
		`{'it''s': 'a "b"', 'c': 'd\'s'}`:        `{"it""s": "a \"b\"", "c": "d's"}`,
		`[NaN, -Infinity, None, True, False]`:    `[null, null, null, true, false]`,
		"[\"a\nb\", \"NaN, // #\"]":              `["a\nb", "NaN, // #"]`,
		`{"http://a": "x, ]"}`:                   `{"http://a": "x, ]"}`,
		`[1e-3, -2, +0.5, 1_000]`:                `[1e-3, -2, +0.5, 1_000]`,
		`{"a": "half`:                            `{"a": "half`,
		`{"a": /* half`:                          `{"a": `,
		"{\"a\": \"tab\tcontrol\x01\", \"b\":\\": "{\"a\": \"tab\\tcontrol \", \"b\":\\",
	} {
		if got := string(JSON([]byte(data))); got != want {
			t.Errorf("%s\n got %s\nwant %s", data, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	for data, want := range map[string]int{
		"": 0, "{}": 1, "{} {}\n[1]": 3, "{} trailing words": 1, `{"a": NaN} bye`: 1, "{\"a\": 1,}\n": 1, `{"a": 1`: -1, `{} {"a": `: -2, "words": -1,
	} {
		got, err := Values([]byte(data), 9)
		n := len(got)
		if err != nil {
			n = -n - 1
		}
		if n != want {
			t.Errorf("%s: %d values, %v", data, len(got), err)
		}
	}
}

// FuzzJSON proves that what is JSON already is left alone in its meaning.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`{"a": [1, "b"]}`, `{'a': NaN,}`, "// x\n[1,]", `"\u00e9\\"`, `{"a": "b\`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		got := JSON([]byte(data))
		if !json.Valid([]byte(data)) {
			return
		}
		var a, b any
		if err := json.Unmarshal([]byte(data), &a); err != nil { // a number out of range
			return
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatalf("%s became %s: %v", data, got, err)
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		if string(x) != string(y) {
			t.Errorf("%s became %s", data, got)
		}
	})
}
