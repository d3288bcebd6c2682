package lineage

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"autoresearchd/search"
)

// Past is a row of a record that somebody else kept.
type Past struct {
	Row      // Commit is what was written, in lower case; "" for a baseline that names none
	Line int // in the file, from 1
}

// Remark is what there is to say about a line.
type Remark struct {
	Line int // 0: about the whole file
	Text string
}

func (r Remark) String() string {
	if r.Line == 0 {
		return r.Text
	}
	return fmt.Sprintf("line %d: %s", r.Line, r.Text)
}

// Foreign is a record as far as it can be read.
type Foreign struct {
	Rows  []Past   // in the file's order
	Left  []Remark // lines that are no row, and why
	Notes []Remark // what was read otherwise than it is written, or not at all
}

// ReadForeign reads a record that an agent or a person kept: results.tsv or what
// became of it. Columns go by their names, in any order; without a header they
// are upstream's. A line that cannot be read is left out, never guessed at, and
// no number gets a meaning that its column's name does not give it: score names
// the column to take for val_bpb where none is called so.
func ReadForeign(data []byte, score string) (Foreign, error) {
	t := reader{score: name(score), best: math.Inf(1)}
	lines, torn := t.lines(data)
	if err := t.header(lines); err != nil {
		return t.out, err
	}
	for i, line := range lines {
		t.line(i+1, line, torn && i == len(lines)-1)
	}
	return t.out, nil
}

type reader struct {
	out      Foreign
	score    string // the column that --score names, normalised
	columns  columns
	start    int     // line of the header; 0: there is none
	best     float64 // lowest val_bpb so far
	unitless bool    // the missing unit of memory has been said
}

// columns are the roles' places in a row, -1 for none, and how cells are told apart.
type columns struct {
	separator                                  string
	n                                          int // 0: not known
	commit, score, memory, status, description int
	unit                                       float64 // of memory, in GiB; 0: the column does not say
	memoryName                                 string
}

// lines splits the file, whatever its encoding and line ends. torn: the last
// line has no end, so that it may be half of one.
func (t *reader) lines(data []byte) (lines []string, torn bool) {
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		units := make([]uint16, len(data)/2)
		for i := range units {
			low, high := data[2*i], data[2*i+1]
			if data[0] == 0xfe {
				low, high = high, low
			}
			units[i] = uint16(high)<<8 | uint16(low)
		}
		data = []byte(string(utf16.Decode(units)))
	}
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	if !bytes.Contains(data, []byte("\n")) {
		data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	}
	torn = len(data) > 0 && data[len(data)-1] != '\n'
	lines = strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, line := range lines {
		if !utf8.ValidString(line) {
			lines[i] = windows1252(line)
			t.note(i+1, "it is not UTF-8: read as Windows-1252")
		}
		lines[i] = strings.TrimRight(strings.TrimLeft(lines[i], " \ufeff"), "\r ")
	}
	return lines, torn
}

// windows1252 has nothing but these that Latin-1 has not.
var upper1252 = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")

func windows1252(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= 0x80 && c < 0xa0 {
			b.WriteRune(upper1252[c-0x80])
		} else {
			b.WriteRune(rune(c))
		}
	}
	return b.String()
}

func (t *reader) note(line int, format string, args ...any) {
	t.out.Notes = append(t.out.Notes, Remark{line, fmt.Sprintf(format, args...)})
}

func (t *reader) leave(line int, format string, args ...any) {
	t.out.Left = append(t.out.Left, Remark{line, fmt.Sprintf(format, args...)})
}

var (
	ruler    = regexp.MustCompile(`^[\s|:+=-]*-[\s|:+=-]*$`)
	conflict = regexp.MustCompile(`^(<{7}|>{7}|\|{7})( |$)|^={7}$`)
)

// empty reports whether a line is there for the eye alone.
func empty(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || line[0] == '#' || strings.HasPrefix(line, "//") || strings.HasPrefix(line, "```") || ruler.MatchString(line) && strings.Contains(line, "--")
}

