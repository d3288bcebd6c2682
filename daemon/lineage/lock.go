package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// staleAge is how old a lock on our own refs must be before it is taken for a
// dead git's. Git holds one for milliseconds.
const staleAge = 10 * time.Second

var lockFile = regexp.MustCompile(`Unable to create '([^']+\.lock)': File exists`)

// updateRef moves ref from old to new.
func (r *Repo) updateRef(ctx context.Context, ref, new, old string) error {
	return r.withLock(ctx, ref, "", "update-ref", "--no-deref", ref, new, old)
}

// withLock runs a git command that locks ref. A lock that a killed git left on
// it is waited for and then removed; any other lock is a clear stop.
func (r *Repo) withLock(ctx context.Context, ref, stdin string, args ...string) error {
	for repaired := false; ; repaired = true {
		_, err := r.git(ctx, []byte(stdin), args...)
		var failed *gitError
		if !errors.As(err, &failed) {
			return err
		}
		found := lockFile.FindStringSubmatch(failed.stderr)
		if found == nil {
			return err
		}
		lock := found[1]
		if !repaired && lock == filepath.Join(r.common, ref)+".lock" {
			if r.clearStale(ctx, lock) {
				continue
			}
		}
		return fmt.Errorf("%w by %s: wait for the git command that runs in %s, or delete that file if none does", ErrRefLocked, lock, r.workspace)
	}
}

// clearStale reports whether the lock is gone: released by its holder, or
// removed because it is old and no git works in this repository.
func (r *Repo) clearStale(ctx context.Context, lock string) bool {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		info, err := os.Lstat(lock)
		if errors.Is(err, os.ErrNotExist) {
			return true
		}
		if err != nil {
			return false
		}
		if time.Since(info.ModTime()) >= staleAge {
			return !r.gitAlive() && os.Remove(lock) == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}

// gitAlive reports whether a git process works in this repository. One that
// cannot be looked at counts as working here.
func (r *Repo) gitAlive() bool {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil || len(names) == 0 {
		return true
	}
	places := r.places()
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err != nil || strings.TrimSpace(string(comm)) != "git" && !strings.HasPrefix(string(comm), "git-") {
			continue
		}
		dir := filepath.Dir(name)
		cwd, err := os.Readlink(filepath.Join(dir, "cwd"))
		if errors.Is(err, os.ErrNotExist) { // it ended meanwhile
			continue
		}
		args, argsErr := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || argsErr != nil || slices.ContainsFunc(places, func(place string) bool {
			return within(cwd, place) || strings.Contains(string(args), place)
		}) {
			return true
		}
	}
	return false
}

// places are where a git works on this repository's refs: in its work tree,
// of which the workspace may be a folder, in another of its work trees, or in
// its git directory.
func (r *Repo) places() []string {
	all := []string{r.top, r.common}
	if filepath.Base(r.common) == ".git" {
		all = append(all, filepath.Dir(r.common))
	}
	links, _ := filepath.Glob(filepath.Join(r.common, "worktrees", "*", "gitdir"))
	for _, link := range links {
		if at, err := os.ReadFile(link); err == nil {
			all = append(all, filepath.Dir(strings.TrimSpace(string(at))))
		}
	}
	return all
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+string(filepath.Separator))
}
