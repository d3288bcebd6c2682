// Package loose reads the JSON that models and their servers write: with
// comments, trailing commas, NaN, Python's words and quotes, raw line ends in
// strings.
package loose

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// JSON returns data with every liberty taken out that JSON does not allow.
// What it does not understand stays as it is.
func JSON(data []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(data))
	for i := 0; i < len(data); {
		c := data[i]
		switch {
		case c == '"' || c == '\'':
			i = str(&out, data, i)
		case c == '#' || c == '/' && i+1 < len(data) && data[i+1] == '/':
			for i < len(data) && data[i] != '\n' {
				i++
			}
		case c == '/' && i+1 < len(data) && data[i+1] == '*':
			end := bytes.Index(data[i:], []byte("*/"))
			if end < 0 {
				return out.Bytes()
			}
			i += end + 2
		case c == '}' || c == ']':
			if b := bytes.TrimRight(out.Bytes(), " \t\r\n"); len(b) > 0 && b[len(b)-1] == ',' {
				out.Truncate(len(b) - 1)
			}
			out.WriteByte(c)
			i++
		case wordByte(c):
			end := i
			for end < len(data) && wordByte(data[end]) {
				end++
			}
			word := string(data[i:end])
			if plain, ok := words[word]; ok {
				word = plain
			}
			out.WriteString(word)
			i = end
		default:
			out.WriteByte(c)
			i++
		}
	}
	return out.Bytes()
}

var words = map[string]string{
	"NaN": "null", "nan": "null", "Infinity": "null", "-Infinity": "null", "inf": "null", "-inf": "null", "undefined": "null",
	"None": "null", "True": "true", "False": "false",
}

func wordByte(c byte) bool {
	return c == '_' || c == '-' || c == '+' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// str writes the string that begins at i, and returns where it ends.
func str(out *bytes.Buffer, data []byte, i int) int {
	quote := data[i]
	out.WriteByte('"')
	for i++; i < len(data); i++ {
		switch c := data[i]; {
		case c == quote:
			out.WriteByte('"')
			return i + 1
		case c == '\\' && i+1 < len(data):
			i++
			switch data[i] {
			case '\'':
				out.WriteByte('\'')
			case '\n':
				out.WriteString(`\n`)
			default:
				out.WriteByte('\\')
				out.WriteByte(data[i])
			}
		case c == '"':
			out.WriteString(`\"`)
		case c == '\n':
			out.WriteString(`\n`)
		case c == '\r':
			out.WriteString(`\r`)
		case c == '\t':
			out.WriteString(`\t`)
		case c < ' ':
			out.WriteByte(' ')
		default:
			out.WriteByte(c)
		}
	}
	return i
}

// Values decodes the JSON values that data begins with, at most limit of them,
// numbers as json.Number. A fault comes with those before it; what follows a
// value without being JSON is no fault.
func Values(data []byte, limit int) ([]any, error) {
	values, err := decode(data, limit)
	if err != nil || len(values) == 0 {
		if again, fault := decode(JSON(data), limit); len(again) > len(values) || fault == nil {
			return again, fault
		}
	}
	return values, err
}

func decode(data []byte, limit int) ([]any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var values []any
	for len(values) < limit {
		var v any
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil && len(values) > 0 && !errors.Is(err, io.ErrUnexpectedEOF):
			return values, nil // words behind it
		case err != nil:
			return values, err
		}
		values = append(values, v)
	}
	return values, nil
}

// Number reads a number, however it is written.
func Number(v any) (float64, bool) {
	var n json.Number
	switch v := v.(type) {
	case json.Number:
		n = v
	case string:
		n = json.Number(strings.TrimSpace(v))
	case float64:
		return v, true
	}
	f, err := n.Float64()
	return f, err == nil && f-f == 0
}
