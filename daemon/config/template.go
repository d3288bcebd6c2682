package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"autoresearchd"
)

// Template returns the shipped autoresearch.toml with the values of some
// dotted keys replaced; comments stay. A value for a key that holds a string
// is quoted unless it is an array or a table; any other is written as it is.
// It panics on a key that the shipped file does not have or a value that is
// not TOML: both are errors of the program, not of its user.
func Template(values map[string]string) []byte {
	text := autoresearchd.ConfigText
	index := scan(text)
	type edit struct {
		place
		text string
	}
	var edits []edit
	for key, value := range values {
		p, ok := index[key]
		if !ok || p.end == 0 {
			panic("config: the shipped file has no key " + key)
		}
		if text[p.start] == '"' && !strings.HasPrefix(value, "[") && !strings.HasPrefix(value, "{") {
			value = quote(value)
		}
		var doc map[string]any
		if _, err := toml.Decode("v = "+value, &doc); err != nil || len(doc) != 1 {
			panic(fmt.Sprintf("config: %s = %s is not TOML", key, value))
		}
		edits = append(edits, edit{p, value})
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.start - a.start }) // from the end: offsets stay true
	for _, e := range edits {
		tail := text[e.end:]
		// The comment keeps its column where there is room.
		blanks := len(tail) - len(strings.TrimLeft(tail, " "))
		if strings.HasPrefix(tail[blanks:], "#") {
			tail = strings.Repeat(" ", max(1, blanks+e.end-e.start-len(e.text))) + tail[blanks:]
		}
		text = text[:e.start] + e.text + tail
	}
	return []byte(text)
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			b.WriteString(`\u` + fmt.Sprintf("%04x", r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
