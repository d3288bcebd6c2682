package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// gitTimeout bounds one git command, whatever the caller's context allows.
const gitTimeout = 2 * time.Minute

// ours goes before every command and wins over the workspace's .git/config.
var ours = []string{
	"--no-pager", "--no-replace-objects", "--literal-pathspecs",
	"-c", "core.fsmonitor=false",
	"-c", "core.hooksPath=/dev/null",
	"-c", "core.attributesFile=/dev/null",
	"-c", "core.fsync=committed,reference",
	"-c", "core.filesRefLockTimeout=500",
	"-c", "core.logAllRefUpdates=false",
	"-c", "commit.gpgSign=false",
	"-c", "i18n.commitEncoding=UTF-8",
	"-c", "gc.auto=0",
	"-c", "maintenance.auto=false",
	"-c", "protocol.allow=never",
	"-c", "submodule.recurse=false",
	"-c", "advice.graftFileDeprecated=false",
}

const identity = "autoresearchd <autoresearchd@localhost>"

// gitError is a git command that failed; Unwrap gives the exec error.
type gitError struct {
	command string // "update-ref", for messages
	stderr  string // trimmed, one line
	err     error
}

func (e *gitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("run git %s: %v", e.command, e.err)
	}
	return fmt.Sprintf("run git %s: %s", e.command, e.stderr)
}

func (e *gitError) Unwrap() error { return e.err }

// environ is everything that git sees of our environment: nothing but PATH is
// inherited, so that GIT_DIR and its kin cannot point it elsewhere.
func (r *Repo) environ(when time.Time) []string {
	name, email, _ := strings.Cut(strings.TrimSuffix(identity, ">"), " <")
	date := fmt.Sprintf("@%d +0000", when.Unix())
	return []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=/nonexistent",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_OPTIONAL_LOCKS=0",
		"GIT_NO_LAZY_FETCH=1",
		"GIT_GRAFT_FILE=/dev/null",
		"GIT_PAGER=cat",
		"GIT_EDITOR=false",
		"GIT_AUTHOR_NAME=" + name, "GIT_AUTHOR_EMAIL=" + email, "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + email, "GIT_COMMITTER_DATE=" + date,
	}
}

// git runs one command at the work tree's top and returns its standard output.
func (r *Repo) git(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	return r.gitAt(ctx, time.Unix(0, 0), stdin, args...)
}

func (r *Repo) gitAt(ctx context.Context, when time.Time, stdin []byte, args ...string) ([]byte, error) {
	var out bytes.Buffer
	err := r.stream(ctx, when, bytes.NewReader(stdin), func(stdout io.Reader) error {
		_, err := out.ReadFrom(stdout)
		return err
	}, args...)
	return out.Bytes(), err
}

// stream runs one command, handing its standard output to read. When read
// fails, the command is killed and its error returned.
func (r *Repo) stream(ctx context.Context, when time.Time, stdin io.Reader, read func(io.Reader) error, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	all := append([]string{"-C", r.top, "--git-dir=" + r.gitDir}, ours...)
	if r.installed.Before(Flushes) { // core.fsync's predecessor; the later ones only warn of it
		all = append(all, "-c", "core.fsyncObjectFiles=true")
	}
	cmd := exec.CommandContext(ctx, "git", append(all, args...)...)
	cmd.Env = r.environ(when)
	cmd.Stdin = stdin
	cmd.WaitDelay = 5 * time.Second
	// A terminal's Ctrl-C is the daemon's to handle: it must not cut a git command in half.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return &gitError{args[0], "", err}
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errors.New("run git: it is not on PATH: install git")
		}
		return &gitError{args[0], "", err}
	}
	// A stray child that inherited the pipe must not keep us reading past the deadline.
	stop := context.AfterFunc(ctx, func() { stdout.Close() })
	readErr := read(stdout)
	stop()
	short := errors.Is(readErr, io.ErrUnexpectedEOF) // git knows why it ended early
	if readErr != nil && !short {
		cancel()
	}
	err = cmd.Wait()
	if readErr != nil && !errors.Is(readErr, os.ErrClosed) && !(short && err != nil) {
		return readErr
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		words := strings.Join(strings.Fields(stderr.String()), " ")
		if absent.MatchString(words) && r.partial(ctx) {
			return r.missing()
		}
		return &gitError{args[0], words, err}
	}
	return nil
}

// absent is what git's versions say of an object that it has not and may not fetch.
var absent = regexp.MustCompile(`from promisor remote|lazy fetching disabled|transport '.*' not allowed|not a tree object|Could not read [0-9a-f]{40}`)

// missing is the error of an object that a partial clone left out.
func (r *Repo) missing() error {
	with := ""
	if r.installed.Before(Flushes) { // --refetch is as old
		with = fmt.Sprintf(", with git %s or later,", Flushes)
	}
	return fmt.Errorf("this partial clone does not have it (%w): fetch what it lacks%s with `git fetch --refetch --no-filter` in %s", ErrMissing, with, r.workspace)
}
