package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf16"
)

// unchanged compares a file of the work tree with its committed blob, object. Neither
// git status nor hash-object with a path is asked, since both would run the
// filters that the workspace names; what git does itself on the way out (line
// ends, $Id$, another encoding) is undone here.
func (r *Repo) unchanged(ctx context.Context, name, object string, blob []byte) error {
	path := filepath.Join(r.workspace, name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing from the work tree (%w): %s", name, ErrDirty, r.restore(ctx, name))
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file (%w): restore it with `git checkout -- %s`", name, ErrDirty, name)
	}
	if info.Size() > maxFile {
		return fmt.Errorf("read %s: %d bytes are more than the %d allowed", name, info.Size(), maxFile)
	}
	have, err := os.ReadFile(path)
	if err != nil || bytes.Equal(have, blob) {
		return err
	}
	attributes, err := r.attributes(ctx, name)
	if err != nil {
		return err
	}
	// A checkout may have written what an older commit of the branch holds.
	candidates, err := r.branchHeld(ctx, name)
	if err != nil {
		return err
	}
	candidates = append([]entry{{path: name, object: object}}, candidates...)
	found := false
	if err := r.blobs(ctx, candidates, func(_ entry, size int64, content io.Reader) error {
		if found || size > maxFile {
			return nil
		}
		blob, err := io.ReadAll(content)
		found = attributes.same(have, blob)
		return err
	}); err != nil || found {
		return err
	}
	if attributes.filter != "" {
		if same, err := r.untouched(ctx, name, object, info); same || err != nil {
			return err
		}
		return fmt.Errorf("%s differs from the last commit, and passes through the filter %q, which is not run here (%w): commit or restore it, or write `%s -filter` into .gitattributes and commit it as it is", name, attributes.filter, ErrDirty, name)
	}
	return fmt.Errorf("%s differs from the last commit (%w): commit it, or restore it with `git checkout -- %s`", name, ErrDirty, name)
}

// restore says how a file that is committed comes back.
func (r *Repo) restore(ctx context.Context, name string) string {
	if out, _ := r.git(ctx, nil, "config", "--type=bool", "core.sparseCheckout"); strings.TrimSpace(string(out)) == "true" {
		return "the checkout is sparse: take it in with `git sparse-checkout disable`"
	}
	return fmt.Sprintf("restore it with `git checkout -- %s`", name)
}

// attributes are those of a file that change it between blob and work tree.
type attributes struct {
	ident    bool
	filter   string // the driver's name, "" for none
	encoding string // of the work tree's file, "" for the blob's own
}

func (r *Repo) attributes(ctx context.Context, name string) (a attributes, err error) {
	out, err := r.git(ctx, nil, "check-attr", "-z", "ident", "filter", "working-tree-encoding", "--", r.prefix+name)
	if err != nil {
		return a, err
	}
	fields := strings.Split(string(out), "\x00")
	for ; len(fields) >= 3; fields = fields[3:] {
		value := fields[2]
		if value == "unspecified" || value == "unset" {
			continue
		}
		switch fields[1] {
		case "ident":
			a.ident = value == "set"
		case "filter":
			if value != "set" {
				a.filter = value
			}
		case "working-tree-encoding":
			a.encoding = strings.ToUpper(value)
		}
	}
	return a, nil
}

var ident = regexp.MustCompile(`\$Id:[^$\n]*\$`)

// same reports whether git could have made have out of blob.
func (a attributes) same(have, blob []byte) bool {
	blob = a.plain(blob)
	return bytes.Equal(a.plain(have), blob) || a.encoding != "" && bytes.Equal(a.plain(decode(have, a.encoding)), blob)
}

// plain is content as a commit would hold it, line ends aside.
func (a attributes) plain(content []byte) []byte {
	content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
	if a.ident {
		content = ident.ReplaceAll(content, []byte("$$Id$$"))
	}
	return content
}

// decode makes UTF-8 of the encodings that git knows by name and that are no
// superset of ASCII; of Latin-1 too. Any other is left as it is.
func decode(content []byte, encoding string) []byte {
	big := bytes.HasPrefix(content, []byte{0xfe, 0xff})
	switch {
	case encoding == "ISO-8859-1" || encoding == "LATIN1" || encoding == "LATIN-1":
		text := make([]rune, len(content))
		for i, c := range content {
			text[i] = rune(c)
		}
		return []byte(string(text))
	case strings.HasPrefix(encoding, "UTF-16"), strings.HasPrefix(encoding, "UTF16"):
		if strings.Contains(encoding, "BE") {
			big = true
		}
	default:
		return content
	}
	units := make([]uint16, len(content)/2)
	for i := range units {
		low, high := content[2*i], content[2*i+1]
		if big {
			low, high = high, low
		}
		units[i] = uint16(high)<<8 | uint16(low)
	}
	return bytes.TrimPrefix([]byte(string(utf16.Decode(units))), []byte("\ufeff"))
}

var indexTimes = regexp.MustCompile(`(?s)mtime: (\d+):(\d+).*size: (\d+)\t`)

// untouched reports whether the index holds the blob for this file with the
// file's own time and size, and was written later: what git itself goes by
// before it looks at content.
func (r *Repo) untouched(ctx context.Context, name, object string, info fs.FileInfo) (bool, error) {
	index, err := os.Stat(filepath.Join(r.gitDir, "index"))
	if err != nil {
		return false, nil
	}
	staged, err := r.git(ctx, nil, "ls-files", "--stage", "-z", "--", r.prefix+name)
	if err != nil || !strings.Contains(string(staged), " "+object+" 0\t") {
		return false, err
	}
	out, err := r.git(ctx, nil, "ls-files", "--debug", "--", r.prefix+name)
	if err != nil {
		return false, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	found := indexTimes.FindStringSubmatch(string(out))
	return ok && found != nil && info.ModTime().Before(index.ModTime()) &&
		found[1] == fmt.Sprint(stat.Mtim.Sec) && (found[2] == "0" || found[2] == fmt.Sprint(stat.Mtim.Nsec)) && found[3] == fmt.Sprint(info.Size()), nil
}
