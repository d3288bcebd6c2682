package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// command is a process whose output is shown.
type command struct {
	name string
	args []string
	dir  string
	env  []string
	hide func(line string) bool // lines that are not worth showing
}

// tailLines is how much of a failed command's output its error quotes.
const tailLines = 12

// stream runs a command, shows its output line by line, indented, and returns
// the last lines.
func (m *maker) stream(ctx context.Context, c command) ([]string, error) {
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	show := &shower{m: m, hide: c.hide}
	cmd.Stdout, cmd.Stderr = show, show
	// A group of its own, so that whatever it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	show.flush()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return show.tail, err
}

// shower cuts what is written to it into lines. Progress that rewrites its
// line shows up as lines.
type shower struct {
	m    *maker
	hide func(string) bool
	rest []byte
	tail []string
}

func (s *shower) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		end := bytes.IndexAny(s.rest, "\r\n")
		if end < 0 {
			break
		}
		s.line(string(s.rest[:end]))
		s.rest = s.rest[end+1:]
	}
	if len(s.rest) > 4096 {
		s.flush()
	}
	return len(p), nil
}

func (s *shower) flush() {
	s.line(string(s.rest))
	s.rest = nil
}

func (s *shower) line(text string) {
	text = strings.TrimRight(text, " \t")
	if text == "" {
		return
	}
	if s.tail = append(s.tail, text); len(s.tail) > tailLines {
		s.tail = s.tail[1:]
	}
	if s.hide == nil || !s.hide(text) {
		s.m.say("  %s", text)
	}
}

var (
	fullDisk  = regexp.MustCompile(`(?i)no space left|disk quota exceeded|os error 28\b|errno 28\b`)
	noNetwork = regexp.MustCompile(`(?i)dns error|failed to lookup|name resolution|name or service not known|error sending request|connection refused|connection reset|network is unreachable|operation timed out|newconnectionerror`)
)

// failure says what a failed command means and what to do.
func failure(what string, tail []string, err error, remedy string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w: the same command continues from here", what, err)
	}
	text := strings.Join(tail, "\n")
	switch {
	case fullDisk.MatchString(text):
		return fmt.Errorf("%s: no space left on the disk: free some and run the same command again\n%s", what, text)
	case noNetwork.MatchString(text):
		return fmt.Errorf("%s: the network or the server cannot be reached: %s\n%s", what, remedy, text)
	case text == "":
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w\n%s", what, err, text)
}

// plantTree makes dir a git tree on branch main with one commit of everything
// in it. Nothing of the user's git configuration takes part: no template, no
// hook, no signing, no filter.
func plantTree(ctx context.Context, dir, message string) error {
	git := func(args ...string) (string, error) {
		args = append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "commit.gpgSign=false", "-c", "safe.directory=" + dir}, args...)
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=autoresearchd", "GIT_AUTHOR_EMAIL=autoresearchd@localhost",
			"GIT_COMMITTER_NAME=autoresearchd", "GIT_COMMITTER_EMAIL=autoresearchd@localhost",
		}
		out, err := cmd.CombinedOutput()
		text := strings.TrimSpace(string(out))
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return "", errors.New("make the git tree: git is not on PATH: install git")
		case err != nil:
			return "", fmt.Errorf("make the git tree in %s: %w: %s", dir, err, text)
		}
		return text, nil
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--template="},
		{"symbolic-ref", "HEAD", "refs/heads/main"},
		{"add", "--all"},
	} {
		if _, err := git(args...); err != nil {
			return err
		}
	}
	tree, err := git("write-tree")
	if err != nil {
		return err
	}
	commit, err := git("commit-tree", tree, "-m", message)
	if err != nil {
		return err
	}
	_, err = git("update-ref", "refs/heads/main", commit)
	return err
}
