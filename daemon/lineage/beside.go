package lineage

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Changed reads no more of a work tree than so many bytes, and looks twice at no
// more than so many files.
const (
	looked  = 256 << 20
	doubted = 50
)

// Changed returns the committed regular files that the work tree holds
// otherwise than commit: what a trial gets of them is not what its author sees
// there. later are those of them that are as HEAD, a later commit, has them.
// Scripts come first. Files above 16 MiB and those that the work tree lacks are
// passed over.
func (r *Repo) Changed(ctx context.Context, commit string) (changed, later []string, err error) {
	entries, err := r.tree(ctx, commit, true)
	if err != nil {
		return nil, nil, fmt.Errorf("compare the work tree with %.7s: %w", commit, err)
	}
	head, err := r.Head(ctx)
	if err != nil {
		return nil, nil, err
	}
	scripts := func(e entry) bool { return strings.HasSuffix(e.path, ".py") }
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case scripts(a) == scripts(b):
			return 0
		case scripts(a):
			return -1
		}
		return 1
	})
	left, doubts := looked, doubted
	for _, e := range entries {
		path := filepath.Join(r.workspace, filepath.FromSlash(e.path))
		info, err := os.Lstat(path)
		if !e.regular() || err != nil || !info.Mode().IsRegular() || info.Size() > maxFile || int(info.Size()) > left || doubts == 0 {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		left -= len(data)
		if blobName(data, len(e.object)) == e.object || blobName(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")), len(e.object)) == e.object {
			continue
		}
		doubts--
		differs := func(at string) (bool, error) {
			blob, err := r.ReadFile(ctx, at, e.path)
			if err == nil {
				err = r.unchanged(ctx, e.path, blobName(blob, len(e.object)), blob)
			}
			if errors.Is(err, ErrDirty) || errors.Is(err, fs.ErrNotExist) {
				return true, nil
			}
			return false, err
		}
		if different, err := differs(commit); err != nil {
			return nil, nil, fmt.Errorf("compare %s with %.7s: %w", e.path, commit, err)
		} else if !different {
			continue
		}
		switch different, err := differs(head); {
		case err != nil:
			return nil, nil, fmt.Errorf("compare %s with %.7s: %w", e.path, head, err)
		case different:
			changed = append(changed, e.path)
		default:
			later = append(later, e.path)
		}
	}
	return changed, later, nil
}

// blobName is the name that git gives to a file's content, of so many digits.
func blobName(data []byte, digits int) string {
	data = append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...)
	if digits == 2*sha256.Size {
		return fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return fmt.Sprintf("%x", sha1.Sum(data))
}

// Absent says why a trial lacks a file of the work tree that is none of the
// commit's regular files, and what to do, in words that follow its name. They
// are empty where it is reached by a link that a trial gets.
func (r *Repo) Absent(ctx context.Context, commit, name string) (string, error) {
	for above := name; above != "."; above = filepath.Dir(above) {
		entries, err := r.tree(ctx, commit, false, above)
		switch {
		case err != nil:
			return "", err
		case len(entries) != 1:
		case entries[0].mode == modeSubmodule:
			return fmt.Sprintf("lies in the submodule %s, whose files no trial gets: commit the file itself", above), nil
		case entries[0].mode == modeLink:
			if target, err := os.Readlink(filepath.Join(r.workspace, above)); err == nil && staysWithin(above, target) {
				return "", nil
			}
			return fmt.Sprintf("is reached by the link %s, which leads out of the workspace, and no trial gets it: commit the file itself", above), nil
		}
	}
	force := ""
	if ignored, err := r.git(ctx, nil, "ls-files", "--others", "--ignored", "--exclude-standard", "--", r.prefix+name); err == nil && len(ignored) > 0 {
		force = "-f "
	}
	work, file := Quote(r.workspace), Quote(name)
	return fmt.Sprintf("is not committed: run `git -C %s add %s%s` and `git -C %s commit -m %s`", work, force, file, work, Quote("add "+strings.TrimSuffix(filepath.Base(name), ".py"))), nil
}
