package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// large is the size in bytes from which a file is kept once for all trials.
const large = 32 << 20

// Checkout makes dir a work tree of its own for a trial: the files of base's
// workspace, and a .git in which HEAD is the commit that the trial starts from,
// so that a script can ask for it. The trial may do with both what it likes:
// they read the workspace's objects, and write none of them.
func (r *Repo) Checkout(ctx context.Context, base, parent, dir, store string) error {
	if parent == "" {
		parent = base
	}
	if err := checkHash(parent); err != nil {
		return err
	}
	if err := r.Export(ctx, base, dir, store); err != nil {
		return err
	}
	objects := r.Objects()
	config := "[core]\n\trepositoryformatversion = 0\n"
	if len(parent) == 64 {
		config = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n"
	}
	files := map[string]string{"HEAD": parent, "config": config, "refs/heads/.keep": "", "objects/info/.keep": ""}
	if !strings.ContainsAny(objects, "\n\"") {
		files["objects/info/alternates"] = objects
	}
	for name, text := range files {
		file := filepath.Join(dir, ".git", filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if err == nil && path.Base(name) != ".keep" {
			err = os.WriteFile(file, []byte(strings.TrimSuffix(text, "\n")+"\n"), 0o644)
		}
		if err != nil {
			return fmt.Errorf("make %s a work tree: %w", dir, err)
		}
	}
	return nil
}

// Objects is the folder with the workspace's objects.
func (r *Repo) Objects() string { return filepath.Join(r.common, "objects") }

// Export writes the committed files of the workspace into dir, which it
// creates: regular files with modes 0644 and 0755, and links that stay within.
// Lacking tells the rest. No filter and no attribute is applied; nothing is
// written outside dir and store.
//
// Large files are kept in store, a folder, under their objects' names, and are
// shared with it: as copies where the file system can copy on write, else as
// links to files that are not to be written. With "" they are copied.
func (r *Repo) Export(ctx context.Context, commit, dir, store string) error {
	if err := r.export(ctx, commit, dir, store); err != nil {
		return fmt.Errorf("export %.7s into %s: %w", commit, dir, err)
	}
	return nil
}

func (r *Repo) export(ctx context.Context, commit, dir, store string) error {
	entries, err := r.tree(ctx, commit, true)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e entry) bool { return !fs.ValidPath(e.path) || !e.regular() && e.mode != modeLink })
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	shared := []entry{}
	if store != "" {
		if entries, shared, err = r.bySize(ctx, entries); err != nil {
			return err
		}
	}
	links := map[string]string{}
	err = r.blobs(ctx, entries, func(e entry, size int64, content io.Reader) error {
		if e.mode == modeLink {
			target, err := io.ReadAll(io.LimitReader(content, maxLink))
			if links[e.path] = string(target); size > maxLink {
				delete(links, e.path)
			}
			return err
		}
		f, err := create(root, e)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return err
	}
	for _, e := range shared {
		if err := r.share(ctx, root, e, store); err != nil {
			return err
		}
	}
	for name, target := range links {
		if !staysWithin(name, target) {
			continue
		}
		if err := makeRoom(root, name); err != nil {
			return err
		}
		if err := root.Symlink(target, name); err != nil {
			return err
		}
	}
	return nil
}

const (
	modeLink      = "120000"
	modeSubmodule = "160000"
	maxLink       = 4096
)

