package trainer

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"autoresearchd/pyembed"
	"autoresearchd/search"
)

// protocol is the version of what daemon and trainer say to each other. Both
// give theirs in their first frame.
const protocol = 3

// request is what the daemon asks of a trainer.
type request struct {
	Protocol int      `json:"protocol"`
	Op       string   `json:"op"`     // "start", "inspect", "warm", "check", "order", "open", "prove", "notary", "hang"
	Python   string   `json:"python"` // the interpreter whose environment is taken
	Source   []byte   `json:"source,omitempty"`
	Imports  *imports `json:"imports,omitempty"`
	Order    *order   `json:"order,omitempty"`

	Say json.RawMessage `json:"say,omitempty"` // of "prove" and "notary": what witness.py or notary.py is told

	gate   chan bool            // of an order: closed by the "open" that follows it
	proofs chan json.RawMessage // of an order: what each "prove" that follows it says
}

// imports is what a standby must know of the trial that it gets ready for.
type imports struct {
	Source    string   `json:"source"`    // train.py
	Prepare   string   `json:"prepare"`   // prepare.py; "": there is none
	Beside    []string `json:"beside"`    // the modules that lie beside train.py
	Directory string   `json:"directory"` // where they lie
}

// order is a trial as the trainer and bootstrap.py see it.
type order struct {
	pyembed.Script
	Seed      uint64  `json:"seed"`
	Seconds   float64 `json:"seconds"`   // counted training seconds
	Steps     int     `json:"steps"`     // counted optimizer steps; 0: the budget is in seconds
	Uncounted int     `json:"uncounted"` // optimizer steps before the counted ones
	Audit     bool    `json:"audit"`     // score what the search never sees, too
	Cache     string  `json:"cache"`     // empty: prepare.py's own
	LogFD     int     `json:"log_fd"`    // where sys.stdout and sys.stderr go; -1: they are there already
	Gate      bool    `json:"gate"`      // wait for an "open" before the first counted step
	Overlap   bool    `json:"overlap"`   // another trial gets ready beside the evaluation: leave it room
	Prove     bool    `json:"prove"`     // its score is to be proven, if it can be
	Weights   string  `json:"weights"`   // file for its weights, if it scores no more than Bar; "": none
	Bar       float64 `json:"bar"`       // bits per byte
}

// event is what a trainer answers. At is its monotonic clock in seconds since
// the order came.
type event struct {
	Kind       string        `json:"kind"` // "hello", "warm", "inspection", "phase", "batch", "step", "gate", "prove", "score", "audit", "fault", "notary", "exit", "idle", "broken"
	At         float64       `json:"at"`
	Hello      *hello        `json:"hello,omitempty"`
	Why        string        `json:"why,omitempty"` // of "warm": why an order cannot use what is imported; "": it can
	Phase      search.Phase  `json:"phase,omitempty"`
	Step       int           `json:"step,omitempty"`
	Batches    int           `json:"batches,omitempty"`  // training batches drawn
	Calls      int           `json:"calls,omitempty"`    // of an optimizer's step: of several optimizers, more than steps
	StandIn    bool          `json:"stand_in,omitempty"` // no torch.optim optimizer: batches are counted for steps
	Tokens     int64         `json:"tokens,omitempty"`
	Counted    float64       `json:"counted,omitempty"`
	ValBPB     string        `json:"val_bpb,omitempty"` // a float's repr, "nan" included
	Audit      string        `json:"audit,omitempty"`   // a float's repr, or why there is none
	Fault      string        `json:"fault,omitempty"`   // why a call of evaluate_bpb gave no score
	Peak       int64         `json:"peak,omitempty"`    // torch.cuda.max_memory_allocated, bytes
	Exit       *pyembed.Exit `json:"exit,omitempty"`
	Inspection *Inspection   `json:"inspection,omitempty"`
	Broken     string        `json:"broken,omitempty"` // why the trainer itself cannot work

	Say json.RawMessage `json:"say,omitempty"` // of "prove" and "notary": what witness.py or notary.py says
}

// hello is how a trainer introduces itself.
type hello struct {
	Protocol int    `json:"protocol"`
	Python   string `json:"python"` // the CPython that it embeds, "3.12.1"
	PID      int    `json:"pid"`    // on its own host
}

// fits returns an error unless the daemon understands the trainer.
func (h *hello) fits() error {
	switch {
	case h == nil:
		return fmt.Errorf("the trainer did not begin with a hello: is it autoresearchd, and of the daemon's version?")
	case h.Protocol != protocol:
		return fmt.Errorf("the trainer speaks version %d of the protocol and this daemon version %d: install the same autoresearchd for both", h.Protocol, protocol)
	}
	return nil
}

const maxFrame = 64 << 20

// writeFrame writes one message: its length in four bytes, big-endian, and
// JSON, in a single write.
func writeFrame(w io.Writer, message any) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	if _, err := w.Write(append(frame, body...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// readFrame reads one message. A clean end is io.EOF.
func readFrame(r io.Reader, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.EOF {
			return err
		}
		return fmt.Errorf("read frame: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return fmt.Errorf("read frame: %d bytes, more than %d", size, maxFrame)
	}
	body := bytes.NewBuffer(make([]byte, 0, min(size, 4<<10)+bytes.MinRead)) // most fit; it grows with what comes, not with what was promised
	if n, err := body.ReadFrom(io.LimitReader(r, int64(size))); err != nil || n < int64(size) {
		return fmt.Errorf("read frame: %d of %d bytes: %w", n, size, cmp.Or(err, io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(body.Bytes(), message); err != nil {
		return fmt.Errorf("decode frame: %w", err)
	}
	return nil
}
