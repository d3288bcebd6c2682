// Package backup keeps a study in one file, and makes it a study again in
// another place.
//
// The file is a gzipped tar: journal.db, git/objects.pack and git/repository.json,
// results.tsv, llm.json, notary/reference (losses that trials are held against),
// trials/<id>/…, autoresearch.toml, and last manifest.json
// with the size and SHA-256 of each of them. The journal is that of one moment;
// what else there is of the record follows from it, so a daemon may go on
// meanwhile. Nothing is taken that is not named here: no key, no socket, nothing
// of the workspace but what git has.
package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/writable"
	"autoresearchd/search"
)

var (
	written = faultpoint.New("backup.written")
	named   = faultpoint.New("backup.after")
)

const (
	format         = 1
	manifestName   = "manifest.json"
	journalName    = "journal.db"
	packName       = "git/objects.pack"
	repositoryName = "git/repository.json"
	resultsName    = "results.tsv"
	trialsName     = "trials"
	referenceName  = study.Notary + "/" + trainer.ReferenceFile
	configName     = "autoresearch.toml"
)

// Manifest says what a backup is of, and what is in it.
type Manifest struct {
	Format  int       `json:"format"`
	Program string    `json:"program"` // the version of autoresearchd
	MadeAt  time.Time `json:"made_at"`
	Study   string    `json:"study"` // its tag
	Trials  int       `json:"trials"`
	Files   []File    `json:"files"` // in the order in which they lie there
}

// File is one of a backup's.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// repository is git/repository.json.
type repository struct {
	lineage.Layout
	Refs map[string]string `json:"refs"` // by their full names
}

// Options say what to back up, and where to.
type Options struct {
	State   string
	Config  []byte // to be kept with it, without secrets; nil: none
	Program string
	Open    func(context.Context, journal.Study) (*lineage.Repo, error) // finds the study's repository
}

// Write makes a backup at file, which must not be there yet: all of it, on the
// disk, or nothing.
func Write(ctx context.Context, file string, o Options) (Manifest, error) {
	m := Manifest{Format: format, Program: o.Program, MadeAt: time.Now().UTC().Round(time.Second)}
	if _, err := os.Lstat(file); err == nil {
		return m, fmt.Errorf("back up to %s: it is there already, and is not overwritten: name another file", file)
	}
	dir := filepath.Dir(file)
	temp, err := os.MkdirTemp(dir, "."+filepath.Base(file)+".new-")
	if err != nil {
		return m, fmt.Errorf("back up to %s: %w", file, writable.Explain(err, dir, dir))
	}
	defer os.RemoveAll(temp)
	w := &writer{temp: temp, manifest: &m}
	whole := filepath.Join(temp, "backup")
	err = w.write(ctx, whole, o)
	if err == nil {
		written.Hit()
		err = name(whole, file)
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return m, fmt.Errorf("back up to %s: somebody made it meanwhile, and it is not overwritten: name another file", file)
	case full(err, dir):
		return m, fmt.Errorf("back up to %s: the disk is full: make room there, or name a file on another disk; nothing is left behind (%w)", file, err)
	case err != nil:
		return m, fmt.Errorf("back up to %s: %w", file, err)
	}
	named.Hit()
	return m, nil
}

// full reports whether an error is that of a full disk. Git does not always say
// why it could not write.
func full(err error, dir string) bool {
	if err == nil || errors.Is(study.Disk(err), journal.ErrDiskFull) {
		return err != nil
	}
	free, statErr := writable.Free(writable.Existing(dir))
	return statErr == nil && free < 64<<10
}

// name gives a file that is on the disk its name, which no other may have.
func name(whole, file string) error {
	err := unix.Renameat2(unix.AT_FDCWD, whole, unix.AT_FDCWD, file, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		err = os.Link(whole, file)
	}
	if err != nil {
		return err
	}
	return durable.Dir(filepath.Dir(file))
}

// writer fills one backup.
type writer struct {
	temp     string
	manifest *Manifest
	tar      *tar.Writer
}

func (w *writer) write(ctx context.Context, file string, o Options) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	packed, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	if err == nil {
		w.tar = tar.NewWriter(packed)
		err = errors.Join(w.fill(ctx, o), w.tar.Close(), packed.Close(), f.Sync())
	}
	return errors.Join(err, f.Close())
}

