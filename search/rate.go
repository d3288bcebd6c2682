package search

import (
	"cmp"
	"slices"
	"time"
)

// PerHour is how many trials an hour there were over the time in which trials
// were to run: that of the trials themselves, and of the gaps between them. A
// gap that is longer than a typical trial counts as one trial's time, since
// nothing says whether any was to run in it, and in an idle night none was. 0:
// no trial took time.
func PerHour(done []Result) float64 {
	type span struct{ from, to time.Time }
	var spans []span
	var took []time.Duration
	for i := range done {
		t, d := &done[i].Trial, time.Duration(done[i].Outcome.WallSeconds*float64(time.Second))
		if d > 0 {
			spans, took = append(spans, span{t.StartedAt, t.StartedAt.Add(d)}), append(took, d)
		}
	}
	if len(spans) == 0 {
		return 0
	}
	slices.Sort(took)
	typical := took[len(took)/2]
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	total, end := time.Duration(0), spans[0].from
	for _, s := range spans {
		if s.from.After(end) {
			total += min(s.from.Sub(end), typical)
			end = s.from
		}
		if s.to.After(end) { // several seats run trials at once
			total += s.to.Sub(end)
			end = s.to
		}
	}
	return float64(len(spans)) / total.Hours()
}
