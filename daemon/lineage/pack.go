package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"autoresearchd/daemon/faultpoint"
)

var (
	planted = faultpoint.New("restore.objects")
	grown   = faultpoint.New("restore.worktree")
)

// Layout is what a repository is beside its objects and a study's refs.
type Layout struct {
	Prefix  string `json:"prefix"`            // of the workspace in the work tree, with a slash at its end; "": it is the work tree
	Format  string `json:"format"`            // of hashes: sha1 or sha256
	Branch  string `json:"branch"`            // that HEAD is, in full; "": it is detached
	Head    string `json:"head"`              // the commit that is checked out
	Shallow string `json:"shallow,omitempty"` // where the clone's history was cut, a commit a line
}

// Layout reads the repository's.
func (r *Repo) Layout(ctx context.Context) (l Layout, err error) {
	l.Prefix, l.Format = r.prefix, "sha1"
	if l.Head, err = r.Head(ctx); err != nil {
		return l, err
	}
	if len(l.Head) == 64 {
		l.Format = "sha256"
	}
	if l.Branch, err = r.headBranch(ctx); err != nil {
		return l, err
	}
	cut, err := os.ReadFile(filepath.Join(r.common, "shallow"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return l, err
	}
	l.Shallow = string(cut)
	return l, nil
}

// Pack writes all that commits reach as a pack of git's.
func (r *Repo) Pack(ctx context.Context, commits []string, to io.Writer) error {
	err := r.stream(ctx, time.Unix(0, 0), strings.NewReader(strings.Join(commits, "\n")+"\n"), func(stdout io.Reader) error {
		_, err := io.Copy(to, stdout)
		return err
	}, "pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q")
	var failed *gitError
	if errors.As(err, &failed) {
		return fmt.Errorf("%w: `autoresearchd verify` says what git lacks", err)
	}
	return err
}

// Plant makes a repository out of a pack, with a work tree that holds what
// layout has checked out, and these refs, by their full names. workspace is a
// path that is not there yet, or an empty folder.
func Plant(ctx context.Context, workspace string, l Layout, pack io.Reader, refs map[string]string) error {
	if err := plant(ctx, workspace, l, pack, refs); err != nil {
		return fmt.Errorf("make the repository in %s: %w", workspace, err)
	}
	return nil
}

func plant(ctx context.Context, workspace string, l Layout, pack io.Reader, refs map[string]string) error {
	installed, _, err := InstalledGit(ctx)
	if err != nil {
		return err
	}
	top := Top(workspace, l)
	if top == "" {
		return fmt.Errorf("it was the folder %s of a repository: name one that ends so", l.Prefix)
	}
	if err := os.MkdirAll(top, 0o755); err != nil {
		return err
	}
	if top, err = filepath.EvalSymlinks(top); err != nil {
		return err
	}
	gitDir := filepath.Join(top, ".git")
	r := &Repo{workspace: filepath.Join(top, filepath.FromSlash(l.Prefix)), top: top, prefix: l.Prefix, gitDir: gitDir, common: gitDir, installed: installed}
	run := func(stdin string, args ...string) error {
		_, err := r.git(ctx, []byte(stdin), args...)
		return err
	}
	format := []string{"init", "-q", "--template="}
	if l.Format != "sha1" {
		format = append(format, "--object-format="+l.Format)
	}
	if err := run("", format...); err != nil {
		return err
	}
	if l.Shallow != "" {
		if err := os.WriteFile(filepath.Join(gitDir, "shallow"), []byte(l.Shallow), 0o644); err != nil {
			return err
		}
	}
	if err := r.stream(ctx, time.Unix(0, 0), pack, func(stdout io.Reader) error {
		_, err := io.Copy(io.Discard, stdout)
		return err
	}, "index-pack", "--stdin", "--fix-thin"); err != nil {
		return err
	}
	planted.Hit()
	all := map[string]string{}
	if strings.HasPrefix(l.Branch, "refs/heads/") {
		all[l.Branch] = l.Head
	}
	for ref, commit := range refs { // they win: the branch that is checked out may be the study's
		all[ref] = commit
	}
	var update bytes.Buffer
	for ref, commit := range all {
		fmt.Fprintf(&update, "create %s %s\n", ref, commit)
	}
	if err := run(update.String(), "update-ref", "--no-deref", "--stdin"); err != nil {
		return err
	}
	if l.Branch != "" {
		err = run("", "symbolic-ref", "HEAD", l.Branch)
	} else {
		err = run("", "update-ref", "--no-deref", "HEAD", l.Head)
	}
	if err == nil {
		err = run("", "read-tree", "HEAD")
	}
	if err == nil {
		err = run("", "checkout-index", "-a", "-f")
	}
	if err == nil {
		grown.Hit()
	}
	return err
}

// Top is the work tree of which a workspace is the folder that layout says; "":
// its path does not end so.
func Top(workspace string, l Layout) string {
	names := strings.Split(strings.TrimSuffix(l.Prefix, "/"), "/")
	if l.Prefix == "" {
		return workspace
	}
	for _, name := range slices.Backward(names) {
		if filepath.Base(workspace) != name {
			return ""
		}
		workspace = filepath.Dir(workspace)
	}
	return workspace
}
