package record

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"autoresearchd/search"
)

// Facts are what a card says of a study.
type Facts struct {
	Work       Work
	Share      *float64 // of its time that was counted training; nil: not known
	Devices    []string // on which its trials ran and run, each once
	Candidates int      // with a finished run
	Runs       int      // finished
	Running    int      // under way
	Failures   map[search.Status]int
	Baseline   float64 // 0: nothing has a score
	Champion   float64
	Gains      int    // candidates that were kept after the first
	Confirmed  int    // of them
	Claims     bool   // the judge says which are
	Claim      string // what it says of the champion: "confirmed", "unconfirmed (…)"; "": nothing
}

// Card is a study in one sentence, and the sentence's parts; what is not known is
// left out.
type Card struct {
	Time    string `json:"time"`    // "8 h 02"
	Tried   string `json:"tried"`   // "96 candidates in 131 runs"
	Gains   string `json:"gains"`   // "3 confirmed gains, 1 unconfirmed"
	Gain    string `json:"gain"`    // "−0.0036 (−0.36 %), confirmed"
	Failed  string `json:"failed"`  // "7 failed: 5 out of memory, 2 crashed"
	Trained string `json:"trained"` // "GPU trained 0.96 of the time"
	Words   string `json:"words"`   // all of it
}

// Card puts the facts in words.
func (f Facts) Card() Card {
	var c Card
	if f.Work.Time > 0 {
		c.Time = hours(f.Work.Time)
	}
	c.Tried = "nothing tried yet"
	if f.Candidates > 0 {
		c.Tried = plural(f.Candidates, "candidate") + " in " + plural(f.Runs, "run")
	}
	if f.Running > 0 {
		c.Tried += fmt.Sprintf(", %d running", f.Running)
	}
	switch unconfirmed := f.Gains - f.Confirmed; {
	case f.Candidates == 0:
	case f.Baseline == 0:
		c.Gains = "no score yet"
	case f.Gains == 0:
		c.Gains = "no gain yet"
	case !f.Claims:
		c.Gains = plural(f.Gains, "gain")
	case f.Confirmed == 0:
		c.Gains = plural(unconfirmed, "unconfirmed gain")
	case unconfirmed == 0:
		c.Gains = plural(f.Confirmed, "confirmed gain")
	default:
		c.Gains = fmt.Sprintf("%s, %d unconfirmed", plural(f.Confirmed, "confirmed gain"), unconfirmed)
	}
	if f.Gains > 0 {
		c.Gain = gain(f.Champion-f.Baseline, f.Baseline)
		if f.Claim != "" {
			c.Gain += ", " + f.Claim
		}
	}
	c.Failed = failed(f.Failures)
	if f.Share != nil && f.Candidates > 0 {
		c.Trained = strings.TrimSpace(fmt.Sprintf("%s trained %.2f of the time", trainers(f.Devices), *f.Share))
	}
	parts := slices.DeleteFunc([]string{c.Time, c.Tried, c.Gains, c.Gain, c.Failed, c.Trained}, func(s string) bool { return s == "" })
	c.Words = strings.Join(parts, " · ")
	return c
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func hours(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h %02d", int(d.Hours()), int(d.Minutes())%60)
}

// gain is a difference of val_bpb, in four places, or as many as two digits of it
// need, and its share of the baseline.
func gain(delta, baseline float64) string {
	places := 4
	for places < 6 && math.Abs(delta) < 9.95*math.Pow10(-places) {
		places++
	}
	words := fmt.Sprintf("%+.*f (%+.2f %%)", places, delta, 100*delta/baseline)
	return strings.ReplaceAll(words, "-", "−")
}

func failed(kinds map[search.Status]int) string {
	total := 0
	var words []string
	for _, kind := range slices.SortedFunc(maps.Keys(kinds), func(a, b search.Status) int {
		return cmp.Or(cmp.Compare(kinds[b], kinds[a]), cmp.Compare(a, b))
	}) {
		total += kinds[kind]
		words = append(words, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return fmt.Sprintf("%d failed: %s", total, strings.Join(words, ", "))
}

// trainers names the devices where they are more than one or GPUs.
func trainers(devices []string) string {
	what := "seat"
	if slices.ContainsFunc(devices, func(name string) bool { return strings.Contains(name, "cuda") }) {
		what = "GPU"
	}
	switch n := len(devices); {
	case n > 1:
		return plural(n, what)
	case n == 1 && what == "GPU":
		return what
	}
	return ""
}
