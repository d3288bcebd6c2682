package llm

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Faults of replies that do not say clearly what is to run.
var (
	errSeveral = errors.New("the reply holds several proposals that differ: reply with the final one alone")
	errTaken   = errors.New("the reply takes its proposal back: reply with the final one alone")
	errDraft   = errors.New("the reply marks its only proposal as a draft, or as what is there now: reply with the final one alone")
)

// kind says what a heading makes of what follows it.
type kind int

const (
	normal kind = iota
	thought
	draft
)

// section is a part of a reply up to the next heading, label or change of mind.
type section struct {
	kind  kind
	cut   bool // what stands before it counts no more
	mind  bool // it begins with a change of mind
	lines []string
}

// read is what a section proposes.
func (s section) read() (answer, error) {
	text := strings.Join(s.lines, "\n")
	a, found, err := parseJSON(text)
	if err != nil {
		return a, err
	}
	b, err := parseBlocks(text)
	if !found {
		return b, err
	}
	a.description, a.expect = first(a.description, b.description), first(a.expect, b.expect)
	return a, nil
}

var (
	finalHead   = regexp.MustCompile(`(?i)^[\s#*_\-\d.()>]*(?:so,? |and |thus |my |the |here(?:'s| is) (?:my |the )?)*(?:final|revised|corrected|definitive|chosen)(?: \w+){0,2}\s*[:*_#\s]*$|^[\s#*_]*(?:answer|my answer|response|proposal|conclusion)\s*(?::[*_\s]*|\*\*\s*)$|^\s*#{1,6}\s*(?:answer|response|proposal|conclusion)\s*$`)
	thoughtHead = regexp.MustCompile(`(?i)^[\s#*_\-\d.()>]*(?:my |some |step \d+:? )*(?:thinking|thoughts?|thought process|reasoning|analysis|brainstorm(?:ing)?|rationale|ideas?)\s*[:*_\s]*$`)
	draftHead   = regexp.MustCompile(`(?i)^[\s#*_\-\d.()>]*(?:my |the |a )*(?:scratch ?pad|(?:first |initial |rough )?drafts?(?: \w+)?|(?:first|initial) (?:attempt|try|idea|proposal|thought)|(?:rejected|discarded|considered|alternatives?)(?: \w+)?|old|before|previous(?:ly)?|current(?:ly)?|existing|baseline|original|current values?|current settings?|(?:old|previous|existing|original|baseline) (?:values?|settings?|constants?|config\w*)|current (?:constants?|config\w*|state))\s*[:*_\s]*$`)
	changeHead  = regexp.MustCompile(`(?i)^[\s#*_\-\d.()>]*(?:my |the |and )*(?:(?:new|proposed|updated|improved|better|suggested|changed) (?:answer|proposal|version|values?|settings?|constants?|config\w*|suggestion)|new|after|proposed|proposed change)\s*[:*_\s]*$`)
	optionHead  = regexp.MustCompile(`(?i)^[\s#*_\-()>]*(?:option|proposal|alternative|attempt|candidate|idea|version|variant)\s*#?(?:\d+|[A-E])\b[^=\n]{0,60}$`)
	headed      = regexp.MustCompile(`[:*]\s*$|^\s*#`)
	mindChanged = regexp.MustCompile(`(?i)^[\s*_>(-]*(?:but |oh,? |no,? |hmm+,?\.* |ok,? |okay,? |so )*(?:wait\b|hold on\b|actually,? (?:no\b|wait\b|that|this|let me|let's|i\b|scratch|instead|a better|better|maybe|it)|on second thoughts?\b|scratch that|strike that|never ?mind|let me (?:revise|reconsider|rethink|redo|correct|fix that|try again|think again|change)|hmm\b|correction\b|(?:ignore|forget|disregard|discard|drop) (?:that|this|it|the above|my|the (?:previous|first))|instead,? (?:i|let|of that|of the above)|no,? (?:too|that|this|it|wait|leave|not)|leave it\b|i(?:'ll| will) (?:instead|revise)|(?:that|this|which) (?:is|was|would be) (?:too|wrong|not)|too (?:slow|big|large|deep|much|risky)\b)`)
)

