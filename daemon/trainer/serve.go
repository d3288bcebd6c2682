package trainer

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/hide"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// Main is the command `autoresearchd trainer`: it serves what is asked of it on
// standard input, until that ends or a trial has run. The caller has locked it to the process's first
// thread. It returns the exit status.
func Main() int {
	if args := os.Args[2:]; len(args) == 1 && args[0] == hostArg {
		return hostMain()
	}
	broken := func(err error) {
		_ = writeFrame(os.Stdout, event{Kind: "broken", Broken: "start a seat: " + err.Error()})
	}
	if status, ok := sandbox.Stage(os.Args[2:], broken); ok {
		return status
	}
	if args := os.Args[2:]; len(args) > 0 && args[len(args)-1] == confined {
		loadModule()
		// A thread can give up rights for itself alone: what it execs has one thread.
		err := hide.Confine(args[:len(args)-1])
		if err == nil {
			err = unix.Exec("/proc/self/exe", os.Args[:2], os.Environ())
		}
		broken(err)
		return 1
	}
	requests, events, err := privateStreams()
	if err != nil {
		fmt.Fprintln(os.Stderr, "autoresearchd trainer:", err)
		return 1
	}
	if err := serve(requests, events, false); err != nil {
		_ = writeFrame(events, event{Kind: "broken", Broken: err.Error()})
		return 1
	}
	return 0
}

// privateStreams moves the frames' streams away from descriptors 0 and 1, which
// belong to the script: it reads nothing and prints to run.log, as on 2.
func privateStreams() (in, out *os.File, err error) {
	var fds [2]int
	for i := range fds {
		// Far from the small numbers that scripts close or reuse.
		if fds[i], err = unix.FcntlInt(uintptr(i), unix.F_DUPFD_CLOEXEC, 700); err != nil {
			return nil, nil, fmt.Errorf("keep descriptor %d: %w", i, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	if err := unix.Dup2(int(null.Fd()), 0); err != nil {
		return nil, nil, fmt.Errorf("close standard input: %w", err)
	}
	if err := unix.Dup2(2, 1); err != nil {
		return nil, nil, fmt.Errorf("join standard output to run.log: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "requests"), os.NewFile(uintptr(fds[1]), "events"), nil
}

// loadModule loads the driver's module where nothing has yet. CUDA does it by a
// program of root's, which a confined process cannot start.
func loadModule() {
	if exists("/dev/nvidiactl") && !exists("/dev/nvidia-uvm") {
		_ = exec.Command("nvidia-modprobe", "-u", "-c=0").Run() // CUDA says what is missing then
	}
}

// serve holds a trainer's end of the conversation. One that is resident lives
// on after a trial and after what went wrong.
func serve(from io.Reader, to io.Writer, resident bool) error {
	var mu sync.Mutex
	tell := func(e event) error {
		mu.Lock()
		defer mu.Unlock()
		return writeFrame(to, e)
	}
	if err := tell(event{Kind: "hello", Hello: &hello{Protocol: protocol, Python: pyembed.Version(), PID: os.Getpid()}}); err != nil {
		return err
	}
	requests, fault := hear(from)
	var s *seat
	for req := range requests {
		if req.Protocol != protocol {
			return fmt.Errorf("the daemon speaks version %d of the protocol and this trainer version %d: install the same autoresearchd for both", req.Protocol, protocol)
		}
		if req.Op == "hang" {
			return hang(tell)
		}
		var err error
		if s == nil {
			s, err = newSeat(req.Python, !resident, tell)
		}
		if err == nil {
			err = s.answer(req)
		}
		switch {
		case err != nil && !resident:
			return err
		case err != nil:
			if err := tell(event{Kind: "broken", Broken: err.Error()}); err != nil {
				return err
			}
		}
		if req.Order != nil && req.Order.Last {
			return nil
		}
		if req.Order != nil {
			if err := tell(event{Kind: "idle"}); err != nil {
				return err
			}
		}
	}
	return *fault // the daemon has no more use for this trainer
}

// hear reads requests until they end. The "open" of a gate and what is told of
// a proof come while the order before them runs, and go there.
func hear(from io.Reader) (<-chan request, *error) {
	requests, fault := make(chan request, 1), new(error)
	go func() {
		defer close(requests)
		gate, proofs := make(chan bool), make(chan json.RawMessage, 1)
		defer func() { close(proofs) }()
		for {
			var req request
			if err := readFrame(from, &req); err != nil {
				if err != io.EOF {
					*fault = err
				}
				return
			}
			switch req.Op {
			case "open":
				select {
				case <-gate:
				default:
					close(gate)
				}
				continue
			case "prove":
				select {
				case proofs <- req.Say:
				default: // nobody has asked
				}
				continue
			case "order":
				gate, proofs = make(chan bool), make(chan json.RawMessage, 1)
				req.gate, req.proofs = gate, proofs
			}
			requests <- req
		}
	}()
	return requests, fault
}

// answer does what is asked, and says what came of it.
func (s *seat) answer(req request) error {
	switch {
	case req.Op == "inspect":
		i, err := s.inspect(req.Source)
		if err != nil {
			return err
		}
		return s.tell(event{Kind: "inspection", Inspection: &i})
	case (req.Op == "warm" || req.Op == "check") && req.Imports != nil:
		why, err := s.imports(req.Op, req.Imports)
		if err != nil {
			return err
		}
		return s.tell(event{Kind: "warm", Why: why})
	case req.Op == "start":
		return s.tell(event{Kind: "warm"})
	case req.Op == "order" && req.Order != nil:
		return s.run(*req.Order, req.gate, req.proofs)
	case req.Op == "notary":
		if err := s.load(notaries); err != nil {
			return err
		}
		words, err := s.python.Call("_autoresearchd_notary", "answer", req.Say)
		if err != nil {
			return err
		}
		return s.tell(event{Kind: "notary", Say: words})
	}
	return errors.New("unknown request " + strconv.Quote(req.Op))
}

// hang is the self-test's dummy: it ignores every signal that can be ignored,
// says so, and never ends.
func hang(tell func(event) error) error {
	signal.Ignore()
	if err := tell(event{Kind: "phase", Phase: search.Train}); err != nil {
		return err
	}
	for {
		runtime.Gosched()
	}
}
