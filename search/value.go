package search

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Kind is the Python type of a Value.
type Kind uint8

// The kinds of literal that a constant can hold.
const (
	None Kind = iota // the zero Value: Python's None
	Int
	Float
	String
	Bool
	Tuple
)

func (k Kind) String() string {
	return [...]string{"None", "int", "float", "str", "bool", "tuple"}[k]
}

// Value is the value of a Python literal. It is immutable: share it freely.
type Value struct {
	kind  Kind
	num   float64 // Float, and Bool as 0 or 1
	whole int64   // Int
	text  string  // String
	items []Value // Tuple
}

// IntValue returns a Python int. Ints beyond 64 bits are not constants.
func IntValue(v int64) Value { return Value{kind: Int, whole: v} }

// FloatValue returns a Python float.
func FloatValue(v float64) Value { return Value{kind: Float, num: v} }

// StringValue returns a Python str.
func StringValue(v string) Value { return Value{kind: String, text: v} }

// BoolValue returns True or False.
func BoolValue(v bool) Value {
	if v {
		return Value{kind: Bool, num: 1}
	}
	return Value{kind: Bool}
}

// TupleValue returns a Python tuple.
func TupleValue(items ...Value) Value {
	return Value{kind: Tuple, items: append([]Value(nil), items...)}
}

// Kind returns the Python type.
func (v Value) Kind() Kind { return v.kind }

// Number returns an int, float or bool as a float64; NaN for the other kinds.
func (v Value) Number() float64 {
	switch v.kind {
	case Int:
		return float64(v.whole)
	case Float, Bool:
		return v.num
	}
	return math.NaN()
}

// Whole returns an int exactly, a bool as 0 or 1, a float truncated; 0 for the other kinds.
func (v Value) Whole() int64 {
	switch v.kind {
	case Int:
		return v.whole
	case Float, Bool:
		return int64(v.num)
	}
	return 0
}

// Text returns a str's characters; empty for the other kinds.
func (v Value) Text() string { return v.text }

// True reports whether v is the bool True.
func (v Value) True() bool { return v.kind == Bool && v.num == 1 }

// Items returns a tuple's elements; nil for the other kinds.
func (v Value) Items() []Value { return v.items }

// Equal reports whether two values have the same kind and the same content.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind || len(v.items) != len(w.items) {
		return false
	}
	for i := range v.items {
		if !v.items[i].Equal(w.items[i]) {
			return false
		}
	}
	return v.num == w.num && v.whole == w.whole && v.text == w.text
}

// Literal returns v as Python source.
func (v Value) Literal() string {
	switch v.kind {
	case Int:
		return strconv.FormatInt(v.whole, 10)
	case Float:
		return floatLiteral(v.num)
	case String:
		return stringLiteral(v.text)
	case Bool:
		if v.num == 1 {
			return "True"
		}
		return "False"
	case Tuple:
		parts := make([]string, len(v.items))
		for i, item := range v.items {
			parts[i] = item.Literal()
		}
		if len(parts) == 1 {
			return "(" + parts[0] + ",)"
		}
		return "(" + strings.Join(parts, ", ") + ")"
	}
	return "None"
}

func (v Value) String() string { return v.Literal() }

// floatLiteral returns the shortest literal that reads back as f and as a float.
func floatLiteral(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if abs := math.Abs(f); f == 0 || abs >= 1e-4 && abs < 1e16 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	if !strings.ContainsAny(s, ".en") {
		s += ".0"
	}
	return s
}

func stringLiteral(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// MarshalJSON writes a float with a point or an exponent, so that it reads
// back as a float, and a tuple as an array.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case Int, Float:
		if math.IsInf(v.num, 0) || math.IsNaN(v.num) {
			return nil, fmt.Errorf("encode %s: not a finite number", v.Literal())
		}
		return []byte(v.Literal()), nil
	case String:
		return json.Marshal(v.text)
	case Bool:
		return json.Marshal(v.num == 1)
	case Tuple:
		return json.Marshal(v.items)
	}
	return []byte("null"), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (v *Value) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return fmt.Errorf("decode value: empty")
	}
	switch data[0] {
	case 'n':
		*v = Value{}
	case '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return fmt.Errorf("decode value: %w", err)
		}
		*v = StringValue(s)
	case 't', 'f':
		*v = BoolValue(data[0] == 't')
	case '[':
		var items []Value
		if err := json.Unmarshal(data, &items); err != nil {
			return fmt.Errorf("decode value: %w", err)
		}
		*v = Value{kind: Tuple, items: items}
	default:
		if !bytes.ContainsAny(data, ".eE") {
			if n, err := strconv.ParseInt(string(data), 10, 64); err == nil {
				*v = IntValue(n)
				return nil
			}
		}
		f, err := strconv.ParseFloat(string(data), 64)
		if err != nil {
			return fmt.Errorf("decode value %q: not a number", data)
		}
		*v = FloatValue(f)
	}
	return nil
}

// Constant is a top-level UPPER_CASE assignment of a literal in train.py.
// Offsets are bytes in the source; Source[Start:End] is the literal's text.
type Constant struct {
	Name    string `json:"name"`
	Value   Value  `json:"value"`
	Text    string `json:"text"`              // the literal as written: "2**19"
	Line    int    `json:"line"`              // 1-based
	Start   int    `json:"start"`             // first byte of the literal
	End     int    `json:"end"`               // the byte after it
	Comment string `json:"comment,omitempty"` // the trailing comment, without "#"
	Why     string `json:"why,omitempty"`     // why it is no hyperparameter, from its uses; empty: it is one
	Held    bool   `json:"held,omitempty"`    // a score means something else once it is changed
}
