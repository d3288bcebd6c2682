package trainer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"autoresearchd/daemon/device"
	"autoresearchd/metrics/gpu"
)

// node is a host on another machine, as the daemon sees it: trainers start,
// speak and end there. What is lost with it, its trainers say as "broken".
type node struct {
	limit int64 // bytes that a trainer may print before somebody listens
	in    *os.File
	over  chan struct{} // closed when nothing more comes of it

	writing sync.Mutex

	mu       sync.Mutex
	hello    *hostHello
	lost     error // why it is over
	last     int64 // trainer
	trainees map[int64]*hosted
	gpus     []gpu.Sample
	read     time.Time // when they were
	heard    time.Time
	trials   int
	idle     time.Time // since when no trial is there
	used     int64     // bytes of the device's memory; -1: not known
	measured time.Time // when it was
}

func newNode(in *os.File, limit int64) *node {
	return &node{limit: limit, in: in, over: make(chan struct{}), trainees: map[int64]*hosted{}, heard: time.Now(), idle: time.Now()}
}

// fail ends the conversation for everybody who is part of it.
func (n *node) fail(why error) {
	n.mu.Lock()
	if n.lost != nil {
		n.mu.Unlock()
		return
	}
	n.lost = why
	all := n.trainees
	n.trainees = map[int64]*hosted{}
	n.mu.Unlock()
	for _, h := range all {
		h.lose(why)
	}
	close(n.over)
	n.in.Close()
}

func (n *node) say(r hostRequest) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(body) > maxFrame {
		return fmt.Errorf("write frame: %d bytes, more than %d", len(body), maxFrame)
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	_ = n.in.SetWriteDeadline(time.Now().Add(lease / 4))
	if err := writeFrame(n.in, r); err != nil {
		n.fail(fmt.Errorf("it takes in no more: %w", err))
		return err
	}
	return nil
}

// listen hears a host until its stream ends, and returns why it did.
func (n *node) listen(out *os.File, hello chan<- *hostHello) error {
	in := bufio.NewReaderSize(out, 1<<16)
	for {
		var e hostEvent
		if err := readFrame(in, &e); err != nil {
			return err
		}
		n.mu.Lock()
		n.heard = time.Now()
		h := n.trainees[e.ID]
		if e.Kind == "alive" {
			n.gpus, n.read = e.GPUs, time.Now()
		}
		if e.Kind == "hello" && e.Hello != nil && n.hello == nil {
			n.hello = e.Hello
			hello <- e.Hello
		}
		n.mu.Unlock()
		switch {
		case e.Kind == "leaving":
			return errors.New(e.Why)
		case h != nil:
			h.take(e)
		}
	}
}

// start starts a trainer there. What keeps it from starting is heard as any
// other fault of it.
func (n *node) start(j job) (trainee, error) {
	h := &hosted{node: n, end_: make(chan struct{}), gone: make(chan struct{}), spool: &spool{limit: max(tailSize, int(n.limit))}, used: use{device: -1, whole: -1}}
	h.said.init()
	n.mu.Lock()
	if n.lost != nil {
		defer n.mu.Unlock()
		return nil, fmt.Errorf("start a trainer: %w", n.lost)
	}
	n.last++
	h.id = n.last
	n.trainees[h.id] = h
	n.mu.Unlock()
	return h, n.say(hostRequest{Op: "start", ID: h.id, Job: &hostJob{Name: j.name, ID: j.id, Trains: j.trains, Spare: j.spare, Deny: j.deny}})
}

// hosted is a trainer on another machine.
type hosted struct {
	*spool
	node   *node
	id     int64
	said   queue
	end_   chan struct{} // closed when its process has ended
	ending sync.Once
	gone   chan struct{} // closed when nothing of it is left, or nobody can say any more
	going  sync.Once
	staged string // the folder that it has
	proven string // the folder of its proof; "": none
	sent   stamps // of what that holds
	trial  bool

	mu       sync.Mutex
	used     use
	killed   hostGone
	received map[string]int64 // bytes of the files that it had written here, by name
	lost     error            // why nobody will say how it ended
}

