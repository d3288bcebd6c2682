package llm

import (
	"regexp"
	"strings"
)

// Forms of an assignment. A line is read as one only where its meaning is
// plain: what is left over beside a value must be known words.
const (
	upperName = "[A-Z_][A-Z0-9_]*"
	anyName   = `[A-Za-z_]\w*(?:\.\w+)*` // where CONSTANTS stands above
)

// lineForms are the forms of lines that set constants of some names.
type lineForms struct{ assignment, moved, several *regexp.Regexp }

func formsOf(name string) lineForms {
	quoted := "[*_`\"']{0,3}(" + name + ")[*`\"']{0,3}(?:\\s*\\([^()=:>→\n]{0,40}\\))?\\s*"
	item := `^\s*(?:(?:[-*+•–]|\d{1,2}[.)])\s+)?`
	return lineForms{
		regexp.MustCompile(item + `(?:(?i:set|use|try)\s+)?` + quoted + `(?:(:)\s*(?:[A-Za-z_][\w.]*(?:\[[\w\[\], .]*\])?\s*)?=|(:=|<-|=>|=|:|->|→|⇒))[*_]{0,2}\s*(\S.*?)\s*$`),
		regexp.MustCompile(item + `(?:(?i:set|change|increase|decrease|raise|lower|reduce|adjust|update|move|bump|drop|double|halve|grow|shrink|cut|use)d?\s+)?(?:the\s+)?` +
			"[*_`\"']{0,3}(" + name + ")[*`\"']{0,3}" + `\s*(?:\(|:)?\s*((?:from\s+|to\s+)?\S.*?)\s*$`),
		regexp.MustCompile(`([,;]\s*(?:and\s+)?|\s+and\s+)` + "[*_`\"']{0,3}" + name + "[*`\"']{0,3}" + `\s*(?:=|:|from\s|to\s)\s*`),
	}
}

var inProse, inSection = formsOf(upperName), formsOf(anyName)

var (
	upper    = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	anyNamed = regexp.MustCompile(`^` + anyName + `$`)
	arrow    = regexp.MustCompile(`\s*(?:-{1,2}>|→|=>|⇒|⟶|➜|➔|⟹)\s*`)
	fromTo   = regexp.MustCompile(`^from\s+(\S.*?)\s+to\s+(\S.*)$`)
	toOnly   = regexp.MustCompile(`^to\s+(\S.*)$`)
	figure   = regexp.MustCompile(`^[+-]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?:\s*(?:\*\*|<<|\*|/)\s*\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)*`)
	bareWord = regexp.MustCompile(`^(?:[Tt]rue|[Ff]alse|[A-Za-z][A-Za-z0-9_]*)`)
	more     = regexp.MustCompile(`^(?:\s*,\s*[+-]?[\d.][\d_.eE+-]*)+`)
	aside    = regexp.MustCompile(`^\s*(?:#|//|--|–|—|\(|instead of\b|rather than\b|was\b|up from\b|down from\b|previously\b|because\b|since\b|for\b|as\b|so that\b|\[|[,;.]\s|[,;.]?$)`)
	keeps    = regexp.MustCompile(`(?i)\b(?:unchanged|keep|kept|same|current(?:ly)?|leave|do not|don't|no change|stays?|as is|default|not changed|already|existing|fixed)\b`)
	turns    = regexp.MustCompile(`(?i)\b(?:now|new|becomes?|change|changed|proposed|raise|lower|increase|decrease)\b`)
	percent  = regexp.MustCompile(`^\s*%`)
)