// header finds the line that names the columns.
func (t *reader) header(lines []string) error {
	for i, line := range lines {
		c, names := parseHeader(line)
		if names == nil {
			if empty(line) || conflict.MatchString(line) || i < 20 && !looksLikeRow(line) {
				continue
			}
			break
		}
		if err := t.choose(&c, names); err != nil {
			return fmt.Errorf("line %d: %w", i+1, err)
		}
		t.columns, t.start = c, i+1
		return nil
	}
	for i, line := range lines {
		if empty(line) || conflict.MatchString(line) {
			continue
		}
		if !looksLikeRow(line) {
			return fmt.Errorf("line %d is %.80q, neither the header %q nor a row under it: write the header above the rows", i+1, line, strings.TrimSpace(ResultsHeader))
		}
		if t.score != "" {
			return fmt.Errorf("it has no header, so no column %q: write one above the rows", t.score)
		}
		t.columns = columns{separator: "\t", n: 5, commit: 0, score: 1, memory: 2, status: 3, description: 4, unit: 1, memoryName: "memory_gb"}
		t.note(0, "it has no header: the columns are taken to be %s", strings.ReplaceAll(strings.TrimSpace(ResultsHeader), "\t", ", "))
		return nil
	}
	return errors.New("it has no rows")
}

// looksLikeRow reports whether a line without a header above it is one of
// upstream's: a commit, two numbers (or words for none), a status.
func looksLikeRow(line string) bool {
	for _, separator := range separators {
		cells := split(line, separator)
		if len(cells) < 4 {
			continue
		}
		_, known := verdict(cells[3])
		_, kind := number(cells[1])
		_, memory := number(cells[2])
		if known && kind != junk && memory != junk {
			return true
		}
	}
	return false
}

var inBrackets = regexp.MustCompile(`(?i)^\s*(gb|gib|mb|mib)\b`)

var separators = []string{"\t", `\t`, "|", ",", ";", "  ", " "}

// name makes one spelling of a column's: lower case, words joined by _, of
// what is in brackets the unit alone.
func name(s string) string {
	s, aside, _ := strings.Cut(strings.ReplaceAll(s, "[", "("), "(")
	if found := inBrackets.FindString(aside); found != "" {
		s += " " + found
	}
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return strings.Join(words, "_")
}

var (
	commitNames = []string{"commit", "commit_hash", "git_commit", "commit_sha", "commit_id", "hash", "git_hash", "sha", "git_sha", "short_hash", "short_sha", "revision", "rev", "git"}
	// Bits per byte by name. A loss is none: nats per token are another unit.
	scoreNames       = []string{"val_bpb", "bpb", "valid_bpb", "validation_bpb", "eval_bpb", "final_val_bpb", "val_bits_per_byte", "bits_per_byte"}
	statusNames      = []string{"status", "verdict", "decision", "outcome", "result", "state", "kept", "keep", "keep_discard", "action"}
	descriptionNames = []string{"description", "desc", "experiment", "change", "changes", "idea", "hypothesis", "what", "summary", "message", "title", "notes", "note", "comment", "details"}
	memoryName       = regexp.MustCompile(`^(peak_|max_|gpu_)*(memory|mem|vram)(_peak|_used|_usage|_max)?(_(gb|gib|mb|mib))?$`)
)

// parseHeader returns nil names when the line is none.
func parseHeader(line string) (columns, []string) {
	for _, line := range []string{line, strings.TrimLeft(line, "#/ ")} {
		for _, separator := range separators {
			var names []string
			known := 0
			for _, cell := range split(line, separator) {
				if _, kind := number(cell); kind == value {
					known = -100
				}
				n := name(cell)
				if slices.Contains(commitNames, n) || slices.Contains(scoreNames, n) || slices.Contains(statusNames, n) || slices.Contains(descriptionNames, n) || memoryName.MatchString(n) {
					known++
				}
				names = append(names, n)
			}
			if known >= 2 && (slices.ContainsFunc(names, func(n string) bool { return slices.Contains(commitNames, n) }) || known >= 3) {
				return columns{separator: separator, n: len(names)}, names
			}
		}
	}
	return columns{}, nil
}

