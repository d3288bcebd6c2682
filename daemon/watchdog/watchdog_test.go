package watchdog

import (
	"testing"
	"testing/synctest"
	"time"

	"autoresearchd/search"
)

var limits = Limits{
	Startup: 120 * time.Second, Compile: 300 * time.Second, Stall: 60 * time.Second, Train: 390 * time.Second,
	Gate: 250 * time.Second, Evaluate: 180 * time.Second, Exit: 20 * time.Second, Total: 600 * time.Second,
}

// A trial is played as a list of moments; want is when and why it is ended.
func TestDeadlines(t *testing.T) {
	type moment struct {
		at    time.Duration
		phase search.Phase // "" is an optimizer step, beat a sign of life
	}
	const s = time.Second
	const beat = search.Phase("beat")
	steps := func(from, to, every time.Duration) (out []moment) {
		for at := from; at <= to; at += every {
			out = append(out, moment{at: at})
		}
		return out
	}
	join := func(parts ...[]moment) (out []moment) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	for name, c := range map[string]struct {
		moments []moment
		at      time.Duration
		phase   search.Phase
		cause   string
	}{
		"nothing ever happens":      {nil, 120 * s, search.Startup, "startup"},
		"compilation never ends":    {[]moment{{10 * s, search.Compile}}, 310 * s, search.Compile, "compile"},
		"one step, then silence":    {[]moment{{10 * s, search.Compile}, {50 * s, ""}}, 110 * s, search.Train, "stall"},
		"steps that go on for ever": {join([]moment{{10 * s, search.Compile}}, steps(50*s, 700*s, 10*s)), 440 * s, search.Train, "overrun"},
		"evaluation hangs":          {join([]moment{{10 * s, search.Compile}}, steps(50*s, 350*s, 10*s), []moment{{351 * s, search.Evaluate}}), 531 * s, search.Evaluate, "evaluate"},
		"exit hangs":                {join([]moment{{10 * s, search.Compile}}, steps(50*s, 350*s, 10*s), []moment{{351 * s, search.Evaluate}, {370 * s, search.Exit}}), 390 * s, search.Exit, "exit"},
		"slow everywhere":           {join([]moment{{119 * s, search.Compile}}, steps(400*s, 590*s, 50*s)), 600 * s, search.Train, "total"},
		"training in two stretches": {join(steps(10*s, 200*s, 10*s), []moment{{210 * s, search.Evaluate}, {220 * s, search.Exit}}, steps(230*s, 600*s, 10*s)), 420 * s, search.Train, "overrun"},
		"batches and no step":       {[]moment{{10 * s, search.Compile}, {200 * s, beat}}, 500 * s, search.Compile, "compile"},
		"batches and never a step":  {join([]moment{{10 * s, search.Compile}}, []moment{{200 * s, beat}, {400 * s, beat}, {580 * s, beat}}), 600 * s, search.Compile, "total"},
		"the gate stays shut":       {join([]moment{{10 * s, search.Compile}}, steps(50*s, 60*s, 1*s), []moment{{60 * s, search.Gate}}), 310 * s, search.Gate, "gate"},
		"the total without a gate":  {join([]moment{{10 * s, search.Compile}}, []moment{{300 * s, ""}, {305 * s, search.Gate}}, steps(545*s, 830*s, 10*s)), 840 * s, search.Train, "total"},
		"words before all else":     {[]moment{{100 * s, beat}}, 220 * s, search.Startup, "startup"},
		"entering twice is once":    {[]moment{{10 * s, search.Compile}, {200 * s, search.Compile}}, 310 * s, search.Compile, "compile"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				dog := Watch(limits)
				for _, m := range c.moments {
					time.Sleep(m.at - time.Since(begin))
					switch m.phase {
					case "":
						dog.Step()
					case beat:
						dog.Beat()
					default:
						dog.Enter(m.phase)
					}
				}
				f := <-dog.Fired()
				if f.Phase != c.phase || f.Cause != c.cause {
					t.Errorf("fired %+v, want phase %s cause %s", f, c.phase, c.cause)
				}
				dog.Stop()
			})
			// The moment itself, on the pure machine.
			m := New(limits)
			for _, e := range c.moments {
				if at, _, _ := m.Next(); at < e.at {
					break
				}
				switch e.phase {
				case "":
					m.Step(e.at)
				case beat:
					m.Beat(e.at)
				default:
					m.Enter(e.phase, e.at)
				}
			}
			at, f, ok := m.Next()
			if !ok || at != c.at || f.Cause != c.cause {
				t.Errorf("deadline at %v (%+v), want %v (%s)", at, f, c.at, c.cause)
			}
			if f.String() == "" {
				t.Error("a firing must say why")
			}
		})
	}
}

func TestFiresOnTheMomentAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		dog := Watch(Limits{Startup: 3 * time.Second})
		f := <-dog.Fired()
		if d := time.Since(begin); d != 3*time.Second || f.Cause != "startup" {
			t.Errorf("fired %v after %v", f, d)
		}
		dog.Enter(search.Compile)
		time.Sleep(time.Hour)
		select {
		case f := <-dog.Fired():
			t.Errorf("fired again: %v", f)
		default:
		}
		dog.Stop()
	})
}

func TestStoppedDogNeverFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := Watch(limits)
		time.Sleep(5 * time.Second)
		dog.Enter(search.Compile)
		time.Sleep(7 * time.Second)
		dog.Step()
		time.Sleep(11 * time.Second)
		phase, spent := dog.Stop()
		time.Sleep(time.Hour)
		select {
		case f := <-dog.Fired():
			t.Errorf("fired %v after Stop", f)
		default:
		}
		if phase != search.Train || spent[search.Startup] != 5 || spent[search.Compile] != 7 || spent[search.Train] != 11 {
			t.Errorf("ended in %s after %v", phase, spent)
		}
	})
}

func TestNoLimitsNoDeadline(t *testing.T) {
	if _, _, ok := New(Limits{}).Next(); ok {
		t.Error("a deadline without limits")
	}
}
