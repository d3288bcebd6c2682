package llm

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// errThoughts means that a reply never comes to its answer.
var errThoughts = errors.New("the reply ends within its reasoning: there is no answer after it")

// Names of the marks that models put around their reasoning, and of those
// around an answer. What stands between marks of another name is taken for
// reasoning too.
const (
	thoughtNames = `think(?:ing|er)?|thoughts?|thought[_-]process|reason(?:ing|s)?|reasoning[_-]\w+|scratch[_-]?pad|reflections?|reflect|analysis|monologue|inner[_-]\w+|internal[_-]?\w*|deliberation|brainstorm(?:ing)?|plan(?:ning)?|drafts?|notes?|cot|chain[_-]of[_-]thoughts?|rationale|critique|\w+[_-]think(?:ing)?`
	answerNames  = `answer|final|output|old|new|find|original|respon|proposal|result|reply|solution|edit|constant|change|patch|file|code|diff|search|replace|update|action|suggest|experiment|config|train|json|python|hyperparam|description|expect|block|pre|div|span|br|hr|p|b|i|ul|li|ol|table|tr|td|th|details|summary|em|strong`
)

var (
	thoughtMark = regexp.MustCompile(`(?i)<\|(?:(begin|start)|(end))_(?:of_)?(?:` + thoughtNames + `)\|>` +
		`|<\s*(/?)\s*(?:\w+:)?(?:` + thoughtNames + `)(?:\s[^<>\n]{0,200})?>` + // <think>, </seed:think>
		`|<\|?\s*(/?)(?:` + thoughtNames + `)\s*\|?>` + // <|think|>
		`|◁\s*(/?)\s*(?:` + thoughtNames + `)\s*▷` +
		`|(<unused94>)|(<unused95>)` +
		`|(<\|channel>\s*(?:thought|analysis))|(<channel\|>)` +
		`|(<details\b[^>\n]*reason[^>\n]*>|<details\b[^>\n]*>\s*<summary>[^<\n]*(?:think|thought|reason)[^<\n]*</summary>)|(</details>)`)
	bracketMark = regexp.MustCompile(`\[(/?)(?:THINK(?:ING)?|THOUGHTS?|REASON(?:ING)?|SCRATCHPAD|ANALYSIS|REFLECTION|DRAFT)\]`)
	otherMark   = regexp.MustCompile(`(?m)^[ \t]*<([A-Za-z][\w:.-]*)(?:\s[^<>\n]{0,200})?>`)
	answerName  = regexp.MustCompile(`(?i)^(?:\w+:)?(?:\w+[_-])?(?:` + answerNames + `)`)
	answerMark  = regexp.MustCompile(`(?i)<\s*((?:final[_ -]?)?(?:answer|response|output|proposal|reply))\s*>`)
	fields      = regexp.MustCompile(`(?im)^\s*<description>\s*([^<\n]*?)\s*</description>\s*$`)
	comment     = regexp.MustCompile(`(?s)<!--.*?-->`)
	harmony     = regexp.MustCompile(`<\|channel\|>\s*([a-z]+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>`)
	harmonyEnd  = regexp.MustCompile(`<\|(?:end|return|start|channel|call)\|>`)
	endMark     = regexp.MustCompile(`<\|(?:im_end|eot_id|endoftext|end_of_text|end|return|eom_id|im_start)\|>|<end_of_turn>|</s>|<｜end▁of▁sentence｜>|\[/INST\]`)
	startMark   = regexp.MustCompile(`^\s*(?:<\|(?:im_start|start_header_id)\|>\s*assistant\s*(?:<\|end_header_id\|>)?|<s>|<start_of_turn>\s*model|<｜Assistant｜>)`)
	spoken      = regexp.MustCompile(`(?is)^\s*(?:thinking\.\.\.\s*\n(.*?)\n?\s*\.\.\.\s*done thinking\.?|here is my thought process:(.*?)here is my response:)`)
	spokenOpen  = regexp.MustCompile(`(?i)^\s*(?:thinking\.\.\.\s*\n|here is my thought process:)`)
	unmarked    = regexp.MustCompile(`^\s*analysis[A-Z]`)
)

// answerOf is what a reply says after its reasoning, however that is marked.
func answerOf(text string) (string, error) {
	text = startMark.ReplaceAllString(text, "")
	if harmony.MatchString(text) { // gpt-oss
		return channels(text)
	}
	if unmarked.MatchString(text) { // the same, its marks taken out
		at := strings.LastIndex(text, "assistantfinal")
		if at < 0 {
			return "", errThoughts
		}
		text = text[at+len("assistantfinal"):]
	}
	if at := spoken.FindStringIndex(text); at != nil {
		text = text[at[1]:]
	} else if spokenOpen.MatchString(text) {
		return "", errThoughts
	}
	text, err := unthought(text)
	if err != nil {
		return "", err
	}
	guard := protected(text)
	for _, at := range endMark.FindAllStringIndex(text, -1) { // some go on after their end
		if !guard.holds(at[0]) && !spelled(text, at) {
			text = text[:at[0]]
			break
		}
	}
	if all := answerMark.FindAllStringSubmatchIndex(text, -1); len(all) > 0 {
		if at := all[len(all)-1]; !guard.holds(at[0]) && !spelled(text, at) {
			close := "</" + text[at[2]:at[3]] + ">"
			text = text[at[1]:]
			if end := strings.LastIndex(text, close); end >= 0 && !protected(text).holds(end) {
				text = text[:end]
			}
		}
	}
	text = fields.ReplaceAllString(text, "\nDESCRIPTION: $1\n")
	return text, nil
}

