package external

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/trainer"
)

// program is a search.Process.
type program struct {
	programs *Programs
	name     string
	leash    *trainer.Leash
	link     *sandbox.Link // nil: it is not confined
	folder   string        // holds work/ and its control group's name
	root     *os.Root
	secrets  map[string]string // values that it sees and nobody else shall, by name
	in       *os.File
	out      *os.File
	err      *os.File
	output   keep
	errors   keep

	once  sync.Once
	kill  chan struct{}
	done  chan struct{}
	fault error // read after done

	closing sync.Once
}

// watch sees a program to its end.
func (r *program) watch(deadline time.Duration) {
	defer close(r.done)
	var readers sync.WaitGroup
	readers.Go(func() { r.errors.copyFrom(r.err) })
	if r.output.limit > 0 {
		readers.Go(func() { r.output.copyFrom(r.out) })
	}
	var late <-chan time.Time
	if deadline > 0 {
		timer := time.NewTimer(deadline)
		defer timer.Stop()
		late = timer.C
	}
	why := ""
	select {
	case <-r.leash.Ended():
	case <-r.kill:
		why = "it was ended"
	case <-late:
		why = fmt.Sprintf("it was ended at its deadline of %v", deadline)
	}
	// What it started goes with it.
	left, _ := r.leash.End(grace)
	r.in.Close()
	// All that could write is dead; the bound is for what could not be killed.
	until := time.Now().Add(drain)
	_ = r.out.SetReadDeadline(until)
	_ = r.err.SetReadDeadline(until)
	readers.Wait()
	r.err.Close()
	r.leash.Release()
	switch {
	case len(left) > 0:
		r.fault = fmt.Errorf("processes %v of %s could not be ended", left, r.name)
		r.programs.o.Log.Error("a program is still there", "err", r.fault)
	case why != "":
		r.fault = fmt.Errorf("%s", why)
	default:
		r.fault = r.leash.Err()
	}
	if r.link == nil {
		return
	}
	// Of a program that is confined, the leader's end tells too little.
	switch died, born := r.link.Fate(); {
	case len(left) > 0 || why != "":
	case !born:
		r.fault = errors.New("it could not be started in its sandbox")
	case died != 0:
		r.fault = fmt.Errorf("signal: %v", died)
	}
}

func (r *program) Stdin() io.WriteCloser { return r.in }

func (r *program) Stdout() io.Reader {
	if r.output.limit > 0 {
		return nil
	}
	return r.out
}

func (r *program) Output() []byte { return r.redact(r.output.bytes()) }

func (r *program) Tail() string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(r.redact(r.errors.bytes())), "?"))
	lines := strings.Split(text, "\n")
	if len(lines) > 20 {
		lines = lines[len(lines)-20:]
	}
	for i := range lines {
		lines[i] = trainer.Inert(strings.TrimRight(lines[i], "\r"))
	}
	return strings.Join(lines, "\n")
}

func (r *program) redact(data []byte) []byte {
	for name, value := range r.secrets {
		data = bytes.ReplaceAll(data, []byte(value), []byte("["+name+"]"))
	}
	return data
}

// File reads a regular file, whatever the program has put in its place.
func (r *program) File(name string) ([]byte, error) {
	f, err := r.root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("read what %s left: %w", r.name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read what %s left: %s is not a regular file", r.name, name)
	}
	data, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err != nil {
		return nil, fmt.Errorf("read what %s left: %w", r.name, err)
	}
	if len(data) > fileLimit {
		return nil, fmt.Errorf("read what %s left: %s is larger than %d MiB", r.name, name, fileLimit>>20)
	}
	for variable, value := range r.secrets {
		if bytes.Contains(data, []byte(value)) {
			return nil, fmt.Errorf("read what %s left: %s holds the value of %s", r.name, name, variable)
		}
	}
	return data, nil
}

func (r *program) Done() <-chan struct{} { return r.done }

func (r *program) Err() error {
	<-r.done
	return r.fault
}

// Kill returns when nothing of it is left, which is bounded.
func (r *program) Kill() {
	r.once.Do(func() { close(r.kill) })
	<-r.done
}

func (r *program) Close() {
	r.closing.Do(func() {
		r.Kill()
		r.out.Close()
		r.root.Close()
		if err := removeAll(r.folder); err != nil {
			r.programs.o.Log.Error("a program's folder could not be removed", "err", err)
		}
		r.programs.mu.Lock()
		delete(r.programs.running, r)
		r.programs.mu.Unlock()
	})
}

// keep keeps the first and the last of what is written, half a limit of each.
type keep struct {
	limit int

	mu    sync.Mutex
	first []byte
	last  []byte
	total int64
}

func (k *keep) copyFrom(r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		k.add(buf[:n])
		if err != nil {
			return
		}
	}
}

func (k *keep) add(data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.total += int64(len(data))
	half := k.limit / 2
	n := min(len(data), half-len(k.first))
	k.first = append(k.first, data[:n]...)
	k.last = append(k.last, data[n:]...)
	if len(k.last) > 2*half {
		k.last = append(k.last[:0], k.last[len(k.last)-half:]...)
	}
}

// bytes says how much it leaves out, if it does.
func (k *keep) bytes() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.last
	if half := k.limit / 2; len(last) > half {
		last = last[len(last)-half:]
	}
	out := bytes.Clone(k.first)
	if left := k.total - int64(len(k.first)+len(last)); left > 0 {
		out = fmt.Appendf(out, "\n[autoresearchd: %d bytes are left out here]\n", left)
	}
	return append(out, last...)
}
