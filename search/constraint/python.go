package constraint

import (
	"hash/fnv"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Skeleton identifies a Python source by its tokens, without comments, blank
// lines, layout, docstrings and the values of its constants: two sources with
// the same Skeleton and the same constants do the same.
func Skeleton(source []byte, consts []search.Constant) uint64 {
	h := fnv.New64a()
	for _, statement := range statements(valueless(source, consts)) {
		_, _ = h.Write([]byte{byte(statement.depth), 0xff})
		for _, t := range statement.tokens {
			_, _ = h.Write([]byte(t))
			_, _ = h.Write([]byte{0xfe})
		}
	}
	return h.Sum64()
}

// valueless is a source without its constants' literals and byte order mark.
func valueless(source []byte, consts []search.Constant) string {
	spans := slices.SortedFunc(slices.Values(consts), func(a, b search.Constant) int { return a.Start - b.Start })
	var out strings.Builder
	last := 0
	for _, c := range spans {
		if c.Start >= last && c.End <= len(source) && string(source[c.Start:c.End]) == c.Text {
			out.Write(source[last:c.Start])
			last = c.End
		}
	}
	out.Write(source[last:])
	return strings.TrimPrefix(out.String(), "\ufeff")
}

// statement is a logical line.
type statement struct {
	depth  int // of its indentation
	tokens []string
}

// statements cuts Python source into its logical lines, those without effect
// left out. It does not check the syntax: of what is no Python, it returns
// something that depends on it all the same.
func statements(source string) []statement {
	s := &scanner{text: strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)}
	var out []statement
	indents := []int{0}
	for s.at < len(s.text) {
		indent := s.indent()
		tokens := s.line()
		if len(tokens) == 0 { // blank, or a comment
			continue
		}
		for indent < indents[len(indents)-1] {
			indents = indents[:len(indents)-1]
		}
		if indent > indents[len(indents)-1] {
			indents = append(indents, indent)
		}
		if !slices.ContainsFunc(tokens, func(t string) bool { return !literalText(t) }) { // a docstring
			continue
		}
		out = append(out, statement{len(indents) - 1, tokens})
	}
	return out
}

// literalText reports whether a token is a string that is only text.
func literalText(token string) bool {
	q := strings.IndexAny(token, `"'`)
	return q >= 0 && !strings.ContainsAny(token[:q], "fFtT") && strings.Trim(token[:q], "rRbBuU") == ""
}

type scanner struct {
	text string
	at   int
}

func (s *scanner) peek(n int) byte {
	if s.at+n < len(s.text) {
		return s.text[s.at+n]
	}
	return 0
}

// indent reads the blanks that begin a line; a tab goes to the next eighth column.
func (s *scanner) indent() int {
	n := 0
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ':
			n++
		case '\t':
			n = n/8*8 + 8
		case '\f':
			n = 0
		default:
			return n
		}
	}
	return n
}

// line reads the tokens up to the end of the logical line.
func (s *scanner) line() []string {
	var tokens []string
	depth := 0
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '\n':
			s.at++
			if depth == 0 {
				return tokens
			}
		case c == ' ' || c == '\t' || c == '\f':
			s.at++
		case c == '\\' && s.peek(1) == '\n':
			s.at += 2
		case c == '#':
			for s.at < len(s.text) && s.text[s.at] != '\n' {
				s.at++
			}
		default:
			t := s.token()
			switch t {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth = max(0, depth-1)
				if n := len(tokens); n > 1 && tokens[n-1] == "," && !(t == ")" && tokens[n-2] != "(" && tuple(tokens)) {
					tokens = tokens[:n-1] // a formatter's last comma; that of (x,) is no layout
				}
			case ";":
				if depth == 0 && (s.rest() == "" || s.rest()[0] == '#') {
					continue
				}
			}
			tokens = append(tokens, t)
		}
	}
	return tokens
}

