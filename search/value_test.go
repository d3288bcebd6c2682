package search_test

import (
	"encoding/json"
	"testing"

	"autoresearchd/search"
)

func TestLiterals(t *testing.T) {
	f := search.FloatValue
	for want, v := range map[string]search.Value{
		"8": search.IntValue(8), "0.04": f(0.04), "1.0": f(1), "1e-10": f(1e-10), "200000.0": f(200000), "-0.5": f(-0.5), "True": search.BoolValue(true),
		"None": {}, `"a\"\\\n\x01é"`: search.StringValue("a\"\\\n\x01é"), "(0.8, 0.95)": search.TupleValue(f(0.8), f(0.95)), "(1,)": search.TupleValue(search.IntValue(1)),
	} {
		if got := v.Literal(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzValueJSON proves that what decodes encodes to something that decodes to the same.
func FuzzValueJSON(f *testing.F) {
	for _, s := range []string{"1", "1.0", "-0", "-0.0", "1e-10", "1e400", `"SSSL"`, `"\u0000é"`, "[0.8, [1, true], null]", "null", "true", "9223372036854775808", "[", "nope", "[]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !json.Valid([]byte(s)) {
			return
		}
		var v, again search.Value
		if json.Unmarshal([]byte(s), &v) != nil {
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("%s does not encode: %v", s, err)
		}
		if err := json.Unmarshal(data, &again); err != nil || !again.Equal(v) {
			t.Fatalf("%s became %s, then %s: %v", s, data, again, err)
		}
	})
}
