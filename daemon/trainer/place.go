package trainer

import (
	"sync"
	"time"

	"autoresearchd/search"
)

// A place is where trainers can be started. It knows what hosts, processes and
// control groups are; whoever talks with a trainer does not.
type place interface {
	// start starts a trainer that says hello and waits to be asked.
	start(job) (trainee, error)
	// environment is what a trial sees there.
	environment(search.Trial) []string
	// onCores reports whether trials on a device train on the cores that a
	// standby imports on, and whether it can be kept out of their way there.
	onCores(device string) (trains, calm bool)
}

// job is what a trainer is started for.
type job struct {
	name   string // "trial-12", "standby"
	id     int64  // of the trial; 0: none, or not yet
	trains bool   // it is for a trial, which may compile
	spare  bool   // only where the host has memory to spare
	device string
	dir    string   // working directory
	own    string   // folder above it that is its own; "": dir
	deny   []string // files that it must not open, beside Options.Deny
	env    []string
}

// trainee is a trainer that a place has started.
type trainee interface {
	// ask sends a request.
	ask(request) error
	// events delivers what it says, until nothing more can come.
	events() <-chan event
	// print sends what it prints to sink from now on, and first what it has printed.
	print(sink func([]byte))
	// ended is closed when its process has ended; what that started may live on.
	ended() <-chan struct{}
	// logFD is where an order's script is to print; -1: to its own output.
	logFD() int
	// moveIn makes a trial's working directory one that it reaches, though it was
	// started before there was one.
	moveIn(work string) error
	// sees returns where it finds that directory.
	sees(work string) string
	// confined reports whether it reaches nothing of a trial's but its working
	// directory, and says what confines it, in words.
	confined() (alone bool, how string)
	// cuda reports whether its trial has a GPU, wherever that is.
	cuda() bool
	// handle finds it again after a restart of the daemon, as JSON; see Sweep.
	handle() string
	// calm keeps it out of a running trial's way, until rouse.
	calm()
	rouse()
	// renew gives it what trials have compiled since it started.
	renew()
	// occupy says that a trial begins in it.
	occupy()
	// use says what it uses now.
	use() use
	// end makes sure that nothing of it is left, TERM first. forced says that
	// its trial has not ended by itself.
	end(grace time.Duration, forced bool) gone
	// settle delivers, after end, what it has still said and printed, but does not wait for ever.
	settle(hear func(event))
	// freed waits until what it used of its device is free again. An error
	// says that the device is unfit, or the daemon.
	freed() (time.Duration, error)
	// release lets go of it, after end. What it compiled is kept for others if its
	// trial went well.
	release(well bool)
}

// use is what a trainer uses of its host.
type use struct {
	device int64 // bytes of the device's memory; -1: not known
	whole  int64 // of them, by everybody; -1: not known
	limit  int64 // bytes of the host's memory that it may use
	over   bool  // it uses more
	wrote  int64 // bytes that it has written beside the folder that the daemon sees
	far    bool  // that is all: what is in that folder the daemon has written itself
}

// gone says how a trainer ended.
type gone struct {
	left        []int // processes that could not be ended
	took        time.Duration
	code        int    // exit status
	signal      string // that it died of
	outOfMemory bool   // the host's memory limit ended it
	lost        error  // why nobody can say how it ended; nil: it is said here
}

// stays are the trials that run, for those that wait for them.
type stays struct {
	mu  sync.Mutex
	all map[int64]*stay
}

// stay is a trial in its place.
type stay struct {
	once   sync.Once
	over   chan struct{} // closed when neither training nor evaluation is to come
	scored time.Time     // when its evaluation was over; read after over; zero: it has none
}

func (s *stays) begin(id int64) *stay {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) > 64 { // the last ones may be asked for after their end
		kept := map[int64]*stay{}
		for id, each := range s.all {
			select {
			case <-each.over:
			default:
				kept[id] = each
			}
		}
		s.all = kept
	}
	st := &stay{over: make(chan struct{})}
	s.all[id] = st
	return st
}

// of returns the stay of a trial; nil: none is known, so that nobody need wait.
func (s *stays) of(id int64) *stay {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id]
}

func (s *stay) end(scored time.Time) {
	s.once.Do(func() {
		s.scored = scored
		close(s.over)
	})
}

// spool holds what a trainer prints until it is known where it belongs.
type spool struct {
	limit int

	mu   sync.Mutex
	sink func([]byte)
	held []byte
}

func (s *spool) add(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sink != nil {
		s.sink(data)
		return
	}
	s.held = append(s.held, data[:min(len(data), max(0, s.limit-len(s.held)))]...)
}

func (s *spool) print(sink func([]byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink = sink
	if len(s.held) > 0 {
		sink(s.held)
	}
	s.held = nil
}

// text is what it holds.
func (s *spool) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.held)
}