func (w *writer) fill(ctx context.Context, o Options) error {
	r, err := journal.OpenReader(o.State)
	if err != nil {
		return err
	}
	defer r.Close()
	still, err := r.Snapshot(ctx, w.temp)
	if err != nil {
		return err
	}
	defer still.Close()
	parts, err := study.PartsOf(still)
	if err != nil {
		return err
	}
	w.manifest.Study, w.manifest.Trials = parts.About.Tag, len(parts.Trials)
	if err := w.file(journalName, filepath.Join(w.temp, journalName)); err != nil {
		return err
	}
	if err := w.git(ctx, parts, o); err != nil {
		return err
	}
	if err := w.bytes(resultsName, parts.Results); err != nil {
		return err
	}
	err = w.file(modelserver.File, filepath.Join(o.State, modelserver.File))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := w.reference(filepath.Join(o.State, study.Notary)); err != nil {
		return err
	}
	for _, rec := range parts.Trials {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.trial(study.Folder(o.State, rec.Trial.ID), rec); err != nil {
			return err
		}
	}
	if o.Config != nil {
		if err := w.bytes(configName, o.Config); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(w.manifest, "", " ")
	if err != nil {
		return err
	}
	return w.entry(manifestName, int64(len(text)), strings.NewReader(string(text)), w.manifest.MadeAt, io.Discard)
}

func (w *writer) git(ctx context.Context, parts study.Parts, o Options) error {
	repo, err := o.Open(ctx, parts.About)
	if err != nil {
		return err
	}
	about := repository{Refs: parts.Refs}
	if about.Layout, err = repo.Layout(ctx); err != nil {
		return err
	}
	if about.Branch == lineage.BranchRef(parts.About.Tag) && parts.Refs[about.Branch] != "" {
		about.Head = parts.Refs[about.Branch] // it may have moved since
	}
	pack := filepath.Join(w.temp, "pack")
	f, err := os.Create(pack)
	if err != nil {
		return err
	}
	if err := errors.Join(repo.Pack(ctx, append(parts.Commits, about.Head), f), f.Close()); err != nil {
		return err
	}
	if err := w.file(packName, pack); err != nil {
		return err
	}
	text, err := json.MarshalIndent(about, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(w.bytes(repositoryName, text), os.Remove(pack))
}

// trial takes a trial's bundle: regular files with one name, outside of its
// scratch. A trial may have made links to what is not its own. The log of one
// that runs is not whole, and the trial will have been interrupted.
func (w *writer) trial(dir string, rec journal.Record) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed to make room, or not there yet
	}
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it went meanwhile
			return nil
		case err != nil:
			return err
		case d.IsDir() && name == "work":
			return fs.SkipDir
		case !d.Type().IsRegular(), !rec.Stage.Reached(search.StageEnded) && strings.HasPrefix(name, "run.log"):
			return nil
		}
		return w.own(root, name, path.Join(trialsName, strconv.FormatInt(rec.Trial.ID, 10), name))
	})
}

// reference takes the losses that trials are held against, if there are any yet.
func (w *writer) reference(dir string) error {
	root, err := os.OpenRoot(dir)
	if err == nil {
		defer root.Close()
		err = w.own(root, trainer.ReferenceFile, referenceName)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// own takes a file under a name, if it is a regular one that has no other name.
func (w *writer) own(root *os.Root, file, name string) error {
	f, err := root.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Sys().(*syscall.Stat_t).Nlink != 1 {
		return err
	}
	return w.opened(name, f, info)
}

func (w *writer) file(name, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return w.opened(name, f, info)
}

func (w *writer) opened(name string, f io.Reader, info fs.FileInfo) error {
	return w.sum(name, info.Size(), f, info.ModTime())
}

func (w *writer) bytes(name string, data []byte) error {
	return w.sum(name, int64(len(data)), strings.NewReader(string(data)), w.manifest.MadeAt)
}

// sum writes a file and notes it in the manifest.
func (w *writer) sum(name string, size int64, from io.Reader, at time.Time) error {
	hash := sha256.New()
	if err := w.entry(name, size, from, at, hash); err != nil {
		return err
	}
	w.manifest.Files = append(w.manifest.Files, File{name, size, fmt.Sprintf("%x", hash.Sum(nil))})
	return nil
}

func (w *writer) entry(name string, size int64, from io.Reader, at time.Time, also io.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o640, ModTime: at.Round(time.Second), Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(header); err != nil {
		return err
	}
	// A file that grows meanwhile is taken as it was.
	_, err := io.CopyN(io.MultiWriter(w.tar, also), from, size)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s became shorter while it was read: try again", name)
	}
	return err
}
