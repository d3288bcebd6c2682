package supervisor

import (
	"fmt"
	"slices"
	"strings"

	"autoresearchd/daemon/config"
	"autoresearchd/search"
)

// ConfirmStatus is what becomes of [judge] confirm_on.
type ConfirmStatus struct {
	On      string `json:"on"`      // the hardware class on which gains are confirmed
	Waiting int    `json:"waiting"` // candidates that are promising elsewhere, and are to run there
	Seats   int    `json:"seats"`   // of that class that can run them
	Why     string `json:"why"`     // of no seat can, in words; "": one can, or none was of the class yet
}

// classes lists the hardware classes of the seats, each once; whole, that every
// seat's is known. A seat on a cluster has one once it has a node.
func classes(seats []*seat) (known []string, whole bool) {
	whole = true
	for _, s := range seats {
		switch kind := s.device.Kind; {
		case kind == "":
			whole = false
		case !slices.Contains(known, kind):
			known = append(known, kind)
		}
	}
	slices.Sort(known)
	return known, whole
}

// confirmable refuses a class to confirm on that no seat has.
func (s *Supervisor) confirmable(c *config.Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, whole := classes(s.seats)
	on := c.Judge.ConfirmOn
	if on == "" || slices.ContainsFunc(known, func(kind string) bool { return search.Alike(kind, on) }) || !whole || len(c.Remote()) > s.remote() {
		return nil
	}
	return fmt.Errorf("judge.confirm_on %q is the class of no seat: there %s", on, listed(known))
}

// remote counts the seats on clusters. mu is held.
func (s *Supervisor) remote() int {
	n := 0
	for _, seat := range s.seats {
		if strings.HasPrefix(seat.device.Name, config.Slurm+":") {
			n++
		}
	}
	return n
}

func listed(known []string) string {
	if len(known) == 1 {
		return fmt.Sprintf("is %q", known[0])
	}
	quoted := make([]string, len(known))
	for i, kind := range known {
		quoted[i] = fmt.Sprintf("%q", kind)
	}
	return "are " + strings.Join(quoted, ", ")
}

// confirming is what becomes of confirm_on; nil: it names no class.
func (s *Supervisor) confirming() *ConfirmStatus {
	c, _ := s.proposer.rules()
	if c.Judge.ConfirmOn == "" {
		return nil
	}
	st := &ConfirmStatus{On: c.Judge.ConfirmOn, Waiting: search.Unconfirmed(s.study.History())}
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []string // what keeps those that are of the class
	for _, seat := range s.seats {
		switch does := seat.does(); {
		case seat.device.Kind == "" || !search.Alike(seat.device.Kind, st.On):
		case does == SeatQuarantined || does == SeatWaiting:
			of = append(of, fmt.Sprintf("%s is %s (%s)", seat.device.Name, does, seat.why()))
		default:
			st.Seats++
		}
	}
	switch known, whole := classes(s.seats); {
	case st.Seats > 0:
	case of != nil:
		st.Why = strings.Join(of, ", ")
	case whole:
		st.Why = "no seat is of that class: there " + listed(known)
	default:
		st.Why = "no seat is of that class yet"
	}
	return st
}

// Words say of those that wait that nothing can confirm them; "": something can.
func (c *ConfirmStatus) Words() string {
	if c == nil || c.Seats > 0 {
		return ""
	}
	what := "nothing waits for it yet"
	switch {
	case c.Waiting == 1:
		what = "1 candidate waits for it"
	case c.Waiting > 1:
		what = fmt.Sprintf("%d candidates wait for it", c.Waiting)
	}
	return fmt.Sprintf("nothing can be confirmed on %s now, and %s: %s", c.On, what, c.Why)
}

// sayConfirming logs once that nothing can be confirmed, though something waits,
// and that it can again.
func (s *Supervisor) sayConfirming() {
	st := s.confirming()
	stuck := st != nil && st.Seats == 0 && st.Waiting > 0
	s.mu.Lock()
	news := stuck != s.stuck
	s.stuck = stuck
	s.mu.Unlock()
	switch {
	case news && stuck:
		s.o.Log.Warn("candidates wait to be confirmed; the search goes on", "waiting", st.Waiting, "on", st.On, "why", st.Why)
	case news && st != nil && st.Seats > 0:
		s.o.Log.Info("candidates can be confirmed again", "waiting", st.Waiting, "on", st.On)
	}
}