// choose gives each role its column.
func (t *reader) choose(c *columns, names []string) error {
	first := func(wanted []string) int {
		for _, n := range wanted {
			if i := slices.Index(names, n); i >= 0 {
				return i
			}
		}
		return -1
	}
	c.commit, c.status, c.description = first(commitNames), first(statusNames), first(descriptionNames)
	c.memory, c.unit, c.memoryName = -1, 0, ""
	for i, n := range names {
		found := memoryName.FindStringSubmatch(n)
		if found == nil || c.memory >= 0 && c.unit > 0 {
			continue
		}
		c.memory, c.memoryName = i, n
		switch found[5] {
		case "gb", "gib":
			c.unit = 1
		case "mb", "mib":
			c.unit = 1. / 1024
		}
	}
	var columns []string
	for _, n := range names {
		if n != "" {
			columns = append(columns, n)
		}
	}
	if c.commit < 0 {
		return fmt.Errorf("no column is called commit (there are %s): without one the train.py of a row cannot be found; add it, with each trial's commit hash", strings.Join(columns, ", "))
	}
	if t.score != "" {
		if c.score = slices.Index(names, t.score); c.score < 0 {
			return fmt.Errorf("no column is called %s; there are %s", t.score, strings.Join(columns, ", "))
		}
		return nil
	}
	if c.score = slices.Index(names, "val_bpb"); c.score >= 0 {
		return nil
	}
	var candidates []string
	for i, n := range names {
		if slices.Contains(scoreNames, n) {
			c.score = i
			candidates = append(candidates, n)
		}
	}
	switch len(candidates) {
	case 1:
		return nil
	case 0:
		like := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, "bpb") })
		if like < 0 {
			like = slices.IndexFunc(names, func(n string) bool {
				return strings.Contains(n, "loss") || strings.Contains(n, "score") || strings.Contains(n, "metric") || strings.HasPrefix(n, "val")
			})
		}
		remedy := "name the one that holds the val_bpb of this workspace's prepare.py with --score COLUMN"
		if like >= 0 {
			remedy = fmt.Sprintf("if %s holds what this workspace's prepare.py evaluates, lower being better, add --score %s", names[like], names[like])
		}
		return fmt.Errorf("no column is called val_bpb (there are %s): %s", strings.Join(columns, ", "), remedy)
	}
	return fmt.Errorf("the columns %s could each be val_bpb: choose with --score %s", strings.Join(candidates, " and "), candidates[0])
}

// split cuts a line into cells: at tabs (or \t as echo leaves it), bars,
// commas, semicolons, two or more blanks, or blanks. A cell in double quotes may
// hold the separator.
func split(line, separator string) []string {
	switch separator {
	case "  ":
		return twoBlanks.Split(strings.TrimSpace(line), -1)
	case " ":
		return strings.Fields(line)
	case "|":
		line = strings.TrimSpace(line)
		if strings.Count(line, "|") < 2 {
			return []string{line}
		}
		line = strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|")
	}
	var cells []string
	for {
		if rest := strings.TrimLeft(line, " "); strings.HasPrefix(rest, `"`) {
			if end := quoteEnd(rest, separator); end > 0 {
				cells = append(cells, strings.ReplaceAll(rest[1:end], `""`, `"`))
				if rest = strings.TrimLeft(rest[end+1:], " "); rest == "" {
					return cells
				}
				line = rest[len(separator):]
				continue
			}
		}
		cell, rest, more := strings.Cut(line, separator)
		cells = append(cells, strings.TrimSpace(cell))
		if !more {
			return cells
		}
		line = rest
	}
}

var twoBlanks = regexp.MustCompile(` {2,}|\t+`)

// quoteEnd is the place of the quote that closes the cell which s begins; 0
// when nothing does, and the quote is text.
func quoteEnd(s, separator string) int {
	for i := 1; i < len(s); i++ {
		if s[i] != '"' {
			continue
		}
		if i+1 < len(s) && s[i+1] == '"' {
			i++
			continue
		}
		if rest := strings.TrimLeft(s[i+1:], " "); rest == "" || strings.HasPrefix(rest, separator) {
			return i
		}
		return 0
	}
	return 0
}