// channels is what stands in the final channel.
func channels(text string) (string, error) {
	var out strings.Builder
	found := false
	for _, at := range harmony.FindAllStringSubmatchIndex(text, -1) {
		if text[at[2]:at[3]] != "final" {
			continue
		}
		found = true
		rest := text[at[1]:]
		if end := harmonyEnd.FindStringIndex(rest); end != nil {
			rest = rest[:end[0]]
		}
		out.Reset() // the last one counts
		out.WriteString(rest)
	}
	if !found {
		return "", errThoughts
	}
	return out.String(), nil
}

// mark is a place where reasoning begins or ends.
type mark struct {
	start, end int
	opens      bool
}

// unthought takes out what stands between marks of reasoning. Marks nest; one
// that closes what nobody opened ends reasoning that began with the reply, as
// templates may open it; one that is never closed leaves no answer.
func unthought(text string) (string, error) {
	text = outside(text, comment)
	var marks []mark
	for _, at := range thoughtMark.FindAllStringSubmatchIndex(text, -1) {
		marks = append(marks, mark{at[0], at[1], opening(text, at)})
	}
	for _, at := range bracketMark.FindAllStringSubmatchIndex(text, -1) {
		marks = append(marks, mark{at[0], at[1], at[2] == at[3]})
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.start, b.start) })
	guard := protected(text)
	var out strings.Builder
	depth, from := 0, 0
	for _, m := range marks {
		switch details := strings.HasPrefix(text[m.start:], "</details"); {
		case spelled(text, []int{m.start, m.end}) || depth == 0 && guard.holds(m.start) || depth == 0 && details:
		case m.opens:
			if depth == 0 {
				out.WriteString(text[from:m.start])
			}
			depth++
		case depth == 0:
			out.Reset()
			from = m.end
		default:
			if depth--; depth == 0 {
				from = m.end
			}
		}
	}
	if depth > 0 {
		return "", errThoughts
	}
	out.WriteString(text[from:])
	return unknown(out.String()), nil
}

// unknown takes out what stands between other marks at the beginning of lines.
func unknown(text string) string {
	guard := protected(text)
	const most = 100 // marks that are looked at
	for at, n := 0, 0; at < len(text) && n < most; {
		m := otherMark.FindStringSubmatchIndex(text[at:])
		if m == nil {
			break
		}
		name, start, end := text[at+m[2]:at+m[3]], at+m[0], at+m[1]
		at = end
		if n++; guard.holds(start) || answerName.MatchString(name) {
			continue
		}
		close := "</" + name + ">"
		if length := strings.Index(text[end:], close); length >= 0 {
			text = text[:start] + text[end+length+len(close):]
			guard, at = protected(text), start
		}
	}
	return text
}

// outside takes out what an expression matches outside of edits and fences.
func outside(text string, what *regexp.Regexp) string {
	guard := protected(text)
	var out strings.Builder
	from := 0
	for _, at := range what.FindAllStringIndex(text, -1) {
		if !guard.holds(at[0]) {
			out.WriteString(text[from:at[0]])
			from = at[1]
		}
	}
	return out.String() + text[from:]
}

// opening reads the groups of thoughtMark: which of them matched, and with a slash or not.
func opening(text string, at []int) bool {
	for group, side := range []byte{'o', 'c', '/', '/', '/', 'o', 'c', 'o', 'c', 'o', 'c'} {
		start, end := at[2*group+2], at[2*group+3]
		if start < 0 {
			continue
		}
		if side == '/' {
			return start == end
		}
		return side == 'o'
	}
	return true
}

// spelled reports whether a mark is only spoken of: it stands between quotes.
func spelled(text string, at []int) bool {
	quote := func(i int) bool { return i >= 0 && i < len(text) && strings.IndexByte("\"'`", text[i]) >= 0 }
	return quote(at[0]-1) && quote(at[1])
}

// spans are parts of a text, in order.
type spans [][2]int

func (s spans) holds(at int) bool {
	i, found := slices.BinarySearchFunc(s, at, func(p [2]int, at int) int { return cmp.Compare(p[0], at) })
	return found || i > 0 && at < s[i-1][1]
}

// protected are the edit blocks and the fences with Python in a reply: what
// looks like a mark there is code.
func protected(text string) spans {
	var out spans
	at, block, fence := 0, -1, -1
	ticks, python := "", false
	for line := range strings.Lines(text) {
		bare := strings.TrimRight(line, "\n")
		switch m := fenceMark.FindStringSubmatch(bare); {
		case searchMark.MatchString(bare):
			block = at
		case block >= 0 && replaceMark.MatchString(bare):
			out = append(out, [2]int{block, at + len(line)})
			block = -1
		case block >= 0:
		case m != nil && fence < 0:
			fence, ticks, python = at, m[1], strings.HasPrefix(strings.ToLower(m[2]), "py")
		case m != nil && strings.HasPrefix(m[1], ticks) && m[2] == "":
			if python {
				out = append(out, [2]int{fence, at + len(line)})
			}
			fence = -1
		}
		at += len(line)
	}
	return out
}
