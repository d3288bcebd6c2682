package terminal

import "strings"

// Wrap breaks each line of a text between words, so that it takes at most so
// many cells; what follows a break begins with indent and the line's own blanks.
// A word that is longer stays whole, so that a path or a commit can be copied.
func Wrap(text string, width int, indent string) string {
	var out strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			out.WriteByte('\n')
		}
		rest := strings.TrimLeft(line, " ")
		blanks := line[:len(line)-len(rest)]
		out.WriteString(blanks)
		taken, bare := Width(blanks), true
		for word := range strings.SplitSeq(rest, " ") {
			switch {
			case bare:
			case taken+1+Width(word) > width:
				out.WriteString("\n" + indent + blanks)
				taken = Width(indent + blanks)
			default:
				out.WriteByte(' ')
				taken++
			}
			out.WriteString(word)
			taken, bare = taken+Width(word), false
		}
	}
	return out.String()
}