// line takes one line of the file in.
func (t *reader) line(number int, line string, torn bool) {
	if c, names := parseHeader(line); names != nil {
		if number != t.start { // somebody joined two files, or added a column on the way
			if err := t.choose(&c, names); err != nil {
				t.leave(number, "a second header, under which nothing can be read: %v", err)
				return
			}
		}
		t.columns = c
		if number == t.start {
			_ = t.choose(&t.columns, names)
		}
		return
	}
	switch {
	case conflict.MatchString(line):
		t.leave(number, "a git conflict's mark; the rows of both sides are read")
		return
	case empty(line):
		return
	case number < t.start:
		t.leave(number, "it stands above the header: %.60q", line)
		return
	}
	p, note, fault := t.row(line, t.columns.separator)
	for _, separator := range separators {
		if fault == "" {
			break
		}
		if separator == t.columns.separator {
			continue
		}
		if other, otherNote, otherFault := t.row(line, separator); otherFault == "" {
			p, note, fault = other, otherNote, ""
		}
	}
	if fault != "" {
		if torn {
			fault += " (the last line, without an end: half written)"
		}
		t.leave(number, "%s: %.100q", fault, line)
		return
	}
	switch {
	case note == unitless && t.unitless:
	case note == unitless:
		t.unitless = true
		t.note(0, unitless, t.columns.memoryName)
	case note != "":
		t.note(number, "%s", note)
	}
	p.Line = number
	if p.Status == unsaid {
		if p.Status = search.Discard; p.ValBPB < t.best {
			p.Status = search.Keep
		}
		t.note(number, "it does not say whether it was kept: taken for %s, its val_bpb %s the lowest so far", p.Status, map[bool]string{true: "being", false: "not being"}[p.Status == search.Keep])
	}
	if p.Status != search.Crash {
		t.best = min(t.best, p.ValBPB)
	}
	t.out.Rows = append(t.out.Rows, p)
}

// row reads one line; fault says why it is none.
func (t *reader) row(line, separator string) (p Past, note, fault string) {
	c := t.columns
	cells := split(line, separator)
	if extra := len(cells) - c.n; extra > 0 {
		last := c.description
		if last < 0 {
			if strings.Join(cells[c.n:], "") != "" {
				return p, "", fmt.Sprintf("it has %d cells under %d columns", len(cells), c.n)
			}
			cells = cells[:c.n]
		} else { // a separator inside the words
			joined := strings.Join(cells[last:last+extra+1], strings.TrimSpace(separator)+" ")
			if separator == "\t" {
				joined = strings.Join(cells[last:last+extra+1], "\t")
			}
			cells = slices.Concat(cells[:last], []string{strings.TrimSpace(joined)}, cells[last+extra+1:])
		}
	}
	if need := max(c.commit, c.score, c.status) + 1; len(cells) < need {
		return p, "", fmt.Sprintf("it has %d of the %d columns", len(cells), c.n)
	}
	cell := func(i int) string {
		if i < 0 || i >= len(cells) {
			return ""
		}
		return cells[i]
	}
	p.Description = describe(plainWords(cell(c.description)))
	if c.description < 0 || p.Description == "" {
		p.Description = "no description"
	}
	status := unsaid
	if c.status >= 0 {
		var known bool
		if status, known = verdict(cell(c.status)); !known {
			if cell(c.status) == "" {
				return p, "", "its status is empty"
			}
			return p, "", fmt.Sprintf("its status %.40q is not keep, discard or crash", cell(c.status))
		}
	}
	n, kind := number(cell(c.score))
	switch {
	case status == failed && kind == value && search.Plausible(n):
		status = search.Discard
	case status == failed:
		status = search.Crash
	}
	switch {
	case status == search.Crash:
		n = 0
	case kind == junk:
		return p, "", fmt.Sprintf("its score %.40q is not a number", cell(c.score))
	case kind == endless && (status == search.Discard || status == unsaid):
		status, n = search.Crash, 0 // a run without a score, as it is everywhere here
		note = fmt.Sprintf("its score is %s: taken for a crash", cell(c.score))
	case kind != value:
		return p, "", fmt.Sprintf("it has no score, and its status is %s", cmp.Or(string(status), "not said"))
	case !search.Plausible(n):
		return p, "", fmt.Sprintf("%s cannot be a val_bpb", cell(c.score))
	}
	p.ValBPB, p.Status = n, status
	var why string
	p.MemoryGB, why = memory(cell(c.memory), c.unit, c.memoryName)
	note = cmp.Or(note, why)
	if p.Commit, fault = commitOf(cell(c.commit)); fault != "" {
		if !baseline(cell(c.commit), p.Description) || status == search.Crash || status == search.Discard || len(t.out.Rows) > 0 {
			return p, "", fault
		}
		p.Commit = ""
	}
	return p, note, ""
}

