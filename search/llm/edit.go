package llm

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
)

// apply makes edits in a train.py. Each search text must have one place there,
// at the first of these levels at which it has any: whole lines as they are; a
// part of the text that cuts no word in two (`LR = 0.0` is no part of
// `LR = 0.03`, which a later champion may have); lines but for blanks at their
// ends; lines that stand further in or out, all by the same; lines but for
// typographic signs. No two places may overlap. What changes nothing, and what
// is said twice, is left out. New lines end as the old ones do. Its error joins
// every fault.
func apply(source []byte, edits []edit) ([]byte, error) {
	doc := newDocument(string(source))
	var places []place
	var faults, missing []error
	var later []edit
	seen := map[edit]bool{}
	idle := 0
	const enough = 8 // faults to repair at once
	for i, e := range edits {
		if len(faults)+len(missing) >= enough {
			break
		}
		name := fmt.Sprintf("edit %d", i+1)
		switch {
		case strings.TrimSpace(e.search) == "":
			faults = append(faults, fmt.Errorf("%s: its search text is empty", name))
			continue
		case e.search == e.replace || seen[e]:
			idle++
			continue
		}
		seen[e] = true
		p, err := doc.find(e)
		switch {
		case errors.Is(err, errAbsent):
			missing, later = append(missing, fmt.Errorf("%s: %w", name, err)), append(later, e)
			continue
		case err != nil:
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
			continue
		case doc.text[p.start:p.end] == p.text:
			idle++
			continue
		}
		p.edit = i + 1
		places = append(places, p)
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(places); i++ {
		if places[i].start < places[i-1].end {
			faults = append(faults, fmt.Errorf("edits %d and %d overlap", places[i-1].edit, places[i].edit))
		}
	}
	var out bytes.Buffer
	last := 0
	for _, p := range places {
		if p.start < last {
			break // a fault already
		}
		out.WriteString(doc.text[last:p.start])
		out.WriteString(p.text)
		last = p.end
	}
	out.WriteString(doc.text[last:])
	result := out.Bytes()
	if len(faults) == 0 && len(later) > 0 && len(places) > 0 { // one edit may build on another
		if again, err := apply(result, later); err == nil {
			return again, nil
		}
	}
	if faults = append(faults, missing...); len(faults) == 0 && len(places) == 0 && idle > 0 {
		faults = append(faults, fmt.Errorf("edit 1: it changes nothing: both texts are the same"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if err := sound(result); err != nil {
		return nil, err
	}
	return result, nil
}

// place is a part of a document, and what it becomes.
type place struct {
	start, end int
	text       string
	edit       int
}

// document is a source by lines.
type document struct {
	text  string
	lines []docLine
	flat  string // with "\n" at every line's end
}

type docLine struct {
	start int    // offset of the line
	text  string // without its end and the file's byte order mark
	end   string // "\n", "\r\n", "\r", or nothing
	flat  int    // offset in flat
}

func newDocument(text string) *document {
	d := &document{text: text}
	var flat strings.Builder
	at := 0
	if strings.HasPrefix(text, "\ufeff") {
		at = len("\ufeff")
	}
	for {
		n := strings.IndexAny(text[at:], "\r\n")
		l := docLine{start: at, flat: flat.Len()}
		switch {
		case n < 0:
			l.text = text[at:]
		case strings.HasPrefix(text[at+n:], "\r\n"):
			l.text, l.end = text[at:at+n], "\r\n"
		default:
			l.text, l.end = text[at:at+n], text[at+n:at+n+1]
		}
		d.lines = append(d.lines, l)
		flat.WriteString(l.text)
		at += len(l.text) + len(l.end)
		if n < 0 {
			break
		}
		flat.WriteByte('\n')
	}
	d.flat = flat.String()
	return d
}

// offset is where an offset in flat lies in text.
func (d *document) offset(flat int) int {
	i, found := slices.BinarySearchFunc(d.lines, flat, func(l docLine, at int) int { return cmp.Compare(l.flat, at) })
	if !found {
		i--
	}
	return d.lines[i].start + flat - d.lines[i].flat
}

// eol is how lines end near a line.
func (d *document) eol(i int) string {
	for ; i >= 0; i-- {
		if d.lines[i].end != "" {
			return d.lines[i].end
		}
	}
	for _, l := range d.lines {
		if l.end != "" {
			return l.end
		}
	}
	return "\n"
}

// errAbsent marks a search text that has no place.
var errAbsent = errors.New("does not occur in train.py")

// find is the one place of an edit.
func (d *document) find(e edit) (place, error) {
	e.search, e.replace = ends.Replace(e.search), ends.Replace(e.replace)
	if line, n := elision(e.replace); n > 0 && !strings.Contains(d.flat, line) {
		return place{}, fmt.Errorf("its new text leaves lines out, with %s: write them all", inline(line, 60))
	}
	for _, form := range forms(e) {
		if p, err := d.findAs(form); err == nil || !errors.Is(err, errAbsent) {
			return p, err
		}
	}
	begins := inline(firstLine(e.search), 100)
	if line, n := elision(e.search); n > 0 {
		return place{}, fmt.Errorf("its search text, which begins %s, leaves lines out, with %s: copy every line: it %w", begins, inline(line, 60), errAbsent)
	}
	return place{}, fmt.Errorf("its search text, which begins %s, %w%s", begins, errAbsent, d.difference(e.search))
}

var ends = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// forms are an edit as it is written, and as it may be meant.
func forms(e edit) []edit {
	all := []edit{e}
	add := func(f edit) {
		if f.search != e.search && strings.TrimSpace(f.search) != "" && !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	add(unfenced(e))
	add(unnumbered(e))
	add(unfenced(unnumbered(e)))
	if strings.Contains(e.search, "&") {
		add(edit{html.UnescapeString(e.search), html.UnescapeString(e.replace)})
	}
	return all
}

// unfenced takes fences off that stand around both texts.
func unfenced(e edit) edit {
	strip := func(s string) (string, bool) {
		all := strings.Split(strings.Trim(s, "\n"), "\n")
		if n := len(all); n >= 2 && fenceMark.MatchString(all[0]) && fenceMark.MatchString(all[n-1]) {
			return strings.Join(all[1:n-1], "\n"), true
		}
		return s, false
	}
	search, ok := strip(e.search)
	if !ok {
		return e
	}
	replace, _ := strip(e.replace)
	return edit{search, replace}
}

var numbered = regexp.MustCompile(`^\s*(\d+)(?:\s*[|:→│]\s?|\t)`)

// unnumbered takes off the numbers that every line of the search text begins
// with, and those in the new text.
func unnumbered(e edit) edit {
	var out []string
	before := 0
	for _, line := range strings.Split(e.search, "\n") {
		if strings.TrimSpace(line) == "" {
			out = append(out, line)
			continue
		}
		m := numbered.FindStringSubmatch(line)
		if m == nil {
			return e
		}
		var n int
		if _, err := fmt.Sscan(m[1], &n); err != nil || n <= before || before > 0 && n > before+100 {
			return e
		}
		before = n
		out = append(out, line[len(m[0]):])
	}
	all := strings.Split(e.replace, "\n")
	for i, line := range all {
		if m := numbered.FindString(line); m != "" {
			all[i] = line[len(m):]
		}
	}
	return edit{strings.Join(out, "\n"), strings.Join(all, "\n")}
}

var elided = regexp.MustCompile(`(?i)^\s*(?:#|//)?\s*(?:\.\.\.|…|\[\.\.\.\]|<\.\.\.>)\s*(?:\(?(?:the )?(?:existing|rest|remaining|unchanged|same|other|previous|omitted|more|keep|code|lines|as before|snip)\b.*|#.*)?$|^\s*#\s*(?:\.\.\.|…).{0,60}$|^\s*#\s*\(?(?:rest of|remaining|existing) .{0,40}\b(?:unchanged|the same|as before|here)\b.*$`)

// elision is a line that stands for others which are left out; 0: there is none.
func elision(text string) (string, int) {
	for i, line := range strings.Split(text, "\n") {
		if elided.MatchString(line) {
			return line, i + 1
		}
	}
	return "", 0
}

// findAs looks for a text, level by level.
func (d *document) findAs(e edit) (place, error) {
	search, replace := strings.Split(e.search, "\n"), strings.Split(e.replace, "\n")
	if e.replace == "" {
		replace = nil
	}
	var at []int
	become := func(i int) (place, error) { return d.replaced(i, len(search), replace), nil }
	for level := range 6 {
		switch level {
		case 0: // lines as they are
			at = d.windows(search, func(s string) string { return s })
		case 1: // a part of the text
			if p, found, err := d.part(e); found || err != nil {
				return p, err
			}
		case 2: // but for blanks at the ends of lines
			at = d.windows(search, bare)
		case 3: // but for blank lines around them
			lead, tail := edges(search)
			if lead+tail == 0 || lead+tail >= len(search) {
				continue
			}
			search, replace = search[lead:len(search)-tail], trimmed(replace, lead, tail)
			at = d.windows(search, bare)
		default: // further in or out, then but for typographic signs too
			read := func(s string) string { return s }
			if level == 5 {
				read = plainSigns
			}
			moves := map[int]move{}
			for _, i := range d.windows(search, func(s string) string { return strings.Trim(bare(read(s)), " \t") }) {
				if m, ok := d.moved(i, search, read); ok {
					at, moves[i] = append(at, i), m
				}
			}
			become = func(i int) (place, error) {
				lines, err := moves[i].lines(replace, read)
				return d.replaced(i, len(search), lines), err
			}
		}
		switch {
		case len(at) == 1:
			return become(at[0])
		case len(at) > 1:
			return place{}, fmt.Errorf("its search text, which begins %s, occurs more than once in train.py, at lines %d and %d: take more lines into it",
				inline(firstLine(e.search), 100), at[0]+1, at[1]+1)
		}
	}
	return place{}, errAbsent
}

// windows are the lines at which all lines of a text stand, as key reads them.
func (d *document) windows(search []string, key func(string) string) []int {
	have, wish := make([]string, len(d.lines)), make([]string, len(search))
	for i, l := range d.lines {
		have[i] = key(l.text)
	}
	for i, s := range search {
		wish[i] = key(s)
	}
	var at []int
	for i := 0; i+len(wish) <= len(have); i++ {
		if slices.Equal(have[i:i+len(wish)], wish) {
			at = append(at, i)
		}
	}
	return at
}

// replaced is the place of n lines from i on, with others for them.
func (d *document) replaced(i, n int, lines []string) place {
	first, last := d.lines[i], d.lines[i+n-1]
	p := place{start: first.start, end: last.start + len(last.text) + len(last.end)}
	if len(lines) > 0 {
		p.text = strings.Join(lines, d.eol(i)) + last.end
	}
	return p
}

// part looks for a text that may begin and end within lines.
func (d *document) part(e edit) (p place, found bool, err error) {
	var all, clean []int
	for at := 0; ; {
		n := strings.Index(d.flat[at:], e.search)
		if n < 0 {
			break
		}
		at += n
		all = append(all, at)
		if !word(d.flat, at) && !word(d.flat, at+len(e.search)) {
			clean = append(clean, at)
		}
		at++
	}
	begins := inline(firstLine(e.search), 100)
	switch {
	case len(all) == 0:
		return p, false, nil
	case len(clean) > 1 || len(clean) == 0 && len(all) > 1:
		all = append(clean, all...)
		return p, false, fmt.Errorf("its search text, which begins %s, occurs more than once in train.py, at lines %d and %d: take more lines into it",
			begins, lineOf(d.flat, all[0]), lineOf(d.flat, all[1]))
	case len(clean) == 0:
		return p, false, fmt.Errorf("its search text, which begins %s, cuts a word of train.py in two, at line %d: copy the lines exactly", begins, lineOf(d.flat, all[0]))
	}
	at := clean[0]
	end := at + len(e.search)
	if e.replace == "" && (at == 0 || d.flat[at-1] == '\n') && end < len(d.flat) && d.flat[end] == '\n' { // lines that go take their end with them
		end++
	}
	line := lineOf(d.flat, at) - 1
	p = place{start: d.offset(at), end: d.offset(end), text: strings.ReplaceAll(e.replace, "\n", d.eol(line))}
	return p, true, nil
}

// bare is a line without the blanks at its end.
func bare(s string) string { return strings.TrimRight(s, " \t\f\u00a0") }

// edges counts the blank lines around a text.
func edges(lines []string) (lead, tail int) {
	for lead < len(lines) && bare(lines[lead]) == "" {
		lead++
	}
	for tail < len(lines)-lead && bare(lines[len(lines)-1-tail]) == "" {
		tail++
	}
	return lead, tail
}

// trimmed takes at most as many blank lines off.
func trimmed(lines []string, lead, tail int) []string {
	l, t := edges(lines)
	l, t = min(l, lead), min(t, tail)
	return lines[l : len(lines)-t]
}

// signs are typographic signs and what a keyboard has for them.
var signs = strings.NewReplacer("“", `"`, "”", `"`, "„", `"`, "‘", "'", "’", "'", "′", "'", "–", "-", "—", "-", "−", "-", "‑", "-", "\u00a0", " ", "\u202f", " ", "\u2009", " ", "\u200b", "", "\ufeff", "", "…", "...", "×", "*")

func plainSigns(s string) string { return signs.Replace(s) }

// move is how far lines stand from those of a search text, in columns.
type move struct {
	first, rest int
	tab         int  // columns of a tab
	tabs        bool // train.py indents with tabs there
}

// moved compares the indentation of lines that are the same but for that: it
// must differ by the same everywhere, or in the first line alone.
func (d *document) moved(i int, search []string, read func(string) string) (move, bool) {
	tabs := false
	for j := range search {
		tabs = tabs || strings.HasPrefix(d.lines[i+j].text, "\t")
	}
	for _, tab := range []int{4, 8, 2} {
		m := move{tab: tab, tabs: tabs}
		n, ok := 0, true
		for j := range search {
			if bare(search[j]) == "" {
				continue
			}
			by := columns(d.lines[i+j].text, tab) - columns(read(search[j]), tab)
			switch n++; {
			case n == 1:
				m.first, m.rest = by, by
			case n == 2:
				m.rest = by
			case by != m.rest:
				ok = false
			}
		}
		// A first line that has lost its indentation is the one exception.
		if ok && n > 0 && (m.first == m.rest || m.rest == 0 && m.first > 0) {
			return m, true
		}
	}
	return move{}, false
}

// lines moves the new lines as the old ones are.
func (m move) lines(replace []string, read func(string) string) ([]string, error) {
	out := make([]string, len(replace))
	n := 0
	for i, line := range replace {
		line = read(line)
		if bare(line) == "" {
			continue
		}
		by := m.rest
		if n == 0 {
			by = m.first
		}
		n++
		to := columns(line, m.tab) + by
		if to < 0 {
			return nil, fmt.Errorf("its lines stand %d columns further in than those of train.py, and its new text cannot be moved out as far: copy the lines exactly, with their indentation", -by)
		}
		indent := strings.Repeat(" ", to)
		if m.tabs {
			indent = strings.Repeat("\t", to/m.tab) + strings.Repeat(" ", to%m.tab)
		}
		out[i] = indent + strings.TrimLeft(line, " \t")
	}
	return out, nil
}

// columns is how far in a line stands.
func columns(line string, tab int) int {
	n := 0
	for _, c := range line {
		switch c {
		case ' ':
			n++
		case '\t':
			n += tab - n%tab
		default:
			return n
		}
	}
	return n
}

// difference says what keeps a search text from its most likely place.
func (d *document) difference(search string) string {
	want := strings.Split(strings.Trim(search, "\n"), "\n")
	key := func(s string) string { return strings.Join(strings.Fields(plainSigns(s)), " ") }
	const most = 60 // lines that are compared
	haves, wishes := make([]string, len(d.lines)), make([]string, min(len(want), most))
	for i, l := range d.lines {
		haves[i] = key(l.text)
	}
	for i := range wishes {
		wishes[i] = key(want[i])
	}
	best, at := 0.0, -1
	for i := range haves {
		score := 0.0
		for j := 0; j < len(wishes) && i+j < len(haves); j++ {
			have, wish := haves[i+j], wishes[j]
			switch {
			case wish == "":
			case have == wish:
				score++
			case score > 0 || j == 0:
				score += 0.5 * alike(have, wish)
			}
		}
		if score > best {
			best, at = score, i
		}
	}
	if at < 0 || best < 0.3 {
		return ""
	}
	for j, line := range want {
		if at+j >= len(d.lines) {
			return fmt.Sprintf("; it is like line %d, but train.py ends after %d of its lines", at+1, j)
		}
		have := d.lines[at+j].text
		if bare(have) == bare(line) {
			continue
		}
		what := ""
		if strings.TrimSpace(have) == strings.TrimSpace(line) {
			what = fmt.Sprintf("its indentation is %d columns where train.py has %d", columns(line, 4), columns(have, 4))
		} else {
			what = fmt.Sprintf("it is %s where train.py has %s", inline(strings.TrimSpace(line), 80), inline(strings.TrimSpace(have), 80))
		}
		return fmt.Sprintf("; it is like line %d, but differs in its line %d (line %d of train.py): %s", at+1, j+1, at+j+1, what)
	}
	return ""
}

// alike is how much of two lines' words are the same, 0 to 1.
func alike(a, b string) float64 {
	if a == "" || b == "" {
		return 0
	}
	words := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ()[]{}=,.:+-*/", r) })
	}
	x, y := words(a), words(b)
	if len(x) == 0 || len(y) == 0 {
		return 0
	}
	n := 0
	for _, w := range x {
		if slices.Contains(y, w) {
			n++
		}
	}
	return float64(n) / float64(max(len(x), len(y)))
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

// identity is the same for sources that do the same but for comments, layout
// and docstrings.
func identity(source []byte, consts []search.Constant) uint64 {
	return 31*constraint.Skeleton(source, consts) ^ search.Fingerprint(consts)
}