// create makes a new file for an entry.
func create(root *os.Root, e entry) (*os.File, error) {
	if err := makeRoom(root, e.path); err != nil {
		return nil, err
	}
	mode := fs.FileMode(0o644)
	if e.mode == "100755" {
		mode = 0o755
	}
	return root.OpenFile(e.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// makeRoom makes the folder of a file. A file that is there already is to be
// replaced, not followed or rewritten in place.
func makeRoom(root *os.Root, name string) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// staysWithin reports whether a link leads to a place in its own tree.
func staysWithin(name, target string) bool {
	return target != "" && !path.IsAbs(target) && filepath.IsLocal(path.Join(path.Dir(name), target))
}

// bySize parts the large regular files from all else.
func (r *Repo) bySize(ctx context.Context, entries []entry) (small, big []entry, err error) {
	var query bytes.Buffer
	for _, e := range entries {
		query.WriteString(e.object + "\n")
	}
	out, err := r.git(ctx, query.Bytes(), "cat-file", "--batch-check=%(objectsize)")
	if err != nil {
		return nil, nil, err
	}
	sizes := strings.Fields(string(out))
	if len(sizes) != len(entries) { // one is missing: reading it says which
		return entries, nil, nil
	}
	for i, e := range entries {
		if size, err := strconv.ParseInt(sizes[i], 10, 64); err == nil && size >= large && e.regular() {
			big = append(big, e)
		} else {
			small = append(small, e)
		}
	}
	return small, big, nil
}

// share puts a large file into a trial's folder without writing it again.
func (r *Repo) share(ctx context.Context, root *os.Root, e entry, store string) error {
	kept := filepath.Join(store, e.object)
	if !untouched(kept) {
		if err := r.keep(ctx, e, kept); err != nil {
			return err
		}
	}
	from, err := os.Open(kept)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := create(root, e)
	if err != nil {
		return err
	}
	err = unix.IoctlFileClone(int(f.Fd()), int(from.Fd()))
	if closing := f.Close(); err == nil {
		return closing
	}
	if err := makeRoom(root, e.path); err != nil {
		return err
	}
	return root.Symlink(kept, e.path)
}

// keep writes an object's content to a file that is not to be written again.
func (r *Repo) keep(ctx context.Context, e entry, kept string) error {
	if err := os.MkdirAll(filepath.Dir(kept), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(kept), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = r.blobs(ctx, []entry{e}, func(_ entry, _ int64, content io.Reader) error {
		_, err := io.Copy(f, content)
		return err
	})
	if err = errors.Join(err, f.Chmod(0o444), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), kept); err != nil {
		return err
	}
	seal, err := sealOf(kept)
	if err != nil {
		return err
	}
	return os.WriteFile(kept+".seal", []byte(seal), 0o640)
}

// untouched reports whether a kept file is as it was written: permissions do
// not bind a trial that runs as root.
func untouched(kept string) bool {
	seal, err := os.ReadFile(kept + ".seal")
	if err != nil {
		return false
	}
	now, err := sealOf(kept)
	return err == nil && now == string(seal)
}

// sealOf changes with every write and every change of a file's status.
func sealOf(file string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(file, &st); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %d %d.%d\n", st.Ino, st.Size, st.Ctim.Sec, st.Ctim.Nsec), nil
}

// Lacking names what a commit holds and Export leaves out or cannot fill: links
// that lead out, submodules, and pointers of Git LFS.
func (r *Repo) Lacking(ctx context.Context, commit string) ([]string, error) {
	entries, err := r.tree(ctx, commit, true)
	if err != nil {
		return nil, fmt.Errorf("look for what a trial of %.7s lacks: %w", commit, err)
	}
	var lacking []string
	var read []entry
	for _, e := range entries {
		switch {
		case e.mode == modeSubmodule:
			lacking = append(lacking, e.path+" (a submodule)")
		case e.mode == modeLink || e.regular():
			read = append(read, e)
		}
	}
	small, _, err := r.bySize(ctx, read)
	if err != nil {
		return nil, fmt.Errorf("look for what a trial of %.7s lacks: %w", commit, err)
	}
	err = r.blobs(ctx, small, func(e entry, size int64, content io.Reader) error {
		text, err := io.ReadAll(io.LimitReader(content, maxLink))
		switch {
		case e.mode == modeLink && !staysWithin(e.path, string(text)):
			lacking = append(lacking, fmt.Sprintf("%s (a link to %s, outside of the workspace)", e.path, text))
		case e.regular() && bytes.HasPrefix(text, []byte("version https://git-lfs")):
			lacking = append(lacking, e.path+" (a Git LFS pointer, not its content)")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for what a trial of %.7s lacks: %w", commit, err)
	}
	return lacking, nil
}