// What a status can be beside the three verdicts.
const (
	unsaid search.Verdict = ""       // it ran; whether it was kept is not said
	failed search.Verdict = "failed" // no gain, or a crash: the score says which
)

// The words that stand for a verdict wherever they stand in a status.
var words = map[string]search.Verdict{
	"keep": search.Keep, "kept": search.Keep, "keeper": search.Keep, "keeping": search.Keep, "accept": search.Keep, "accepted": search.Keep, "advance": search.Keep, "advanced": search.Keep,
	"adopt": search.Keep, "adopted": search.Keep, "merge": search.Keep, "merged": search.Keep, "improved": search.Keep, "champion": search.Keep,
	"discard": search.Discard, "discarded": search.Discard, "discarding": search.Discard, "drop": search.Discard, "dropped": search.Discard, "reject": search.Discard, "rejected": search.Discard,
	"revert": search.Discard, "reverted": search.Discard, "rollback": search.Discard, "rolled": search.Discard, "regressed": search.Discard, "regression": search.Discard, "worse": search.Discard, "undone": search.Discard, "abandoned": search.Discard,
	"crash": search.Crash, "crashed": search.Crash, "crashes": search.Crash, "error": search.Crash, "errored": search.Crash, "exception": search.Crash, "oom": search.Crash, "timeout": search.Crash, "timedout": search.Crash,
	"killed": search.Crash, "hang": search.Crash, "hung": search.Crash, "diverged": search.Crash, "divergence": search.Crash, "segfault": search.Crash, "aborted": search.Crash, "💥": search.Crash,
	"✓": search.Keep, "✔": search.Keep, "✅": search.Keep, "☑": search.Keep, "✗": search.Discard, "✘": search.Discard, "❌": search.Discard, "✖": search.Discard, "×": search.Discard, "🚫": search.Discard,
}

// The words that stand for one only by themselves.
var wholeWords = map[string]search.Verdict{
	"baseline": search.Keep, "base": search.Keep, "best": search.Keep, "new_best": search.Keep, "improvement": search.Keep, "win": search.Keep, "winner": search.Keep, "yes": search.Keep, "y": search.Keep, "true": search.Keep, "k": search.Keep, "initial": search.Keep,
	"no": search.Discard, "n": search.Discard, "false": search.Discard, "d": search.Discard, "no_improvement": search.Discard, "no_gain": search.Discard, "not_kept": search.Discard, "reset": search.Discard, "x": search.Discard, "loss": search.Discard, "lose": search.Discard,
	"c": search.Crash, "nan": search.Crash, "inf": search.Crash, "out_of_memory": search.Crash, "timed_out": search.Crash, "time_out": search.Crash, "broken": search.Crash, "abort": search.Crash, "killed": search.Crash,
	"fail": failed, "failed": failed, "failure": failed, "invalid": failed, "unsuccessful": failed,
	"ok": unsaid, "okay": unsaid, "success": unsaid, "succeeded": unsaid, "successful": unsaid, "done": unsaid, "complete": unsaid, "completed": unsaid, "finished": unsaid, "ran": unsaid, "pass": unsaid, "passed": unsaid,
}

// verdict reads a status.
func verdict(cell string) (search.Verdict, bool) {
	cell = strings.ToLower(strings.ReplaceAll(cell, "\ufe0f", ""))
	if v, ok := wholeWords[name(cell)]; ok {
		return v, true
	}
	var found []search.Verdict
	tokens := strings.FieldsFunc(cell, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.In(r, unicode.So, unicode.Sm) })
	for _, token := range tokens {
		if token == "not" || token == "no" || token == "un" {
			return "", false // whatever it denies
		}
		if v, ok := words[token]; ok && !slices.Contains(found, v) {
			found = append(found, v)
		}
	}
	if len(found) != 1 {
		if v, ok := wholeWords[name(cell)]; ok {
			return v, true
		}
		for _, phrase := range []string{"out of memory", "timed out", "time out"} {
			if len(found) == 0 && strings.Contains(cell, phrase) {
				return search.Crash, true
			}
		}
		return "", false
	}
	return found[0], true
}

type kind int

const (
	junk    kind = iota
	value        // a number
	none         // the cell says that there is none
	endless      // NaN or infinite
)

