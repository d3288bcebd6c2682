package searchtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"time"

	"autoresearchd/search"
)

// Program is what a function sees that plays a program of the user's.
type Program struct {
	search.Command
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Killed <-chan struct{}

	p *process
}

// File returns a file of the working directory.
func (g *Program) File(name string) []byte {
	data, _ := g.p.File(name)
	return data
}

// Write writes a file of the working directory; nil removes it.
func (g *Program) Write(name string, data []byte) {
	g.p.mu.Lock()
	defer g.p.mu.Unlock()
	if g.p.files[name] = data; data == nil {
		delete(g.p.files, name)
	}
}

// Start returns a search.Tools.Start that runs main in place of each program,
// on a goroutine of its own. What main returns is how the program ended.
func Start(main func(g *Program) error) func(context.Context, search.Command) (search.Process, error) {
	return func(ctx context.Context, c search.Command) (search.Process, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := &process{command: c, files: maps.Clone(c.Files), in: newPipe(), out: newPipe(), err: newPipe(), done: make(chan struct{})}
		if p.files == nil {
			p.files = map[string][]byte{}
		}
		if c.Deadline > 0 {
			late := time.AfterFunc(c.Deadline, func() { p.end(fmt.Errorf("it was ended at its deadline of %v", c.Deadline)) })
			context.AfterFunc(p.life(), func() { late.Stop() })
		}
		go func() {
			p.end(main(&Program{Command: c, Stdin: p.in, Stdout: p.out, Stderr: p.err, Killed: p.done, p: p}))
		}()
		return p, nil
	}
}

type process struct {
	command      search.Command
	in, out, err *pipe
	done         chan struct{}
	once         sync.Once
	fault        error // read after done

	mu    sync.Mutex
	files map[string][]byte
}

// life is a context that ends with the process.
func (p *process) life() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-p.done
		cancel()
	}()
	return ctx
}

func (p *process) end(err error) {
	p.once.Do(func() {
		p.fault = err
		for _, pipe := range []*pipe{p.in, p.out, p.err} {
			pipe.Close()
		}
		close(p.done)
	})
}

func (p *process) Stdin() io.WriteCloser { return p.in }

func (p *process) Stdout() io.Reader {
	if p.command.Output > 0 {
		return nil
	}
	return p.out
}

func (p *process) Output() []byte {
	all := p.out.all()
	return all[:min(len(all), p.command.Output)]
}

func (p *process) Tail() string { return string(bytes.TrimSpace(p.err.all())) }

func (p *process) File(name string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	data, ok := p.files[name]
	if !ok {
		return nil, fmt.Errorf("read %s: there is no such file", name)
	}
	return bytes.Clone(data), nil
}

func (p *process) Done() <-chan struct{} { return p.done }

func (p *process) Err() error {
	<-p.done
	return p.fault
}

func (p *process) Kill() { p.end(errors.New("it was ended")) }

func (p *process) Close() { p.Kill() }

// pipe is a pipe of any capacity, which Close ends for both sides.
type pipe struct {
	mu     sync.Mutex
	more   *sync.Cond
	data   []byte
	read   int
	closed bool
}

func newPipe() *pipe {
	p := &pipe{}
	p.more = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.read == len(p.data) && !p.closed {
		p.more.Wait()
	}
	n := copy(b, p.data[p.read:])
	p.read += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return 0, io.ErrClosedPipe
	}
	p.data = append(p.data, b...)
	p.more.Broadcast()
	return len(b), nil
}

func (p *pipe) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.more.Broadcast()
	return nil
}

func (p *pipe) all() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Clone(p.data)
}
