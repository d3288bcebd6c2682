package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"autoresearchd/search/llm/loose"
)

// Limits on what a reply may hold.
const (
	maxReply     = 512 << 10 // bytes of a reply
	maxEdits     = 60        // edit blocks of a reply
	maxEditBytes = 128 << 10 // of all edit blocks together
	maxSource    = 256 << 10 // bytes of a train.py
	maxConstants = 100       // constants that a reply sets
)

// answer is what a reply proposes; nothing of it has been checked.
type answer struct {
	description string
	expect      string
	constants   []setting
	edits       []edit
	file        string // a whole train.py; empty: none
	loose       bool   // its constants stood in prose
}

// proposes reports whether there is anything to try.
func (a *answer) proposes() bool { return len(a.constants)+len(a.edits) > 0 || a.file != "" }

// same reports whether two answers propose the same.
func (a *answer) same(b *answer) bool {
	return slices.Equal(a.constants, b.constants) && slices.Equal(a.edits, b.edits) && a.file == b.file
}

// setting is a constant with the text of its new value.
type setting struct {
	name, text string
	quoted     bool // text is what stood between quotation marks
}

// edit replaces one piece of train.py.
type edit struct{ search, replace string }

var (
	searchMark  = regexp.MustCompile(`^ {0,3}(?:<{5,9}\s*([^<]*)|-{5,9} ?(?i:search|original)(?: .*)?)$`)
	middleMark  = regexp.MustCompile(`^ {0,3}={5,9}\s*$`)
	replaceMark = regexp.MustCompile(`^ {0,3}(?:>{5,9}(?:\s*(?i:replace|updated|new|end).*)?|\+{5,9} ?(?i:replace|updated).*)\s*$`)
	fenceMark   = regexp.MustCompile("^\\s{0,3}(`{3,}|~{3,})\\s*([^`]*)$")
	label       = regexp.MustCompile(`^[\s*#>_-]*(?i:(description|summary|expect(?:ed|ation)?(?: effect)?|constants|file|full file))[*_]*\s*:\s*[*_]*\s*(.*?)\s*$`)
	constHead   = regexp.MustCompile(`^\s{0,3}(?:#{1,6}\s*|\*\*|__|\[)?(?:CONSTANTS|(?i:constants))(?:\*\*|__|\])?\s*$`)
	pathLine    = regexp.MustCompile("^[\\s*#`\"']*(?i:(?:file|path|edit)\\s*:\\s*)?[*`\"']*([\\w.~/\\\\-]*\\.[A-Za-z]{1,6})[*`\"':\\s]*$")
	pathWord    = regexp.MustCompile(`[\w.~/\\-]*\.[A-Za-z]{1,6}\b`)
	hunk        = regexp.MustCompile(`(?m)^(@@ -\d|--- a/|diff --git )`)
)

// errProse means that a reply proposes nothing that can be applied.
var errProse = errors.New("the reply holds neither CONSTANTS nor an edit block nor a whole file")

// parse reads a reply, however it is dressed: with prose around it, in fences,
// in blocks or as JSON. It does not apply anything.
func parse(reply string) (answer, error) {
	if len(reply) > maxReply {
		return answer{}, fmt.Errorf("the reply is %d bytes long, at most %d are read", len(reply), maxReply)
	}
	text, err := body(reply)
	if err != nil {
		return answer{}, err
	}
	a, err := final(text)
	if err != nil {
		return answer{}, err
	}
	size := 0
	for _, e := range a.edits {
		size += len(e.search) + len(e.replace)
	}
	switch {
	case len(a.edits) > maxEdits:
		return answer{}, fmt.Errorf("the reply has %d edit blocks, at most %d are taken: propose one idea", len(a.edits), maxEdits)
	case size > maxEditBytes:
		return answer{}, fmt.Errorf("the edit blocks are %d bytes long together, at most %d are taken: propose one idea", size, maxEditBytes)
	case len(a.constants) > maxConstants:
		return answer{}, fmt.Errorf("the reply sets %d constants, at most %d are taken", len(a.constants), maxConstants)
	case a.file != "" && elidedFile(a.file) != "":
		return answer{}, fmt.Errorf("the file leaves lines out, with %s: write it whole, or use edits", inline(elidedFile(a.file), 60))
	case len(a.file) > maxSource:
		return answer{}, fmt.Errorf("the file is %d bytes long, a train.py may have %d", len(a.file), maxSource)
	}
	a.description, a.expect = oneLine(a.description, 200), oneLine(a.expect, 300)
	return a, nil
}