// assignments reads the constants that a line sets. sure: the line says
// nothing else, or is a remark on a constant that keeps its value. In a
// CONSTANTS section a value that is not understood is kept as it stands, so
// that the fault names it.
func assignments(line string, section bool) (all []setting, sure bool) {
	if len(line) > 4096 || !section && !strings.ContainsAny(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") {
		return nil, false
	}
	forms := inProse
	if section {
		forms = inSection
	}
	var parts []string
	for rest := line; ; {
		at := forms.several.FindStringSubmatchIndex(rest)
		if at == nil || !forms.assignment.MatchString(rest[:at[0]]) && !forms.moved.MatchString(rest[:at[0]]) {
			parts = append(parts, rest)
			break
		}
		parts, rest = append(parts, rest[:at[0]]), rest[at[3]:]
	}
	for _, part := range parts {
		s, ok := forms.assign(part, section)
		if !ok {
			return nil, false
		}
		if s.name != "" {
			all = append(all, s)
		}
	}
	return all, true
}

// assign reads NAME = VALUE in the ways in which models write it. A setting
// without a name is a remark that changes nothing.
func (f lineForms) assign(line string, section bool) (setting, bool) {
	line = strings.NewReplacer("−", "-", "\u00a0", " ", "“", `"`, "”", `"`, "‘", "'", "’", "'").Replace(line)
	if m := f.assignment.FindStringSubmatch(line); m != nil {
		s, plain, kept := value(m[4])
		switch s.name = m[1]; {
		case kept:
			return setting{}, true
		case plain:
			return s, true
		case section && upper.MatchString(s.name) && (m[3] == "=" || m[2] != "" || m[3] == ":=" || figure.MatchString(m[4])):
			return setting{name: m[1], text: strings.Trim(m[4], " \t`*,;")}, true
		}
		return setting{}, false
	}
	if m := f.moved.FindStringSubmatch(line); m != nil { // from 0.04 to 0.05
		text := strings.TrimSuffix(m[2], ")")
		if !fromTo.MatchString(text) && !toOnly.MatchString(text) && !arrow.MatchString(text) {
			return setting{}, false
		}
		if s, plain, _ := value(text); plain {
			s.name = m[1]
			return s, true
		}
	}
	return setting{}, false
}

// value reads the text of a value. plain: there is one and its meaning is
// clear; kept: the words say that it stays as it is.
func value(text string) (s setting, plain, kept bool) {
	text = strings.TrimSpace(text)
	if m := fromTo.FindStringSubmatch(text); m != nil {
		text = m[2]
	} else if m := toOnly.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	if q := text[:min(1, len(text))]; q != `"` && q != "'" {
		if all := arrow.FindAllStringIndex(text, -1); len(all) > 0 {
			text = strings.TrimSuffix(text[all[len(all)-1][1]:], ")")
		}
	}
	wrapped := ""
	for _, w := range []string{"**", "`", "__"} {
		if strings.HasPrefix(text, w) {
			wrapped, text = w, text[len(w):]
			break
		}
	}
	q := text[:min(1, len(text))]
	var rest string
	switch {
	case q == `"` || q == "'":
		end := strings.Index(text[1:], q)
		if end < 0 {
			return s, false, false
		}
		s, rest = setting{text: text[1 : 1+end], quoted: true}, text[2+end:]
	case q == "(" || q == "[":
		end := balanced(text)
		if end < 0 {
			return s, false, false
		}
		s, rest = setting{text: text[:end]}, text[end:]
	default:
		m := figure.FindString(text)
		if m == "" {
			if m = bareWord.FindString(text); m != "" && m != "True" && m != "true" && m != "False" && m != "false" && strings.Trim(text[len(m):], " \t`*_,;.") != "" {
				return s, false, stays.MatchString(text) // prose
			}
			if stays.MatchString(text) {
				return s, false, true
			}
		}
		if m == "" {
			return s, false, false
		}
		s, rest = setting{text: strings.TrimRight(m, " \t.")}, text[len(m):]
		if list := more.FindString(rest); list != "" { // a tuple without its brackets, or thousands
			s.text, rest = s.text+list, rest[len(list):]
		} else if p := percent.FindString(rest); p != "" {
			s.text, rest = s.text+"%", rest[len(p):]
		}
	}
	rest = strings.TrimRight(strings.TrimPrefix(rest, wrapped), " \t`*")
	switch {
	case rest == "":
		return s, true, false
	case keeps.MatchString(rest) && !(strings.HasPrefix(strings.TrimSpace(rest), "#") || strings.HasPrefix(strings.TrimSpace(rest), "(")):
		return s, false, keepsWhole.MatchString(rest)
	case keepsWhole.MatchString(rest):
		return s, false, true
	case strings.HasPrefix(strings.TrimSpace(rest), "(") && turns.MatchString(rest) && figure.MatchString(strings.TrimLeft(turns.ReplaceAllString(rest, ""), "( :to")):
		return s, false, false // 0.04 (now 0.05)
	case aside.MatchString(rest):
		return s, true, false
	}
	return s, false, false
}

