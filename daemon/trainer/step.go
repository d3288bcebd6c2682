package trainer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"autoresearchd/daemon/slurm"
)

// step is an srun that runs.
type step struct {
	leash  *Leash
	in     *os.File
	out    *os.File
	marker string
	said   *tail
	silent chan struct{}
}

// startStep starts a host in an allocation.
func startStep(cgroups *Cgroups, c *cluster, job string) (*step, error) {
	var files [3][2]*os.File
	for i := range files {
		r, w, err := os.Pipe()
		if err != nil {
			for _, pair := range files[:i] {
				pair[0].Close()
				pair[1].Close()
			}
			return nil, fmt.Errorf("start a step: %w", err)
		}
		files[i] = [2]*os.File{r, w}
	}
	s := &step{in: files[0][1], out: files[1][0], said: &tail{}, silent: make(chan struct{}), marker: Marker(c.options.Owner+":cluster", 0)}
	cmd := c.slurm.Step(job, "host", c.binary, "trainer", hostArg)
	cmd.Env = append(cmd.Env, s.marker)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files[0][0], files[1][1], files[2][1]
	var err error
	s.leash, err = cgroups.Start(cmd, "host", s.marker, Share{})
	files[0][0].Close()
	files[1][1].Close()
	files[2][1].Close()
	if err != nil {
		s.in.Close()
		s.out.Close()
		files[2][0].Close()
		return nil, fmt.Errorf("start a step: %w", slurm.Fault("srun", err, nil))
	}
	go func() {
		defer close(s.silent)
		_, _ = io.Copy(s.said, files[2][0])
		files[2][0].Close()
	}()
	return s, nil
}

func (s *step) end() {
	s.leash.End(time.Second)
	s.in.Close()
	s.out.Close()
	s.leash.Release()
}

// fault adds to an error what srun and the node have said.
func (s *step) fault(err error) error {
	select {
	case <-s.silent:
	case <-time.After(2 * time.Second):
	}
	text := strings.TrimSpace(s.said.text())
	if text == "" {
		return err
	}
	lines := strings.Split(text, "\n")
	words := Inert(strings.Join(lines[max(0, len(lines)-3):], "; "))
	switch {
	case strings.Contains(text, "execve") || strings.Contains(text, "No such file") || strings.Contains(text, "shared libraries"):
		return badNode{errors.New(words + ": install the same autoresearchd, with the CPython that it embeds, at the same path on the nodes, or on a file system that they share")}
	case strings.Contains(text, "unknown command"):
		return badNode{errors.New(words + ": it is another version of autoresearchd: install this one there")}
	}
	return errors.New(words)
}

// tail keeps the last that a program says.
type tail struct {
	mu   sync.Mutex
	held bytes.Buffer
}

func (t *tail) Write(data []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held.Write(data)
	if n := t.held.Len(); n > 8<<10 {
		t.held.Next(n - 4<<10)
	}
	return len(data), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held.String()
}