// elidedFile is a line of a file that stands for others; "" if there is none.
func elidedFile(file string) string {
	for line := range strings.Lines(file) {
		if strings.Contains(line, "#") && elided.MatchString(strings.TrimRight(line, "\n")) { // a bare ... is Python
			return line
		}
	}
	return ""
}

// body is what a reply says after its reasoning, with its edits in one form.
func body(reply string) (string, error) {
	text, err := answerOf(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(strings.ToValidUTF8(reply, "\ufffd"), "\ufeff")))
	if err != nil {
		return "", err
	}
	return dialects(text)
}

// onlyTrain refuses every file but train.py.
func onlyTrain(name string) error {
	name = strings.Trim(name, "`\"' ")
	if clean := path.Clean(strings.ReplaceAll(name, `\`, "/")); name == "" || clean == "train.py" {
		return nil
	}
	return fmt.Errorf("the reply edits %s: only train.py may be changed", inline(name, 80))
}

// parseJSON reads a reply that is a JSON object, alone or in a fence.
func parseJSON(text string) (a answer, found bool, err error) {
	for _, piece := range jsonPieces(text) {
		raw, ok := jsonObject(piece)
		if !ok {
			continue
		}
		one, ok, err := fromJSON(raw)
		switch {
		case err != nil:
			return one, true, err
		case ok && found && !one.same(&a):
			return a, true, errSeveral
		case ok:
			a, found = one, true
		}
	}
	return a, found, nil
}

// jsonObject reads an object, with the liberties that models take: Python's
// tuples are arrays.
func jsonObject(piece string) (map[string]json.RawMessage, bool) {
	var raw map[string]json.RawMessage
	if json.Unmarshal([]byte(piece), &raw) == nil {
		return raw, true
	}
	plain := loose.JSON([]byte(piece))
	if json.Unmarshal(plain, &raw) == nil {
		return raw, true
	}
	plain = loose.JSON([]byte(strings.NewReplacer("(", "[", ")", "]").Replace(piece)))
	return raw, json.Unmarshal(plain, &raw) == nil
}

// jsonPieces are the parts of a reply that may be a JSON object: the whole,
// the content of a fence, lines from one that opens to one that closes.
func jsonPieces(text string) []string {
	pieces := []string{strings.TrimSpace(text)}
	var inside, bare []string
	fence := ""
	for line := range strings.Lines(text) {
		m := fenceMark.FindStringSubmatch(strings.TrimRight(line, "\n"))
		switch {
		case fence == "" && m != nil:
			fence, inside = m[1], nil
		case fence != "" && m != nil && strings.HasPrefix(m[1], fence) && m[2] == "":
			pieces = append(pieces, strings.TrimSpace(strings.Join(inside, "")))
			fence = ""
		case fence != "":
			inside = append(inside, line)
		case strings.HasPrefix(line, "{") || len(bare) > 0:
			if bare = append(bare, line); strings.HasPrefix(line, "}") || len(bare) == 1 && strings.HasSuffix(strings.TrimSpace(line), "}") {
				pieces = append(pieces, strings.TrimSpace(strings.Join(bare, "")))
				bare = nil
			}
		}
	}
	out := pieces[:0]
	for i, p := range pieces {
		if strings.HasPrefix(p, "{") && strings.HasSuffix(p, "}") && (i == 0 || p != pieces[0]) {
			out = append(out, p)
		}
	}
	return out
}

func fromJSON(raw map[string]json.RawMessage) (a answer, found bool, err error) {
	text := func(keys ...string) string {
		for _, k := range keys {
			var s string
			if json.Unmarshal(raw[k], &s) == nil && s != "" {
				return s
			}
		}
		return ""
	}
	a.description = text("description", "summary")
	a.expect = text("expect", "expected_effect", "expected", "expectation")
	a.file = lines(text("file", "source", "train.py", "full_file"))
	if a.file == "train.py" { // the name, not the content
		a.file = ""
	} else if a.file != "" && !strings.Contains(a.file, "\n") {
		if err := onlyTrain(a.file); err != nil {
			return a, true, err
		}
	}
	if err := onlyTrain(text("path", "filename")); err != nil {
		return a, true, err
	}
	if a.constants, err = jsonConstants(raw); err != nil {
		return a, true, err
	}
	var edits []map[string]json.RawMessage
	if r, ok := raw["edits"]; ok && json.Unmarshal(r, &edits) != nil {
		return a, true, errors.New("edits is not an array of objects with search and replace")
	}
	for i, e := range edits {
		field := func(keys ...string) (string, bool) {
			for _, k := range keys {
				var s string
				if r, ok := e[k]; ok && json.Unmarshal(r, &s) == nil {
					return s, true
				}
			}
			return "", false
		}
		search, ok1 := field("search", "Search", "old", "old_str", "old_string", "find", "original", "before")
		replace, ok2 := field("replace", "Replace", "new", "new_str", "new_string", "replacement", "updated", "after")
		if !ok1 || !ok2 {
			return a, true, fmt.Errorf("edit %d is not an object with search and replace", i+1)
		}
		for _, key := range []string{"file", "path", "filename", "File", "Path"} {
			name, _ := field(key)
			if err := onlyTrain(name); err != nil {
				return a, true, err
			}
		}
		a.edits = append(a.edits, edit{lines(search), lines(replace)})
	}
	return a, len(a.constants)+len(a.edits) > 0 || a.file != "", nil
}

// jsonConstants reads the constants of a JSON reply: an object of names and
// values, a list of such, or the reply's own fields where their names are
// those of constants.
func jsonConstants(raw map[string]json.RawMessage) ([]setting, error) {
	values := map[string]json.RawMessage{}
	for _, key := range []string{"constants", "CONSTANTS", "Constants", "hyperparameters", "parameters", "params", "values", "settings", "changes", "updates", "config"} {
		r, ok := raw[key]
		if !ok || string(r) == "null" {
			continue
		}
		var list []map[string]json.RawMessage
		switch {
		case json.Unmarshal(r, &values) == nil:
		case json.Unmarshal(r, &list) == nil:
			for _, e := range list {
				var name string
				for _, k := range []string{"name", "constant", "key", "parameter", "param"} {
					if json.Unmarshal(e[k], &name) == nil && name != "" {
						break
					}
				}
				if name == "" && len(e) == 1 { // [{"DEPTH": 9}]
					for k, v := range e {
						values[k] = v
					}
					continue
				}
				v := news(e)
				if _, twice := values[name]; name == "" || v == nil || twice {
					return nil, fmt.Errorf("%s is not a list of objects with name and value, each name once", key)
				}
				values[name] = v
			}
		default:
			return nil, fmt.Errorf("%s is not an object of names and values", key)
		}
		break
	}
	if len(values) == 0 {
		for name, v := range raw {
			if upper.MatchString(name) && name != "CONSTANTS" {
				values[name] = v
			}
		}
	}
	var out []setting
	for _, name := range sortedKeys(values) {
		v := values[name]
		var object map[string]json.RawMessage
		if json.Unmarshal(v, &object) == nil && object != nil { // {"old": 8, "new": 9}
			if v = news(object); v == nil {
				return nil, fmt.Errorf("constants: %s is an object: give its new value", inline(name, 60))
			}
		}
		s := setting{name: name, text: string(v)}
		var quoted string
		if json.Unmarshal(v, &quoted) == nil && strings.HasPrefix(s.text, `"`) {
			s.text, s.quoted = quoted, true
			if one, plain, _ := value(quoted); plain { // "0.04 -> 0.05"
				s = setting{name, one.text, true}
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// news is the new value in an object that tells of a change; nil: none.
func news(e map[string]json.RawMessage) json.RawMessage {
	for _, k := range []string{"new", "new_value", "to", "after", "proposed", "value"} {
		if v, ok := e[k]; ok {
			return v
		}
	}
	return nil
}

func lines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// parseBlocks reads a reply that is written in lines.
func parseBlocks(text string) (answer, error) {
	var a answer
	var prose []setting // assignments outside of a CONSTANTS section
	var columns table
	var whole [][]string // contents of fences that look like a train.py
	var named, fenced string
	var inside []string
	fence, constants, wanted := "", false, false
	all := strings.Split(text, "\n")
	for i := 0; i < len(all); i++ {
		line := all[i]
		if m := searchMark.FindStringSubmatch(line); m != nil {
			for _, name := range append(pathWord.FindAllString(m[1], 1), named) {
				if err := onlyTrain(name); err != nil {
					return a, err
				}
			}
			e, next, err := block(all, i+1, fence != "")
			if err != nil {
				return a, fmt.Errorf("edit block %d: %w", len(a.edits)+1, err)
			}
			a.edits = append(a.edits, e)
			i, constants, inside = next, false, nil
			if next >= len(all) {
				fence = "" // it closed the block
			}
			continue
		}
		if m := fenceMark.FindStringSubmatch(line); m != nil {
			switch {
			case fence == "":
				fence, inside, fenced = m[1], nil, named
				constants = constants && len(a.constants) == 0
				if name := pathWord.FindString(m[2]); name != "" {
					fenced, named = name, name
				}
			case strings.HasPrefix(m[1], fence) && m[2] == "":
				if wanted || looksWhole(inside) {
					if err := onlyTrain(fenced); err != nil {
						return a, err
					}
					whole = append(whole, inside)
				} else if err := onlyTrain(fenced); err != nil && len(inside) > 0 {
					return a, err
				}
				fence, inside, wanted, named = "", nil, false, ""
			default:
				inside = append(inside, line)
			}
			continue
		}
		if fence != "" {
			inside = append(inside, line)
		}
		if constHead.MatchString(line) {
			constants, columns = true, table{}
			continue
		}
		if fence == "" || len(inside) < 12 {
			if m := label.FindStringSubmatch(line); m != nil {
				key := strings.ToLower(m[1])
				constants = key == "constants"
				switch {
				case (key == "description" || key == "summary") && a.description == "":
					a.description = m[2]
				case strings.HasPrefix(key, "expect") && a.expect == "":
					a.expect = m[2]
				case key == "file" || key == "full file":
					wanted, named = true, m[2]
					if m[2] != "" && pathLine.MatchString(m[2]) {
						if err := onlyTrain(m[2]); err != nil {
							return a, err
						}
					}
				}
				if !constants || m[2] == "" {
					continue
				}
				line = m[2]
				if raw, ok := jsonObject(line); ok {
					all, err := jsonConstants(raw)
					if err != nil {
						return a, err
					}
					a.constants = append(a.constants, all...)
					continue
				}
			}
		}
		if m := pathLine.FindStringSubmatch(line); m != nil && fence == "" {
			named = m[1]
			continue
		}
		if strings.Contains(line, "|") {
			if s, row, sure := columns.row(line, constants); row {
				if s.name != "" && constants {
					a.constants = append(a.constants, s)
				} else if s.name != "" && sure {
					prose = append(prose, s)
				}
				continue
			}
		} else {
			columns = table{}
		}
		switch all, sure := assignments(line, constants); {
		case len(all) > 0 && constants:
			a.constants = append(a.constants, all...)
		case len(all) > 0 && sure:
			prose = append(prose, all...)
		case len(all) == 0 && !sure && strings.TrimSpace(line) != "" && fence == "":
			constants, named = false, ""
		}
	}
	if fence != "" && (wanted || looksWhole(inside)) {
		return a, errors.New("the file is cut off: its fence is not closed")
	}
	if len(whole) > 0 {
		a.file = strings.TrimRight(strings.Join(whole[len(whole)-1], "\n"), "\n") + "\n"
	}
	if !a.proposes() && len(prose) == 0 {
		prose, _ = assignments(a.description, false)
	}
	if !a.proposes() {
		a.constants, a.loose = prose, true
	}
	return a, nil
}

// looksWhole reports whether the content of a fence is a train.py.
func looksWhole(inside []string) bool {
	return len(inside) >= 5 && strings.Contains(strings.Join(inside, "\n"), "evaluate_bpb(")
}

// block reads an edit block from its first line of search text on. In a fence,
// the fence's end closes it too.
func block(all []string, i int, fenced bool) (e edit, end int, err error) {
	var search, replace []string
	at := &search
	closed := func(end int) (edit, int, error) {
		return edit{strings.Join(search, "\n"), strings.Join(replace, "\n")}, end, nil
	}
	for ; i < len(all); i++ {
		switch line := all[i]; {
		case at == &search && middleMark.MatchString(line):
			at = &replace
		case at == &replace && replaceMark.MatchString(line):
			return closed(i)
		case searchMark.MatchString(line):
			return e, i, errors.New("another block begins before it is closed")
		case at == &replace && fenced && fenceMark.MatchString(line) && blank(all[i+1:]):
			return closed(len(all))
		default:
			*at = append(*at, line)
		}
	}
	return e, i, errors.New("it is cut off: there is no >>>>>>> REPLACE")
}

func blank(all []string) bool {
	return !slices.ContainsFunc(all, func(s string) bool { return strings.TrimSpace(s) != "" })
}

// oneLine makes a line for people of what a model wrote.
func oneLine(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, r == '\t', r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(strings.Trim(s, "*_` ")), " ")
	return cut(s, limit)
}

// cut shortens s to a number of bytes, at a rune.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	limit -= len("…")
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:max(limit, 0)] + "…"
}

// inline quotes text on one line.
func inline(s string, limit int) string { return strconv.Quote(cut(oneLine(s, 4*limit), limit)) }
