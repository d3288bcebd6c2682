package llm

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

// apply makes edits in a train.py. Each search text must occur exactly once in
// the source as it is, cut no word in two (`LR = 0.0` is no part of `LR = 0.03`,
// which a later champion may have), and no two may overlap. Its error joins
// every fault.
func apply(source []byte, edits []edit) ([]byte, error) {
	type place struct {
		start, end int
		text       string
		edit       int
	}
	var places []place
	var faults []error
	text := string(source)
	crlf := strings.Contains(text, "\r\n")
	for i, e := range edits {
		search, replace := e.search, e.replace
		if crlf {
			search, replace = strings.ReplaceAll(search, "\n", "\r\n"), strings.ReplaceAll(replace, "\n", "\r\n")
		}
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Errorf("edit %d: "+format, append([]any{i + 1}, args...)...))
		}
		switch {
		case strings.TrimSpace(search) == "":
			fault("its search text is empty")
			continue
		case search == replace:
			fault("it changes nothing: both texts are the same")
			continue
		}
		at := strings.Index(text, search)
		if at < 0 {
			fault("its search text, which begins %s, does not occur in train.py%s", inline(firstLine(search), 100), nearly(text, search))
			continue
		}
		if again := strings.Index(text[at+1:], search); again >= 0 {
			fault("its search text, which begins %s, occurs more than once in train.py, at lines %d and %d: take more lines into it",
				inline(firstLine(search), 100), lineOf(text, at), lineOf(text, at+1+again))
			continue
		}
		end := at + len(search)
		if word(text, at) || word(text, end) {
			fault("its search text, which begins %s, cuts a word of train.py in two, at line %d: copy the lines exactly", inline(firstLine(search), 100), lineOf(text, at))
			continue
		}
		if replace == "" && (at == 0 || text[at-1] == '\n') { // lines that go take their end with them
			if rest := text[end:]; strings.HasPrefix(rest, "\r\n") {
				end += 2
			} else if strings.HasPrefix(rest, "\n") {
				end++
			}
		}
		places = append(places, place{at, end, replace, i + 1})
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(places); i++ {
		if places[i].start < places[i-1].end {
			faults = append(faults, fmt.Errorf("edits %d and %d overlap", places[i-1].edit, places[i].edit))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	last := 0
	for _, p := range places {
		out.WriteString(text[last:p.start])
		out.WriteString(p.text)
		last = p.end
	}
	out.WriteString(text[last:])
	if err := sound(out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// sound refuses what cannot be a train.py whatever it says.
func sound(source []byte) error {
	switch {
	case len(source) > maxSource:
		return fmt.Errorf("train.py would be %d bytes long, at most %d are allowed", len(source), maxSource)
	case !utf8.Valid(source) || bytes.IndexByte(source, 0) >= 0:
		return errors.New("train.py would hold bytes that are not text")
	}
	return nil
}

// word reports whether an offset lies within a word or a number.
func word(text string, at int) bool {
	inside := func(c byte) bool {
		return c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= utf8.RuneSelf
	}
	return at > 0 && at < len(text) && inside(text[at-1]) && inside(text[at])
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(s, "\r\n"), "\n")
	return line
}

func lineOf(text string, at int) int { return 1 + strings.Count(text[:at], "\n") }

// nearly says where a search text would match but for blanks.
func nearly(text, search string) string {
	want := strings.TrimSpace(firstLine(search))
	n := 0
	for line := range strings.Lines(text) {
		n++
		if strings.TrimSpace(line) == want {
			return fmt.Sprintf("; line %d is like its first line: copy the lines exactly, with their indentation", n)
		}
	}
	return ""
}

// identity is the same for sources that do the same but for comments, layout
// and docstrings.
func identity(source []byte, consts []search.Constant) uint64 {
	return 31*constraint.Skeleton(source, consts) ^ search.Fingerprint(consts)
}