// number reads a cell that should hold one. A comma is a decimal point where
// nothing else can be meant; what follows ± is the deviation.
func number(cell string) (float64, kind) {
	s := strings.ToLower(strings.Trim(strings.TrimSpace(cell), "*`_'\" "))
	for _, mark := range []string{"±", "+/-", "+-"} {
		s, _, _ = strings.Cut(s, mark)
	}
	s = strings.TrimSpace(s)
	switch s {
	case "", "-", "--", "---", "–", "—", "n/a", "na", "none", "null", "nil", "tbd", "?", "x", "crash", "oom", "error", "failed", "fail", "timeout", "/", ".", "#n/a", "missing", "unknown", "pending":
		return 0, none
	case "nan", "inf", "+inf", "-inf", "infinity", "∞", "diverged":
		return 0, endless
	}
	if strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		s = strings.Replace(s, ",", ".", 1)
	}
	if strings.Contains(s, "_") || strings.HasPrefix(s, "0x") { // Go's numbers, nobody else's
		return 0, junk
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(s, "bpb")), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, junk
	}
	return n, value
}

var quantity = regexp.MustCompile(`(?i)^([0-9][0-9.,]*)\s*(gb|gib|g|mb|mib|m)$`)

const unitless = "the column %s does not say its unit, so it is not read: call it memory_gb or memory_mb"

// maxMemory is more GiB than any machine's; a number above it is in another unit.
const maxMemory = 4096

// memory reads a cell in GiB. What it cannot be is said, and 0: not known.
func memory(cell string, unit float64, column string) (float64, string) {
	if found := quantity.FindStringSubmatch(strings.Trim(strings.TrimSpace(cell), "*`~")); found != nil {
		if unit = 1; strings.ToLower(found[2])[0] == 'm' {
			unit = 1. / 1024
		}
		cell = found[1]
	}
	n, kind := number(cell)
	switch {
	case kind == none || kind == endless || n == 0 && kind == value:
		return 0, ""
	case kind == junk || n < 0:
		return 0, fmt.Sprintf("%s %.40q is not read", column, cell)
	case unit == 0:
		return 0, unitless
	case n*unit > maxMemory:
		return 0, fmt.Sprintf("%s %.40q is not read: it cannot be in that unit", column, cell)
	}
	return n * unit, ""
}

var (
	hash   = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	inLink = regexp.MustCompile(`(?i)(?:/commit/|^\[)([0-9a-f]{4,64})\b`)
)

// commitOf reads a commit's hash, whole or abbreviated; fault says what stands
// there instead.
func commitOf(cell string) (hashed, fault string) {
	s := strings.Trim(strings.TrimSpace(cell), "`'\"*()<> ")
	if found := inLink.FindStringSubmatch(s); found != nil {
		s = found[1]
	}
	s = strings.ToLower(strings.Trim(s, "[]"))
	s, _, _ = strings.Cut(s, " ")
	s = strings.TrimRight(s, ".…,:")
	switch {
	case s == "" || s == "-" || s == "–" || s == "—" || s == "n/a" || s == "na" || s == "none" || s == "null" || s == "tbd" || s == "?" || strings.Trim(s, "0") == "":
		return "", "it names no commit"
	case hash.MatchString(s):
		return s, ""
	}
	if clean := strings.TrimRight(strings.TrimSuffix(s, "dirty"), "-+"); clean != s && hash.MatchString(clean) {
		return "", fmt.Sprintf("it ran on changes to %s that no commit holds", clean)
	}
	return "", fmt.Sprintf("its commit %.40q is not a hash", cell)
}

// baseline reports whether a row without a commit says that it is the start.
func baseline(commit, description string) bool {
	for _, s := range []string{commit, description} {
		first, _, _ := strings.Cut(name(s), "_")
		switch first {
		case "baseline", "base", "start", "initial", "init", "original", "origin", "unmodified", "unchanged", "vanilla", "default", "defaults":
			return true
		}
	}
	return false
}

// plainWords takes Markdown's marks and the quotes of a whole cell away.
func plainWords(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > 1 && s[0] == '\'' && s[len(s)-1] == '\'' {
		s = s[1 : len(s)-1]
	}
	return strings.ReplaceAll(s, `\|`, "|")
}