// final is the one proposal of a reply. Of several, the last counts if the
// reply says so; else none does.
func final(text string) (answer, error) {
	type proposal struct {
		at   int
		kind kind
		answer
	}
	sections := split(text)
	var all []proposal
	description, expect, last := "", "", -1
	for i, s := range sections {
		a, err := s.read()
		if err != nil {
			return answer{}, err
		}
		if s.mind {
			last = i
		}
		lone := !slices.ContainsFunc(all, func(p proposal) bool { return p.kind == normal })
		switch {
		case a.proposes():
			if lone {
				a.description, a.expect = first(a.description, description), first(a.expect, expect)
			}
			all = append(all, proposal{i, s.kind, a})
		case lone:
			description, expect = first(a.description, description), first(a.expect, expect)
		}
	}
	whole := slices.ContainsFunc(all, func(p proposal) bool { return !p.loose })
	all = slices.DeleteFunc(all, func(p proposal) bool { return whole && p.loose && p.kind != draft })
	if len(all) == 0 {
		if hunk.MatchString(text) {
			return answer{}, errors.New("the reply is a unified diff that cannot be read: write SEARCH/REPLACE blocks instead")
		}
		return answer{}, fmt.Errorf("%w; it begins %s", errProse, inline(text, 80))
	}
	if last > all[len(all)-1].at {
		return answer{}, errTaken
	}
	for i := all[len(all)-1].at; i > 0; i-- {
		if sections[i].cut {
			all = slices.DeleteFunc(all, func(p proposal) bool { return p.at < i })
			break
		}
	}
	for _, k := range []kind{draft, thought} {
		if slices.ContainsFunc(all, func(p proposal) bool { return p.kind < k }) {
			all = slices.DeleteFunc(all, func(p proposal) bool { return p.kind == k })
		}
		if k == draft && !slices.ContainsFunc(all, func(p proposal) bool { return p.kind != draft }) {
			return answer{}, errDraft
		}
	}
	a := all[0].answer
	for _, p := range all[1:] {
		switch {
		case p.same(&a):
		case len(p.constants) == 0 && p.file == "" && p.description == "" && sections[p.at].kind == normal && !optionHead.MatchString(sections[p.at].lines[0]):
			a.edits = append(a.edits, p.edits...)
		default:
			return answer{}, errSeveral
		}
	}
	return a, nil
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// split cuts a reply where another proposal may begin. Edit blocks and fences
// stay whole; a fence that is named for thoughts is left out.
func split(text string) []section {
	all := strings.Split(text, "\n")
	out := []section{{}}
	now := &out[0]
	described, listed := false, false
	begin := func(k kind, cut, mind bool) {
		if !blank(now.lines) || now.kind != normal || now.cut {
			out = append(out, section{})
			now = &out[len(out)-1]
		}
		now.kind, now.cut, now.mind = k, now.cut || cut, mind
		described, listed = false, false
	}
	fence := ""
	for i := 0; i < len(all); i++ {
		line := all[i]
		if searchMark.MatchString(line) {
			if end := closing(all, i+1); end > 0 {
				now.lines = append(now.lines, all[i:end+1]...)
				i = end
				continue
			}
		}
		if m := fenceMark.FindStringSubmatch(line); m != nil {
			switch {
			case fence == "" && thoughtFence.MatchString(m[2]):
				for i++; i < len(all); i++ {
					if e := fenceMark.FindStringSubmatch(all[i]); e != nil && strings.HasPrefix(e[1], m[1]) && e[2] == "" {
						break
					}
				}
				continue
			case fence == "" && !labelled(all[i+1:]):
				fence = m[1]
			case fence != "" && strings.HasPrefix(m[1], fence) && m[2] == "":
				fence = ""
			}
			now.lines = append(now.lines, line)
			continue
		}
		if fence != "" {
			now.lines = append(now.lines, line)
			continue
		}
		m := label.FindStringSubmatch(line)
		key := ""
		if m != nil {
			key = strings.ToLower(m[1])
		} else if constHead.MatchString(line) {
			key = "constants"
		}
		switch {
		case key == "description" || key == "summary":
			if described || now.kind != normal || listed {
				begin(normal, false, false)
			}
			described = true
		case key == "constants":
			if listed {
				begin(normal, false, false)
				described = true
			}
			listed = true
		case key != "":
		case finalHead.MatchString(line):
			begin(normal, true, false)
		case thoughtHead.MatchString(line) && headed.MatchString(line):
			begin(thought, false, false)
		case draftHead.MatchString(line) && headed.MatchString(line):
			begin(draft, false, false)
		case changeHead.MatchString(line) && headed.MatchString(line) && now.kind != normal:
			begin(normal, false, false)
		case optionHead.MatchString(line) && headed.MatchString(line):
			begin(normal, false, false)
		case mindChanged.MatchString(line):
			begin(normal, true, true)
		}
		now.lines = append(now.lines, line)
	}
	return out
}

var thoughtFence = regexp.MustCompile(`(?i)^(?:` + thoughtNames + `)\b`)

// labelled reports whether a fence begins with a label: then it holds the
// reply itself, and no code.
func labelled(all []string) bool {
	for _, line := range all {
		if strings.TrimSpace(line) != "" {
			return label.MatchString(line) || constHead.MatchString(line)
		}
	}
	return false
}

// closing is the line that closes an edit block; 0: none does.
func closing(all []string, i int) int {
	for ; i < len(all); i++ {
		switch {
		case replaceMark.MatchString(all[i]):
			return i
		case searchMark.MatchString(all[i]):
			return 0
		}
	}
	return 0
}
