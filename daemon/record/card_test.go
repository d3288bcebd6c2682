package record

import (
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/search"
)

func TestCard(t *testing.T) {
	share := func(x float64) *float64 { return &x }
	night := func(d time.Duration, seats int) Work { return Work{Time: d, Seats: d * time.Duration(seats)} }
	finished := Facts{
		Work: night(8*time.Hour+2*time.Minute+40*time.Second, 1), Share: share(0.9601), Devices: []string{"cuda:0"}, Candidates: 96, Runs: 131,
		Failures: map[search.Status]int{search.Crashed: 2, search.OutOfMemory: 5}, Baseline: 0.9979, Champion: 0.9943, Gains: 4, Confirmed: 3, Claims: true, Claim: "confirmed",
	}
	for name, c := range map[string]struct {
		change func(*Facts)
		want   string
	}{
		"finished": {func(*Facts) {}, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.0036 (−0.36 %), confirmed · 7 failed: 5 out of memory, 2 crashed · GPU trained 0.96 of the time"},
		"running":  {func(f *Facts) { f.Running, f.Claim, f.Confirmed = 1, "unconfirmed (1 of 3 paired seeds)", 0 }, "8 h 02 · 96 candidates in 131 runs, 1 running · 4 unconfirmed gains · −0.0036 (−0.36 %), unconfirmed (1 of 3 paired seeds) · 7 failed: 5 out of memory, 2 crashed · GPU trained 0.96 of the time"},
		"empty":    {func(f *Facts) { *f = Facts{} }, "nothing tried yet"},
		"the baseline runs": {func(f *Facts) {
			*f = Facts{Work: night(40*time.Second, 1), Share: share(0.25), Devices: []string{"cuda:0"}, Running: 1}
		}, "40 s · nothing tried yet, 1 running"},
		"a baseline": {func(f *Facts) {
			*f = Facts{Work: night(6*time.Minute, 1), Share: share(0.83), Devices: []string{"cuda:0"}, Candidates: 1, Runs: 1, Baseline: 1, Champion: 1, Claims: true}
		}, "6 min · 1 candidate in 1 run · no gain yet · GPU trained 0.83 of the time"},
		"all failed": {func(f *Facts) {
			*f = Facts{Work: night(time.Hour, 1), Share: share(0), Devices: []string{"cuda:0"}, Candidates: 7, Runs: 7, Failures: map[search.Status]int{search.OutOfMemory: 7}}
		}, "1 h 00 · 7 candidates in 7 runs · no score yet · 7 out of memory · GPU trained 0.00 of the time"},
		"a CPU":         {func(f *Facts) { f.Devices = []string{"cpu"} }, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.0036 (−0.36 %), confirmed · 7 failed: 5 out of memory, 2 crashed · trained 0.96 of the time"},
		"several GPUs":  {func(f *Facts) { f.Devices = []string{"cuda:0", "cuda:1"} }, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.0036 (−0.36 %), confirmed · 7 failed: 5 out of memory, 2 crashed · 2 GPUs trained 0.96 of the time"},
		"seats on CPUs": {func(f *Facts) { f.Devices, f.Failures = []string{"cpu:0", "cpu:1"}, nil }, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.0036 (−0.36 %), confirmed · 2 seats trained 0.96 of the time"},
		"imported": {func(f *Facts) {
			f.Work, f.Share, f.Devices, f.Claims, f.Claim, f.Failures = Work{}, nil, nil, false, "", nil
		}, "96 candidates in 131 runs · 4 gains · −0.0036 (−0.36 %)"},
		"a round one":  {func(f *Facts) { f.Champion, f.Failures = 0.9969000001, nil }, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.0010 (−0.10 %), confirmed · GPU trained 0.96 of the time"},
		"the least":    {func(f *Facts) { f.Champion, f.Failures = 0.997899, nil }, "8 h 02 · 96 candidates in 131 runs · 3 confirmed gains, 1 unconfirmed · −0.000001 (−0.00 %), confirmed · GPU trained 0.96 of the time"},
		"a small gain": {func(f *Facts) { f.Champion, f.Gains, f.Confirmed, f.Failures = 0.99748, 1, 1, nil }, "8 h 02 · 96 candidates in 131 runs · 1 confirmed gain · −0.00042 (−0.04 %), confirmed · GPU trained 0.96 of the time"},
		"was luck": {func(f *Facts) {
			f.Champion, f.Gains, f.Confirmed, f.Claim, f.Failures = 0.99803, 1, 0, "unconfirmed (within luck)", nil
		}, "8 h 02 · 96 candidates in 131 runs · 1 unconfirmed gain · +0.00013 (+0.01 %), unconfirmed (within luck) · GPU trained 0.96 of the time"},
	} {
		f := finished
		c.change(&f)
		if got := f.Card().Words; got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

func TestWorked(t *testing.T) {
	begin := time.Date(2026, 1, 5, 22, 0, 0, 0, time.UTC)
	at := func(minutes float64) time.Time { return begin.Add(time.Duration(minutes * float64(time.Minute))) }
	session := func(from, to float64, seats int) journal.Session {
		s := journal.Session{Begun: at(from), Seats: seats}
		if to > 0 {
			s.Ended = at(to)
		}
		return s
	}
	ran := func(from, took float64) search.Result {
		r := search.Result{Trial: search.Trial{StartedAt: at(from)}}
		r.Outcome.WallSeconds = 60 * took
		return r
	}
	for name, c := range map[string]struct {
		sessions    []journal.Session
		done        []search.Result
		now         time.Time
		time, seats float64 // minutes
		rate        float64
	}{
		"none":                      {rate: 0},
		"taken over":                {done: []search.Result{ran(0, 0)}},
		"one":                       {[]journal.Session{session(0, 12, 1)}, []search.Result{ran(0, 5), ran(6, 5)}, time.Time{}, 12, 12, 10},
		"an idle night":             {[]journal.Session{session(0, 12, 1), session(492, 504, 1)}, []search.Result{ran(0, 5), ran(6, 5), ran(492, 5), ran(498, 5)}, time.Time{}, 24, 24, 10},
		"two seats":                 {[]journal.Session{session(0, 12, 2)}, []search.Result{ran(0, 6), ran(0, 6), ran(6, 6), ran(6, 6)}, time.Time{}, 12, 24, 20},
		"under way":                 {[]journal.Session{session(0, 6, 1), session(60, 0, 2)}, []search.Result{ran(0, 5)}, at(66), 12, 18, 5},
		"died in a trial":           {[]journal.Session{session(0, 0, 1)}, []search.Result{ran(0, 5), ran(6, 0)}, time.Time{}, 6, 6, 10},
		"died, and went on":         {[]journal.Session{session(0, 0, 1), session(60, 66, 1)}, []search.Result{ran(0, 5), ran(60, 5)}, at(99), 11, 11, 120. / 11},
		"died before any trial":     {[]journal.Session{session(0, 0, 1), session(60, 66, 1)}, []search.Result{ran(60, 6)}, time.Time{}, 6, 6, 10},
		"died in two trials":        {[]journal.Session{session(0, 0, 2)}, []search.Result{ran(0, 9), ran(1, 5)}, time.Time{}, 9, 18, 120. / 9},
		"the clock was turned back": {[]journal.Session{session(60, 0, 1), session(0, 6, 1)}, []search.Result{ran(0, 6)}, time.Time{}, 6, 6, 10},
	} {
		w := Worked(c.sessions, search.History{Done: c.done}, c.now)
		if w.Time.Minutes() != c.time || w.Seats.Minutes() != c.seats {
			t.Errorf("%s: %v, of the seats %v, want %g and %g minutes", name, w.Time, w.Seats, c.time, c.seats)
		}
		if got := w.PerHour(c.done); got < c.rate-1e-9 || got > c.rate+1e-9 {
			t.Errorf("%s: %g an hour, want %g", name, got, c.rate)
		}
	}
	if share := (Work{Seats: time.Hour}).Share(1800); *share != 0.5 {
		t.Errorf("half of the time is %g", *share)
	}
	if share := (Work{}).Share(1800); share != nil {
		t.Errorf("of no time it is %g", *share)
	}
}