// keepsWhole are remarks that say nothing but that a value stays.
var keepsWhole = regexp.MustCompile(`(?i)^[\s(#/,;–—-]*(?:(?:is |are |we |it |kept |keep |left |leave |the |this |value |at |for now|stays? |remains? |do not |don't |not )*)(?:unchanged|keep|kept|same|current(?:ly)?(?: value)?|leave|no change|as is|change|touch|changed|default|existing|fixed|already)\b`)

// stays are words that stand where a value would.
var stays = regexp.MustCompile(`(?i)^(?:keep|kept|unchanged|same|leave|no change|as is|stays?)\b`)

// balanced is where the bracket that a text begins with is closed; -1: nowhere.
func balanced(text string) int {
	depth := 0
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// table is what the head of a table says of its columns.
type table struct {
	cells       []string
	name, value int // columns; -1: unknown
	ruled       bool
	sure        bool // a column bears the name of new values
}

var (
	tableRule = regexp.MustCompile(`^[\s|:+-]+$`)
	nameHead  = regexp.MustCompile(`(?i)^(?:constants?|names?|(?:hyper)?-?param(?:eter)?s?|variables?|settings?|keys?)$`)
	newHead   = regexp.MustCompile(`(?i)^(?:(?:new|proposed|changed|updated|suggested|recommended|target)(?: values?| settings?)?|to|after|proposal|change to)$`)
	valueHead = regexp.MustCompile(`(?i)^(?:values?|settings?)$`)
)

// row reads a line of a table. row: it is one; its setting has no name where
// it sets nothing.
func (t *table) row(line string, section bool) (s setting, row, sure bool) {
	text := strings.TrimSpace(line)
	written := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "|"), "|"), "|")
	cells := make([]string, len(written))
	for i, c := range written {
		cells[i] = strings.Trim(c, "*`_ \t")
	}
	switch {
	case tableRule.MatchString(text) && len(t.cells) > 1:
		t.ruled = true
		return s, true, false
	case !t.ruled && (len(t.cells) == 0 || t.name < 0 || t.value < 0): // its head
		*t = table{cells: cells, name: -1, value: -1}
		for i, c := range cells {
			switch {
			case t.name < 0 && nameHead.MatchString(c):
				t.name = i
			case newHead.MatchString(c):
				t.value, t.sure = i, true
			case t.value < 0 && valueHead.MatchString(c):
				t.value = i
			}
		}
		if t.value < 0 && len(cells) == 2 {
			t.value = 1
		}
		return s, strings.HasPrefix(text, "|") || t.name >= 0 && t.value >= 0, false
	case t.name < 0:
		t.name = 0
	}
	if t.value < 0 || t.value == t.name || t.name >= len(cells) || t.value >= len(cells) || !anyNamed.MatchString(cells[t.name]) || !section && !upper.MatchString(cells[t.name]) {
		return s, true, false
	}
	one, plain, kept := value(written[t.value])
	one.name = cells[t.name]
	switch {
	case cells[t.value] == "" || cells[t.value] == "-" || cells[t.value] == "—" || kept || keepsWhole.MatchString(cells[t.value]):
		return s, true, false
	case !plain:
		return setting{name: one.name, text: cells[t.value]}, true, t.sure
	}
	return one, true, t.sure
}