// take takes in what the host says of it.
func (h *hosted) take(e hostEvent) {
	switch {
	case e.Kind == "event" && e.Event != nil:
		h.said.add(*e.Event)
	case e.Kind == "print":
		h.add(e.Data)
	case e.Kind == "files":
		h.receive(e)
	case e.Kind == "use" && e.Use != nil:
		h.mu.Lock()
		h.used = use{device: e.Use.Device, whole: e.Use.Whole, limit: e.Use.Limit, over: e.Use.Over, wrote: e.Use.Written}
		h.mu.Unlock()
		h.node.mu.Lock()
		h.node.used, h.node.measured = e.Use.Whole, time.Now()
		h.node.mu.Unlock()
	case e.Kind == "ended":
		h.ending.Do(func() { close(h.end_) })
	case e.Kind == "silent":
		h.said.close()
	case e.Kind == "gone" && e.Gone != nil:
		h.mu.Lock()
		h.killed = *e.Gone
		h.mu.Unlock()
		h.finish()
		if e.Gone.Unfit != "" {
			h.node.fail(&surrender{badNode{errors.New(e.Gone.Unfit)}})
		}
	}
}

// lose says that its host is gone, and it with that.
func (h *hosted) lose(why error) {
	h.mu.Lock()
	select {
	case <-h.gone: // that has been said
	default:
		h.lost = why
	}
	h.mu.Unlock()
	h.said.add(event{Kind: "broken", Broken: why.Error()})
	h.finish()
}

func (h *hosted) finish() {
	h.ending.Do(func() { close(h.end_) })
	h.said.close()
	h.going.Do(func() { close(h.gone) })
}

func (h *hosted) ask(r request) error {
	r.Protocol = protocol
	dir := ""
	switch {
	case r.Order != nil:
		dir = r.Order.Directory
	case r.Imports != nil:
		dir = r.Imports.Directory
	}
	if dir != "" && dir != h.staged {
		if err := h.stage(dir); err != nil {
			return err
		}
		h.staged = dir
	}
	if r.Op == "prove" {
		if err := h.prove(r.Say); err != nil {
			return err
		}
	}
	return h.node.say(hostRequest{Op: "ask", ID: h.id, Request: &r})
}

// prove sends what the notary has written for the trial. Its first answer names
// the folder, which lies beside the trial's.
func (h *hosted) prove(say json.RawMessage) error {
	var told struct {
		Folder string `json:"folder"`
	}
	_ = json.Unmarshal(say, &told) // others name none
	if told.Folder != "" {
		h.mu.Lock()
		h.proven, h.sent = filepath.Join(filepath.Dir(h.staged), filepath.Base(told.Folder)), stamps{}
		h.mu.Unlock()
	}
	if h.proven == "" {
		return nil
	}
	err := send(h.proven, h.sent, answerSize, func(files []stagedFile) error {
		return h.node.say(hostRequest{Op: "stage", ID: h.id, Dir: h.proven, Files: files})
	})
	if errors.Is(err, fs.ErrNotExist) { // the notary has left with its last answer, for which the trial waits
		return nil
	}
	return err
}

// receive takes in what the trial has written for the notary.
func (h *hosted) receive(e hostEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.proven == "" || e.Dir != h.proven || e.Files == nil {
		return
	}
	root, err := os.OpenRoot(h.proven)
	if err != nil {
		return // the evaluation is over
	}
	defer root.Close()
	for _, f := range e.Files {
		if !f.Mode.IsRegular() || filepath.Base(f.Name) != f.Name {
			continue
		}
		if err := f.write(root); err == nil {
			h.sent.note(filepath.Join(h.proven, f.Name), f.Name) // it need not go back
			if h.received == nil {
				h.received = map[string]int64{}
			}
			if !f.More {
				h.received[f.Name] = 0
			}
			h.received[f.Name] += int64(len(f.Data))
		}
	}
}

// stageMost is how much of what git keeps beside train.py goes with a trial, in bytes.
const stageMost = 256 << 20

// stage sends what is in a trial's folder.
func (h *hosted) stage(dir string) error {
	return send(dir, nil, stageMost, func(files []stagedFile) error {
		return h.node.say(hostRequest{Op: "stage", ID: h.id, Dir: dir, Files: files})
	})
}

func (h *hosted) events() <-chan event { return h.said.out }

func (h *hosted) ended() <-chan struct{} { return h.end_ }

func (h *hosted) logFD() int { return -1 }

func (h *hosted) moveIn(string) error { return nil }

func (h *hosted) sees(work string) string { return work }

