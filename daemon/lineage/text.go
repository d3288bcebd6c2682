package lineage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes s one line of visible text: tabs, newlines and other control
// characters, line separators, bidirectional overrides and bytes that are not
// UTF-8 are written as \t, \n, \x1b, \u202e, …. Everything else stays as it is.
func Escape(s string) string { return escape(s, false) }

// Message builds a commit message: the description as one line, then the body's
// own lines, each escaped.
func Message(description, body string) string {
	subject := strings.TrimSpace(Escape(description))
	if subject == "" {
		subject = "no description"
	}
	if body = strings.Trim(escape(body, true), "\n"); body != "" {
		return subject + "\n\n" + body + "\n"
	}
	return subject + "\n"
}

func escape(s string, keepNewlines bool) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' && keepNewlines:
			b.WriteByte('\n')
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		case unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// Quote makes a word of the shell's.
func Quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:@%,", r))
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// CheckTag reports why tag cannot name a study's branch autoresearch/<tag>, by
// the rules of git check-ref-format for one path component; nil when it can.
func CheckTag(tag string) error {
	bad := func(why string) error {
		return fmt.Errorf("use tag %q: %s; letters, digits, dot, dash and underscore are safe", tag, why)
	}
	switch {
	case tag == "":
		return bad("it is empty")
	case len(tag) > 100:
		return bad("it is longer than 100 bytes")
	case tag == "@" || strings.Contains(tag, "@{"):
		return bad("it means something else to git")
	case strings.HasPrefix(tag, "-"):
		return bad("it starts with a dash")
	case strings.HasPrefix(tag, "."), strings.HasSuffix(tag, "."), strings.Contains(tag, ".."):
		return bad("it starts or ends with a dot or holds two in a row")
	case strings.HasSuffix(tag, ".lock"):
		return bad("it ends in .lock")
	case !utf8.ValidString(tag):
		return bad("it is not UTF-8")
	}
	for _, r := range tag {
		if unicode.IsControl(r) || strings.ContainsRune(` ~^:?*[\/`, r) {
			return bad(fmt.Sprintf("it holds %q", r))
		}
	}
	return nil
}
