package supervisor

import (
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

// hindrance keeps trials from a device until it is lifted.
type hindrance interface {
	error
	Lifted(gpu trainer.GPU) bool
}

// lost is a device that cannot be used, until it can.
type lost struct {
	*device.Unfit
	again func() *device.Unfit
}

func (l *lost) Lifted(trainer.GPU) bool {
	u := l.again()
	return u == nil || !u.Lost
}

// fit reports whether a trial can begin on the seat, which has none. A device
// that is lost is quarantined; one that somebody else uses is waited for.
func (s *seat) fit() bool {
	d, u := s.look()
	s.s.mu.Lock()
	s.device = d
	s.s.mu.Unlock()
	why := ""
	switch {
	case u == nil:
	case u.Lost:
		s.log.Error("no new trial is begun", "device", s.device.Name, "err", u)
		s.s.mu.Lock()
		s.quarantine = &lost{u, s.unfit}
		s.s.mu.Unlock()
		s.say("waiting for the GPU, which is quarantined")
	default:
		why = u.Why
		if u.Waits != "" { // whoever it waits for has said so
			s.say(u.Waits)
			break
		}
		if s.taken == "" { // how much is used changes all the time
			s.log.Warn("waiting for the device", "device", s.device.Name, "why", why)
		}
		s.say("waiting for the GPU, which somebody else uses")
	}
	s.s.mu.Lock()
	if why != "" || s.obstacle == s.taken {
		s.obstacle = why
	}
	s.s.mu.Unlock()
	s.taken = why
	return u == nil
}

// look asks the device itself.
func (s *seat) look() (device.Device, *device.Unfit) {
	if s.s.o.Look == nil {
		return s.device, nil
	}
	return s.s.o.Look(s.device)
}

func (s *seat) unfit() *device.Unfit {
	_, u := s.look()
	return u
}

// spared is an outcome without the blame for a device that was lost under it.
func (s *seat) spared(o search.Outcome) search.Outcome {
	if o.Status != search.Crashed && o.Status != search.TimedOut {
		return o
	}
	if u := s.unfit(); u != nil && u.Lost {
		return without(o, u.Why)
	}
	return o
}

// without is an outcome of a trial whose device was lost: no failure of its own.
func without(o search.Outcome, why string) search.Outcome {
	if o.Status == search.Crashed || o.Status == search.TimedOut {
		o.Status, o.Detail = search.Interrupted, why
	}
	return o
}
