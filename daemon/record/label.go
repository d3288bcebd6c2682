package record

import (
	"regexp"
	"strconv"
	"strings"
)

// step is how search.Describe writes one constant's change; a literal holds no
// space but after the commas of a tuple.
var step = regexp.MustCompile(`\b([A-Z][A-Z0-9_]*(?:\[\d+\])?) (\([^()]*\)|"[^"]*"|'[^']*'|[^\s,]+) -> (\([^()]*\)|"[^"]*"|'[^']*'|[^\s,]+)`)

var (
	power = regexp.MustCompile(`\b(\d+)\*\*(\d+)\b`)
	long  = regexp.MustCompile(`\b(\d+\.\d{5,})(e-?\d+)?\b`)
)

var raised = strings.NewReplacer("0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴", "5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")

// spoken are words of constants' names that a label writes in another way; ""
// leaves one out.
var spoken = map[string]string{"TOTAL": "", "SIZE": "", "LR": "LR", "MLP": "MLP", "VE": "VE"}

// Label is a candidate's description in the shortest form that tells it from
// others, for a mark in a picture: "batch 2¹³ → 2¹²" of "TOTAL_BATCH_SIZE 2**13
// -> 2**12". Other words stay as they are.
func Label(description string) string {
	s := strings.TrimPrefix(description, "suggested: ")
	return step.ReplaceAllStringFunc(s, func(one string) string {
		part := step.FindStringSubmatch(one)
		return name(part[1]) + " " + literal(part[2]) + " → " + literal(part[3])
	})
}

// name says a constant's name in lower case: "matrix LR" of MATRIX_LR.
func name(constant string) string {
	var words []string
	for word := range strings.SplitSeq(constant, "_") {
		plain, special := spoken[word]
		switch {
		case !special:
			words = append(words, strings.ToLower(word))
		case plain != "":
			words = append(words, plain)
		}
	}
	if len(words) == 0 {
		return strings.ToLower(constant)
	}
	return strings.Join(words, " ")
}

// literal writes powers as powers, and long floats with three significant digits.
func literal(s string) string {
	s = power.ReplaceAllStringFunc(s, func(one string) string {
		base, exponent, _ := strings.Cut(one, "**")
		return base + raised.Replace(exponent)
	})
	return long.ReplaceAllStringFunc(s, short)
}

// short rounds a float to three significant digits.
func short(s string) string {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return s
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}