// confined says what the node has found: there a trial reaches all that was
// staged for it.
func (h *hosted) confined() (alone bool, how string) {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	return false, h.node.hello.Sandbox
}

func (h *hosted) handle() string {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	at := handle{}
	if h.node.hello != nil {
		at.Host, at.Job, at.Step = h.node.hello.Host, h.node.hello.Job, h.node.hello.Step
	}
	data, err := json.Marshal(at)
	if err != nil {
		return ""
	}
	return string(data)
}

func (h *hosted) tell(op string) { _ = h.node.say(hostRequest{Op: op, ID: h.id}) } // one that cannot be told has been lost

func (h *hosted) calm() { h.tell("calm") }

func (h *hosted) rouse() { h.tell("rouse") }

func (h *hosted) renew() { h.tell("renew") }

func (h *hosted) cuda() bool {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	if h.node.hello == nil {
		return false
	}
	_, on := device.CUDAIndex(h.node.hello.Device)
	return on
}

func (h *hosted) occupy() {
	h.trial = true
	h.node.mu.Lock()
	h.node.trials++
	h.node.idle = time.Time{}
	h.node.mu.Unlock()
	h.tell("occupy")
}

func (h *hosted) use() use {
	h.mu.Lock()
	defer h.mu.Unlock()
	u := h.used
	u.far = true
	for _, size := range h.received {
		u.wrote += size
	}
	return u
}

// end waits until the host has proven that nothing is left. A host that does
// not is lost, and its step is ended for it. Nobody waits for a standby.
func (h *hosted) end(grace time.Duration, forced bool) gone {
	begin := time.Now()
	_ = h.node.say(hostRequest{Op: "end", ID: h.id, Grace: grace.Seconds(), Forced: forced})
	if !h.trial {
		return gone{}
	}
	timer := time.NewTimer(grace + killPatience + memoryPatience + 15*time.Second)
	defer timer.Stop()
	select {
	case <-h.gone:
	case <-timer.C:
		h.node.fail(errors.New("it does not say that a trial is gone"))
		<-h.gone
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.killed
	g := gone{left: k.Left, took: time.Duration(k.Took * float64(time.Second)), code: k.Code, signal: k.Signal, outOfMemory: k.OutOfMemory, lost: h.lost}
	if k.Took == 0 {
		g.took = time.Since(begin)
	}
	return g
}

func (h *hosted) settle(hear func(event)) {
	if !h.trial {
		return
	}
	for e := range h.said.out {
		hear(e)
	}
}

// Lost says that the device of a trial on another machine was lost under it. No
// seat waits for that device: its node is given back, and avoided.
type Lost struct{ Why string }

func (l *Lost) Error() string { return l.Why }

// freed says when the host has seen its device's memory back. Where it has not,
// the seat gives up the node, which needs no quarantine.
func (h *hosted) freed() (back time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.killed.Lost {
		err = &Lost{h.killed.Unfit}
	}
	return time.Duration(h.killed.Freed * float64(time.Second)), err
}

func (h *hosted) release(well bool) {
	_ = h.node.say(hostRequest{Op: "release", ID: h.id, Well: well})
	go func() { // what it still says, nobody hears
		for range h.said.out {
			continue
		}
	}()
	go func() {
		<-h.gone
		h.node.mu.Lock()
		defer h.node.mu.Unlock()
		delete(h.node.trainees, h.id)
		if h.trial {
			if h.node.trials--; h.node.trials == 0 {
				h.node.idle = time.Now()
			}
		}
	}()
}

// queue holds what a trainer says for whoever hears it next, so that nobody who
// speaks has to wait.
type queue struct {
	out  chan event
	wake chan struct{}

	mu    sync.Mutex
	held  []event
	ended bool
}

func (q *queue) init() {
	q.out, q.wake = make(chan event), make(chan struct{}, 1)
	go func() {
		defer close(q.out)
		for range q.wake {
			for {
				q.mu.Lock()
				if len(q.held) == 0 {
					ended := q.ended
					q.mu.Unlock()
					if ended {
						return
					}
					break
				}
				e := q.held[0]
				q.held = q.held[1:]
				q.mu.Unlock()
				q.out <- e
			}
		}
	}()
}

func (q *queue) add(e event) {
	q.mu.Lock()
	if !q.ended {
		q.held = append(q.held, e)
	}
	q.mu.Unlock()
	q.poke()
}

func (q *queue) close() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.poke()
}

func (q *queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}