// tuple reports whether the bracket that is open at the end of tokens has one
// comma, the last token: (x,) is a tuple and (x) is not.
func tuple(tokens []string) bool {
	depth, commas := 0, 0
	for _, t := range slices.Backward(tokens) {
		switch t {
		case ")", "]", "}":
			depth++
		case "(", "[", "{":
			if depth == 0 {
				return commas == 1
			}
			depth--
		case ",":
			if depth == 0 {
				commas++
			}
		}
	}
	return false
}

// rest is what is left of the physical line.
func (s *scanner) rest() string {
	line, _, _ := strings.Cut(s.text[s.at:], "\n")
	return strings.TrimSpace(line)
}

var operators = []string{"**=", "//=", ">>=", "<<=", "...", "!=", "->", ":=", "==", "<=", ">=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "**", "//", "<<", ">>"}

func (s *scanner) token() string {
	start := s.at
	if n := s.prefix(); n >= 0 {
		s.at += n
		return s.str(strings.ToLower(s.text[start : start+n]))
	}
	c := s.text[s.at]
	switch {
	case wordByte(c) && !digit(c):
		for s.at < len(s.text) && wordByte(s.text[s.at]) {
			s.at++
		}
		return s.text[start:s.at]
	case digit(c) || c == '.' && digit(s.peek(1)):
		for s.at < len(s.text) {
			c := s.text[s.at]
			sign := (c == '+' || c == '-') && strings.IndexByte("eE", s.text[s.at-1]) >= 0 && !strings.HasPrefix(s.text[start:], "0x") && !strings.HasPrefix(s.text[start:], "0X")
			if !wordByte(c) && c != '.' && !sign {
				break
			}
			s.at++
		}
		return strings.ToLower(strings.ReplaceAll(s.text[start:s.at], "_", ""))
	}
	for _, op := range operators {
		if strings.HasPrefix(s.text[s.at:], op) {
			s.at += len(op)
			return op
		}
	}
	s.at++
	return s.text[start:s.at]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func wordByte(c byte) bool {
	return digit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// prefix is the length of the letters before a string's quote; -1 if here is no string.
func (s *scanner) prefix() int {
	for n := 0; n <= 2; n++ {
		c := s.peek(n)
		if c == '"' || c == '\'' {
			return n
		}
		if c == 0 || strings.IndexByte("rRbBuUfFtT", c) < 0 {
			return -1
		}
	}
	return -1
}

// str reads a string from its quote on. Its text is returned between the
// quotes that need no escape, so that "a" and 'a' are one token.
func (s *scanner) str(prefix string) string {
	quote := s.text[s.at : s.at+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(s.text[s.at:], triple) {
		quote = triple
	}
	s.at += len(quote)
	start := s.at
	formatted := strings.ContainsAny(prefix, "ft")
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case strings.HasPrefix(s.text[s.at:], quote):
			text := s.text[start:s.at]
			s.at += len(quote)
			return spelled(prefix, quote, text)
		case c == '\\':
			s.at += 2
		case c == '\n' && len(quote) == 1: // unterminated
			return prefix + quote + s.text[start:s.at]
		case c == '{' && formatted:
			if s.peek(1) == '{' {
				s.at += 2
			} else {
				s.field()
			}
		default:
			s.at++
		}
	}
	s.at = len(s.text)
	return prefix + quote + s.text[start:]
}

func spelled(prefix, quote, text string) string {
	if len(quote) == 1 && !strings.ContainsAny(text, "\\\"'") {
		quote = `"`
	}
	return prefix + quote + text + quote
}

// field skips an f-string's {…}, which may hold strings with the same quotes
// (PEP 701).
func (s *scanner) field() {
	depth := 0
	for s.at < len(s.text) {
		if n := s.prefix(); n >= 0 {
			prefix := strings.ToLower(s.text[s.at : s.at+n])
			s.at += n
			s.str(prefix)
			continue
		}
		switch s.text[s.at] {
		case '{', '(', '[':
			depth++
		case '}', ')', ']':
			depth--
		}
		s.at++
		if depth <= 0 {
			return
		}
	}
}
