package main

import (
	"fmt"
	"slices"
	"strings"

	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// several reports whether hardware is of more than one class, which is then
// worth a word everywhere.
func several(classes []string) bool {
	return slices.ContainsFunc(classes, func(c string) bool { return !search.Alike(c, classes[0]) })
}

// seated are the classes of a study that runs: of its seats, and of the champion's
// score.
func seated(now supervisor.Status) []string {
	var all []string
	for _, s := range now.Seats {
		if s.Class != "" {
			all = append(all, s.Class)
		}
	}
	if now.Champion != nil && now.Champion.Class != "" {
		all = append(all, now.Champion.Class)
	}
	return all
}

// place says where a seat is, and on what, where the seats differ in it.
func place(s supervisor.SeatStatus, now supervisor.Status) string {
	var words []string
	if slices.ContainsFunc(now.Seats, func(o supervisor.SeatStatus) bool { return o.Host != s.Host }) {
		host := s.Host
		if host == "" {
			host = "here"
		}
		words = append(words, host)
	}
	if s.Class != "" && several(seated(now)) {
		words = append(words, s.Class)
	}
	if words == nil {
		return ""
	}
	return " (" + foreign(strings.Join(words, ", ")) + ")"
}

// parenthesised is a class beside a device, "" if it is not known.
func parenthesised(class string) string {
	if class == "" {
		return ""
	}
	return " (" + foreign(class) + ")"
}

// elsewhere says what a candidate scored on other classes than its own.
func elsewhere(c record.Candidate) string {
	if c.Class == "" || len(c.Elsewhere) == 0 {
		return ""
	}
	words := " on " + foreign(c.Class)
	for _, e := range c.Elsewhere {
		words += "; " + fmt.Sprintf("%.6f, %s", e.ValBPB, meanOf(e.Scores)) + " on " + foreign(e.Class)
	}
	return words
}
