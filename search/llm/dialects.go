package llm

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	tagged = regexp.MustCompile(`(?is)<(?:search|find|old|original|old_str(?:ing)?|old_code)>[ \t]*\n?(.*?)\n?[ \t]*</(?:search|find|old|original|old_str(?:ing)?|old_code)>\s*<(?:replace(?:ment)?|new|updated|new_str(?:ing)?|new_code)>[ \t]*\n?(.*?)\n?[ \t]*</(?:replace(?:ment)?|new|updated|new_str(?:ing)?|new_code)>`)
	pairs  = regexp.MustCompile("(?ims)^[\\s#*_]*(?:search|find|old|original|before|old code)(?: text| lines)?[\\s:*_]*\\n\\s*```[^\\n]*\\n(.*?)\\n```[ \\t]*\\n[\\s#*_]*(?:replace(?: with)?|replacement|new|updated|after|new code)(?: text| lines)?[\\s:*_]*\\n\\s*```[^\\n]*\\n(.*?)\\n?```[ \\t]*$")

	hunkHead  = regexp.MustCompile(`^@@`)
	oldName   = regexp.MustCompile(`^--- +(?:a/)?(\S+)`)
	newName   = regexp.MustCompile(`^\+\+\+ +(?:b/)?(\S+)`)
	patchName = regexp.MustCompile(`^\*\*\* (?:(Update|Add|Delete) File|Move to): *(.*?)\s*$`)
	patchEdge = regexp.MustCompile(`^\*\*\* (?:Begin Patch|End Patch|End of File)`)
	gitHead   = regexp.MustCompile(`^(?:diff --git |index [0-9a-f]|old mode|new mode|similarity index|rename )`)
)

// dialects rewrites edits that are written in other ways as SEARCH/REPLACE
// blocks: unified diffs, whose line numbers are not believed, the patches of
// agents, pairs of tags and pairs of fences.
func dialects(text string) (string, error) {
	guard := protected(text)
	if !strings.Contains(text, "<<<<<") {
		for _, form := range []*regexp.Regexp{tagged, pairs} {
			text = form.ReplaceAllStringFunc(text, func(s string) string {
				m := form.FindStringSubmatch(s)
				return "\n" + blockOf("", m[1], m[2])
			})
		}
		guard = protected(text)
	}
	var out []string
	all := strings.Split(text, "\n")
	var h *hunkLines
	name, fence, found := "", "", 0
	at := 0
	end := func() error {
		if h == nil {
			return nil
		}
		b, err := h.block(name)
		h = nil
		if err != nil {
			return fmt.Errorf("hunk %d of the diff: %w", found, err)
		}
		out = append(out, b...)
		return nil
	}
	for i, line := range all {
		begin := at
		at += len(line) + 1
		m := fenceMark.FindStringSubmatch(line)
		next := ""
		if i+1 < len(all) {
			next = all[i+1]
		}
		switch {
		case guard.holds(begin) && h == nil && fence == "":
			out = append(out, line)
		case m != nil && fence == "" && h == nil:
			fence = m[1]
			out = append(out, line)
			if info := strings.ToLower(strings.TrimSpace(m[2])); (info == "diff" || info == "patch") && !headedDiff(all[i+1:]) {
				h, found = &hunkLines{}, found+1
			}
		case m != nil && fence != "" && strings.HasPrefix(m[1], fence) && m[2] == "":
			if err := end(); err != nil {
				return "", err
			}
			fence = ""
			out = append(out, line)
		case gitHead.MatchString(line) && (h != nil || strings.HasPrefix(line, "diff --git ")), patchEdge.MatchString(line):
			if err := end(); err != nil {
				return "", err
			}
		case oldName.MatchString(line) && newName.MatchString(next):
			if err := end(); err != nil {
				return "", err
			}
			name = oldName.FindStringSubmatch(line)[1]
		case newName.MatchString(line) && i > 0 && oldName.MatchString(all[i-1]):
			if n := newName.FindStringSubmatch(line)[1]; n != "/dev/null" {
				name = n
			}
		case patchName.MatchString(line):
			if err := end(); err != nil {
				return "", err
			}
			p := patchName.FindStringSubmatch(line)
			name = p[2]
			if err := onlyTrain(name); err != nil {
				return "", err
			}
			if p[1] != "Update" {
				return "", fmt.Errorf("the patch adds, deletes or moves a file: only train.py may be changed, in its place")
			}
		case hunkHead.MatchString(line):
			if err := end(); err != nil {
				return "", err
			}
			h, found = &hunkLines{}, found+1
		case h != nil && (fence != "" || line == "" || strings.ContainsRune(" +-\\\t", rune(line[0]))):
			h.add(line)
		default:
			if err := end(); err != nil {
				return "", err
			}
			out = append(out, line)
		}
	}
	if err := end(); err != nil {
		return "", err
	}
	return strings.Join(out, "\n"), nil
}

// headedDiff reports whether the content of a fence has heads of hunks.
func headedDiff(all []string) bool {
	for _, line := range all {
		if fenceMark.MatchString(line) {
			return false
		}
		if hunkHead.MatchString(line) {
			return true
		}
	}
	return false
}

// hunkLines are the lines of a hunk before and after.
type hunkLines struct {
	before, after []string
	changed       bool
}

func (h *hunkLines) add(line string) {
	switch {
	case strings.HasPrefix(line, `\`): // no line end at the end of the file
	case strings.HasPrefix(line, "-"):
		h.before, h.changed = append(h.before, line[1:]), true
	case strings.HasPrefix(line, "+"):
		h.after, h.changed = append(h.after, line[1:]), true
	default:
		line = strings.TrimPrefix(line, " ")
		h.before, h.after = append(h.before, line), append(h.after, line)
	}
}

func (h *hunkLines) block(name string) ([]string, error) {
	if !h.changed {
		return nil, nil
	}
	for len(h.before) > 0 && len(h.after) > 0 && h.before[len(h.before)-1] == "" && h.after[len(h.after)-1] == "" {
		h.before, h.after = h.before[:len(h.before)-1], h.after[:len(h.after)-1]
	}
	if blank(h.before) {
		return nil, fmt.Errorf("it holds no line of train.py beside what it adds: take lines before or after into it")
	}
	return strings.Split(blockOf(name, strings.Join(h.before, "\n"), strings.Join(h.after, "\n")), "\n"), nil
}

// blockOf writes an edit block.
func blockOf(name, search, replace string) string {
	if replace != "" || strings.HasSuffix(search, "\n") {
		replace += "\n"
	}
	return strings.TrimRight("<<<<<<< SEARCH "+name, " ") + "\n" + search + "\n=======\n" + replace + ">>>>>>> REPLACE"
}
