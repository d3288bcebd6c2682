package lineage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// find locates the repository around r.workspace and fills in top, prefix,
// gitDir and common. It reports whether the workspace lies in a work tree.
//
// The search for .git is ours and git is told its result: git's own would ask
// who owns the folder, and the ways to answer differ by version.
func (r *Repo) find(ctx context.Context) (bool, error) {
	for dir := r.workspace; ; dir = filepath.Dir(dir) {
		if gitDir := gitDirOf(dir); gitDir != "" {
			r.top, r.gitDir = dir, gitDir
			break
		}
		if dir == filepath.Dir(dir) {
			return false, nil
		}
	}
	if rest := strings.TrimPrefix(r.workspace[len(r.top):], string(filepath.Separator)); rest != "" {
		r.prefix = filepath.ToSlash(rest) + "/"
	}
	out, err := r.git(ctx, nil, "rev-parse", "--is-inside-work-tree", "--show-toplevel", "--git-common-dir")
	var failed *gitError
	if errors.As(err, &failed) && (strings.Contains(failed.stderr, "not a git repository") || strings.Contains(failed.stderr, "must be run in a work tree")) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != 3 || lines[0] != "true" || lines[1] != r.top {
		return false, nil
	}
	if r.common = lines[2]; !filepath.IsAbs(r.common) {
		r.common = filepath.Join(r.top, r.common)
	}
	return true, nil
}

// gitDirOf returns the git directory that dir/.git is or names, or "".
func gitDirOf(dir string) string {
	path := filepath.Join(dir, ".git")
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if info.Mode().IsRegular() { // a linked work tree or a submodule
		text, err := os.ReadFile(path)
		name, ok := strings.CutPrefix(strings.TrimRight(string(text), "\r\n"), "gitdir: ")
		if err != nil || !ok {
			return ""
		}
		if path = name; !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return ""
	}
	if _, err := os.Lstat(filepath.Join(path, "HEAD")); err != nil {
		return ""
	}
	return path
}

// subtree names the workspace's own tree in a commit, for git; "" when the
// commit has no such folder.
func (r *Repo) subtree(ctx context.Context, commit string) (string, error) {
	if r.prefix == "" {
		return commit, nil
	}
	out, err := r.git(ctx, nil, "rev-parse", "--verify", "--quiet", commit+":"+strings.TrimSuffix(r.prefix, "/"))
	if exitCode(err) == 1 {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// graft puts the tree of the workspace's folder into base's whole tree, and
// returns that.
func (r *Repo) graft(ctx context.Context, base, tree string) (string, error) {
	names := strings.Split(strings.TrimSuffix(r.prefix, "/"), "/")
	if r.prefix == "" {
		names = nil
	}
	for len(names) > 0 {
		last := len(names) - 1
		above := base
		if last > 0 {
			above += ":" + strings.Join(names[:last], "/")
		}
		entries, err := r.list(ctx, above, false)
		if err != nil {
			return "", err
		}
		found := false
		for i := range entries {
			if entries[i].path == names[last] && entries[i].kind == "tree" {
				entries[i].object, found = tree, true
			}
		}
		if !found {
			return "", fmt.Errorf("%.7s has no folder %s", base, strings.Join(names, "/"))
		}
		if tree, err = r.makeTree(ctx, entries); err != nil {
			return "", err
		}
		names = names[:last]
	}
	return tree, nil
}
