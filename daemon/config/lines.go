package config

import (
	"strconv"
	"strings"
)

// place is where a key stands in the text: its line, and the bytes of its
// value (0, 0 for a table that has a header or only children).
type place struct {
	line       int
	start, end int
}

// scan finds every key of a text that is valid TOML. Keys are joined by join;
// the elements of arrays are "[0]", "[1]", ….
func scan(text string) map[string]place {
	s := &scanner{text: text, line: 1, places: map[string]place{}, counts: map[string]int{}}
	s.document()
	return s.places
}

// join writes a path as people do: search.space.DEPTH, llm.models[1].name.
func join(path []string) string {
	var b strings.Builder
	for i, p := range path {
		if i > 0 && !strings.HasPrefix(p, "[") {
			b.WriteByte('.')
		}
		b.WriteString(p)
	}
	return b.String()
}

type scanner struct {
	text   string
	pos    int
	line   int
	places map[string]place
	counts map[string]int // arrays of tables: how many headers so far
}

func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) next() {
	if s.peek() == '\n' {
		s.line++
	}
	s.pos++
}

// space skips blanks; newlines and comments too where they may stand.
func (s *scanner) space(newlines bool) {
	for s.pos < len(s.text) {
		switch c := s.peek(); {
		case c == ' ' || c == '\t' || c == '\r':
			s.pos++
		case c == '\n' && newlines:
			s.next()
		case c == '#' && newlines:
			for s.pos < len(s.text) && s.peek() != '\n' {
				s.pos++
			}
		default:
			return
		}
	}
}

func (s *scanner) document() {
	s.text = strings.TrimPrefix(s.text, "\ufeff")
	var table []string
	for {
		s.space(true)
		if s.pos >= len(s.text) {
			return
		}
		if s.peek() != '[' {
			if !s.pair(table) {
				return
			}
			continue
		}
		line := s.line
		s.pos++
		array := s.peek() == '['
		if array {
			s.pos++
		}
		table = s.resolve(s.key(), array)
		s.mark(table, place{line: line})
		for s.peek() == ']' {
			s.pos++
		}
	}
}

// resolve puts the index of the last element behind each array of tables in
// the path of a header, and counts a new element for [[path]].
func (s *scanner) resolve(key []string, array bool) []string {
	var path []string
	for i, part := range key {
		path = append(path, part)
		name := join(path)
		if array && i == len(key)-1 {
			s.counts[name]++
		}
		if n := s.counts[name]; n > 0 {
			path = append(path, "["+strconv.Itoa(n-1)+"]")
		}
	}
	return path
}

// mark records a place for a path and, without a value, for those above it;
// what was first stays.
func (s *scanner) mark(path []string, p place) {
	for n := len(path); n > 0; n-- {
		name := join(path[:n])
		if _, ok := s.places[name]; ok {
			return // and so are all above
		}
		s.places[name] = p
		p = place{line: p.line}
	}
}

// pair reads key = value; false where the text is not TOML after all.
func (s *scanner) pair(table []string) bool {
	line, from := s.line, s.pos
	path := append(append([]string(nil), table...), s.key()...)
	if s.peek() != '=' || s.pos == from {
		return false
	}
	s.pos++
	s.space(false)
	start := s.pos
	s.mark(path, place{line: line, start: start})
	s.value(path)
	if p := s.places[join(path)]; p.start == start {
		p.end = s.pos
		s.places[join(path)] = p
	}
	return true
}

// key reads a dotted key and the blanks behind it.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.space(false)
		switch c := s.peek(); {
		case c == '"' || c == '\'':
			from := s.pos
			s.str()
			parts = append(parts, unquote(s.text[from:s.pos]))
		default:
			from := s.pos
			for s.pos < len(s.text) && isBare(s.text[s.pos]) {
				s.pos++
			}
			parts = append(parts, s.text[from:s.pos])
		}
		s.space(false)
		if s.peek() != '.' {
			return parts
		}
		s.pos++
	}
}

func isBare(c byte) bool {
	return c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}

func unquote(s string) string {
	if s[0] == '"' {
		if u, err := strconv.Unquote(s); err == nil {
			return u
		}
	}
	return strings.Trim(s, s[:1])
}

// str reads a string of any of the four forms.
func (s *scanner) str() {
	quote := s.text[s.pos : s.pos+1]
	end := quote
	if strings.HasPrefix(s.text[s.pos:], quote+quote+quote) {
		end = quote + quote + quote
	}
	s.pos += len(end)
	for s.pos < len(s.text) {
		if strings.HasPrefix(s.text[s.pos:], end) {
			s.pos += len(end)
			for len(end) == 3 && s.peek() == quote[0] { // """a"" ends with up to five quotes
				s.pos++
			}
			return
		}
		if s.peek() == '\\' && quote == `"` {
			s.next()
		}
		s.next()
	}
	s.pos = len(s.text)
}

func (s *scanner) value(path []string) {
	switch s.peek() {
	case '"', '\'':
		s.str()
	case '[':
		s.pos++
		for i := 0; ; i++ {
			s.space(true)
			if c := s.peek(); c == ']' || c == 0 {
				s.pos = min(s.pos+1, len(s.text))
				return
			}
			element := append(append([]string(nil), path...), "["+strconv.Itoa(i)+"]")
			line, start := s.line, s.pos
			s.mark(element, place{line: line, start: start})
			s.value(element)
			s.space(true)
			if s.peek() == ',' {
				s.pos++
			} else if s.pos == start {
				return
			}
		}
	case '{':
		s.pos++
		for {
			s.space(true)
			if s.peek() == ',' {
				s.pos++
				continue
			}
			if c := s.peek(); c == '}' || c == 0 {
				s.pos = min(s.pos+1, len(s.text))
				return
			}
			if !s.pair(path) {
				return
			}
		}
	default:
		from := s.pos
		for s.pos < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.peek())) {
			s.pos++
		}
		s.pos = from + len(strings.TrimRight(s.text[from:s.pos], " \t\r"))
	}
}
