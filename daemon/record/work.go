package record

import (
	"sort"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

// Work is the time in which trials of a study were to run; zero: it is not known.
type Work struct {
	Time  time.Duration
	Seats time.Duration // the same, summed over the seats
}

// Worked sums up a study's sessions. One that has no end lasts until now if it
// is the last and now is not zero; else its daemon died, and the last that is
// known of it is a trial's beginning or end.
func Worked(sessions []journal.Session, h search.History, now time.Time) Work {
	ends := make([]time.Time, len(sessions))
	dead := false
	for i, s := range sessions {
		switch ends[i] = s.Ended; {
		case !s.Ended.IsZero():
		case i == len(sessions)-1 && !now.IsZero():
			ends[i] = now
		default:
			ends[i], dead = s.Begun, true
		}
	}
	alive := func(t *search.Trial, seconds float64) {
		i := sort.Search(len(sessions), func(i int) bool { return sessions[i].Begun.After(t.StartedAt) }) - 1
		if i < 0 || !sessions[i].Ended.IsZero() {
			return
		}
		end := t.StartedAt.Add(time.Duration(seconds * float64(time.Second)))
		if i+1 < len(sessions) && end.After(sessions[i+1].Begun) {
			end = sessions[i+1].Begun
		}
		if end.After(ends[i]) {
			ends[i] = end
		}
	}
	if dead {
		for i := range h.Done {
			alive(&h.Done[i].Trial, h.Done[i].Outcome.WallSeconds)
		}
		for i := range h.Pending {
			alive(&h.Pending[i], 0)
		}
	}
	var w Work
	for i, s := range sessions {
		d := max(0, ends[i].Sub(s.Begun))
		w.Time += d
		w.Seats += d * time.Duration(s.Seats)
	}
	return w
}

// PerHour is how many runs an hour there were in that time; 0: not known. Runs
// that took no time were taken over from elsewhere.
func (w Work) PerHour(done []search.Result) float64 {
	n := 0
	for i := range done {
		if done[i].Outcome.WallSeconds > 0 {
			n++
		}
	}
	if n == 0 || w.Time <= 0 {
		return 0
	}
	return float64(n) / w.Time.Hours()
}

// Share is the part of the seats' time that was counted training, of so many
// seconds; nil: not known.
func (w Work) Share(trained float64) *float64 {
	if w.Seats <= 0 {
		return nil
	}
	share := min(1, trained/w.Seats.Seconds())
	return &share
}
