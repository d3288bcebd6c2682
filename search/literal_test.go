package search_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"autoresearchd/search"
)

func TestParseLiteral(t *testing.T) {
	for text, want := range map[string]string{
		"0.05": "0.05", "1e-3": "0.001", ".5": "0.5", "2.": "2.0", "2**18": "262144", "1 << 10": "1024", "64 * 1024": "65536", "7//2": "3", "-7 // 2": "-4", "1/4": "0.25",
		"524_288": "524288", "True": "True", "false": "False", " -3 ": "-3", "+3": "3", "--3": "3", "-2**2": "-4", "(-2)**2": "4", "2**-1": "0.5", "2**3**2": "512",
		"-9223372036854775808": "-9223372036854775808", "2 ** 62": "4611686018427387904", "-(2**63)": "",
		"(0.8, 0.95)": "(0.8, 0.95)", "[1,2,]": "(1, 2)", "(1)": "1", "(1,)": "(1,)", "[1]": "(1,)", "()": "()", `("a_b", 1_0)`: `("a_b", 10)`, "((1, 2), 3)": "((1, 2), 3)",
		`"SSSL"`: `"SSSL"`, `'a"b'`: `"a\"b"`, `"a\x01\\\n"`: `"a\x01\\\n"`, `"a, b"`: `"a, b"`,
		"": "", "nan": "", "inf": "", "0x10": "", "2**99": "", "(-3)**101": "", "10**30": "", "1e400": "", "x": "", "Truely": "", "__import__('os')": "", "1;2": "",
		"(((((((1)))))))": "", "1 +": "", `"a`: "", `"\q"`: "", "1__import__": "", "1//0": "", "1/0": "", "'a' * 3": "", "1 << -1": "", "1 << 4000000000": "", "(,)": "",
	} {
		v, err := search.ParseLiteral(text)
		if want == "" != (err != nil) || err == nil && v.Literal() != want {
			t.Errorf("ParseLiteral(%q) = %v, %v, want %s", text, v, err, want)
		}
	}
}

// FuzzParseLiteral: what is read is written so that it reads back the same, and
// what JSON can say of a value is read from its literal.
func FuzzParseLiteral(f *testing.F) {
	for _, seed := range []string{"-2**-3 * 1_0 // 4", `("a_b", [1, .5e-3], ())`, "'\\x7f\\''", "-9223372036854775808", "1 << 62", "\ufeff1", "(((((1,),),),),)", `["\u0000", "é", -0.0]`, "0**4000000000000"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := search.ParseLiteral(text)
		if err == nil {
			again(t, text, v)
		} else if strings.ContainsAny(err.Error(), "\n\r\x00\x1b") || len(err.Error()) > 1100 {
			t.Errorf("%q: %q", text, err)
		}
		if json.Unmarshal([]byte(text), &v) == nil && len(v.Literal()) <= 1000 && writable(v, 6) {
			again(t, text, v)
		}
	})
}

func again(t *testing.T, text string, v search.Value) {
	t.Helper()
	if len(v.Literal()) > 1000 {
		return
	}
	if got, err := search.ParseLiteral(v.Literal()); err != nil || !got.Equal(v) {
		t.Errorf("%q is %s, and that reads as %v: %v", text, v.Literal(), got, err)
	}
}

// writable: no None, which is no constant's value, and not too deep.
func writable(v search.Value, depth int) bool {
	for _, item := range v.Items() {
		if !writable(item, depth-1) {
			return false
		}
	}
	return depth > 0 && v.Kind() != search.None && !(v.Kind() == search.Float && (math.IsInf(v.Number(), 0) || math.IsNaN(v.Number())))
}
