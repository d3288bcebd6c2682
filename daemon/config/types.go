package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"autoresearchd/search"
)

// Size is a number of bytes, written "40GiB".
type Size int64

// Unlimited is the Size "none".
const Unlimited Size = -1

var units = []struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a number with a unit: B, KiB, MiB, GiB, TiB, or kB, MB, GB,
// TB for the decimal ones. "none" is Unlimited; an empty string is 0, which
// leaves the choice to the daemon.
func ParseSize(s string) (Size, error) {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return 0, nil
	case "none":
		return Unlimited, nil
	}
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n >= 0) || n*u.bytes >= math.MaxInt64 {
			break
		}
		return Size(n * u.bytes), nil
	}
	return 0, fmt.Errorf("parse size %q: not a number with a unit", s)
}

// String writes the size with the largest unit that divides it; empty for 0.
func (s Size) String() string {
	switch s {
	case 0:
		return ""
	case Unlimited:
		return "none"
	}
	for _, u := range units[:4] {
		if n := int64(u.bytes); int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ParseBudget reads "300s" (counted training time) or "400 steps".
func ParseBudget(s string) (search.Budget, error) {
	s = strings.TrimSpace(s)
	for _, unit := range []string{"steps", "step"} {
		if number, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(strings.TrimSpace(number))
			if err != nil || n < 1 {
				return search.Budget{}, fmt.Errorf("parse budget %q: not a positive number of steps", s)
			}
			return search.Budget{Steps: n}, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return search.Budget{}, fmt.Errorf("parse budget %q: neither a positive duration nor a number of steps", s)
	}
	return search.Budget{Seconds: d.Seconds()}, nil
}

// Devices is "auto", "all", "cpu", or one or several of "cuda:0", "cuda:1", …,
// or of "cpu:0", "cpu:1", …, which share the cores. Package device finds them
// on a machine.
type Devices []string

// Audit says how scores are audited.
type Audit string

// The ways to audit: none, on text that the search never sees, in a fresh process.
const (
	NoAudit    Audit = ""
	AuditText  Audit = "true"
	AuditFresh Audit = "fresh"
)

// Baseline is the score to beat at first: measured by the study's first trial,
// or a recorded one that costs no run.
type Baseline struct {
	Recorded bool
	ValBPB   float64 // bits per byte, if Recorded
}
