package backup

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/search"
)

var (
	filled   = faultpoint.New("restore.files")
	restored = faultpoint.New("restore.after")
)

// Place is where a study is to go: two folders that are empty, or not there yet.
type Place struct {
	State     string // absolute
	Workspace string // absolute; "": the study's folder in Work
	Work      string // the repository's work tree
}

// Restored is what came of it.
type Restored struct {
	Manifest
	Workspace string
	Config    []byte // that was kept with it; nil: none
}

const damaged = "it is cut short or damaged: take another copy"

// Read reads all of a backup and holds it against its manifest.
func Read(file string) (Manifest, error) {
	var m Manifest
	have := map[string]File{}
	var manifest []byte
	err := each(file, func(name string, size int64, content io.Reader) error {
		if manifest != nil || have[name].Name != "" {
			return fmt.Errorf("it holds %s after its end, or twice: %s", name, damaged)
		}
		hash := sha256.New()
		if name == manifestName {
			var err error
			manifest, err = io.ReadAll(content)
			return err
		}
		_, err := io.Copy(hash, content)
		have[name] = File{name, size, fmt.Sprintf("%x", hash.Sum(nil))}
		return err
	})
	switch {
	case err != nil:
	case manifest == nil:
		err = errors.New("it has no manifest: " + damaged)
	default:
		err = json.Unmarshal(manifest, &m)
		if err != nil || m.Format < 1 {
			err = errors.New("its manifest cannot be read: " + damaged)
		} else if m.Format > format {
			err = fmt.Errorf("its format is %d, and this program knows %d: it was made by autoresearchd %s: install that one, or a later one", m.Format, format, m.Program)
		}
	}
	for _, f := range m.Files {
		if err == nil && have[f.Name] != f {
			err = fmt.Errorf("%s is not what the manifest says: %s", f.Name, damaged)
		}
		delete(have, f.Name)
	}
	if err == nil && len(have) > 0 {
		err = fmt.Errorf("its manifest does not name %s: %s", slices.Min(slices.Collect(maps.Keys(have))), damaged)
	}
	if err == nil && !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == journalName }) {
		err = errors.New("it has no journal: it is no backup of autoresearchd's")
	}
	if err != nil {
		return m, fmt.Errorf("read backup %s: %w", file, err)
	}
	return m, nil
}

// each reads the files of a backup in their order.
func each(file string, do func(name string, size int64, content io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return errors.Unwrap(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<16))
	if err != nil {
		return errors.New("it is no gzip file, so no backup of autoresearchd's, or " + damaged)
	}
	broken := func(err error) bool {
		return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, tar.ErrHeader) || strings.HasPrefix(err.Error(), "flate: ")
	}
	r := tar.NewReader(unpacked)
	for {
		h, err := r.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, unpacked) // the checksum comes last
			if err != nil {
				return errors.New(damaged)
			}
			return nil
		}
		if err == nil {
			if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || !ours(h.Name) {
				return fmt.Errorf("it holds %q, which no backup of autoresearchd's does", h.Name)
			}
			err = do(h.Name, h.Size, r)
		}
		if err != nil && broken(err) {
			return errors.New(damaged)
		}
		if err != nil {
			return err
		}
	}
}

func ours(name string) bool {
	switch name {
	case manifestName, journalName, packName, repositoryName, resultsName, modelserver.File, referenceName, configName:
		return true
	}
	return strings.HasPrefix(name, trialsName+"/")
}

// Restore makes the study of a backup again. The journal comes last: before it
// is there, there is no study. After an error nothing stays of what was made.
func Restore(ctx context.Context, file string, to Place) (Restored, error) {
	m, err := Read(file)
	if err != nil {
		return Restored{}, err
	}
	r := &restorer{Place: to}
	if err = r.restore(ctx, file); err == nil {
		restored.Hit()
		return Restored{m, r.Workspace, r.config}, nil
	}
	full := full(err, to.State)
	r.away()
	if full {
		err = fmt.Errorf("the disk is full: make room there, or restore to another disk; nothing is left behind (%w)", err)
	}
	return Restored{}, fmt.Errorf("restore %s: %w", file, err)
}

// restorer makes one study.
type restorer struct {
	Place
	config []byte
	git    repository

	empty []string // folders that were empty, or were not there
	made  []string // of them and those above them: those that were not there
}

// claim takes a place that nobody uses.
func (r *restorer) claim(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case len(entries) > 0:
		return fmt.Errorf("%s is not empty (it holds %s), and nothing there is overwritten: move it away, or restore to another place", dir, entries[0].Name())
	}
	r.empty = append(r.empty, dir)
	return nil
}

// folder makes a folder with all above it.
func (r *restorer) folder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := r.folder(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	r.made = append(r.made, dir)
	return durable.Dir(filepath.Dir(dir))
}

// away leaves the places as they were.
func (r *restorer) away() {
	for _, dir := range r.empty {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			_ = os.RemoveAll(filepath.Join(dir, e.Name())) // the error that led here is the one to tell
		}
	}
	for _, dir := range slices.Backward(r.made) {
		_ = os.Remove(dir)
	}
}

func (r *restorer) restore(ctx context.Context, file string) error {
	err := each(file, func(name string, _ int64, content io.Reader) error {
		if name != repositoryName {
			return nil
		}
		return json.NewDecoder(content).Decode(&r.git)
	})
	if err != nil {
		return err
	}
	if r.Workspace == "" {
		r.Workspace = filepath.Join(r.Work, filepath.FromSlash(r.git.Prefix))
	}
	top := lineage.Top(r.Workspace, r.git.Layout)
	if top == "" {
		return fmt.Errorf("the workspace was the folder %s of a repository: give it a path that ends so, not %s", r.git.Prefix, r.Workspace)
	}
	if err := errors.Join(r.claim(r.State), r.claim(top)); err != nil {
		return err
	}
	if err := r.folder(r.State); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(r.State, ".restore-")
	if err != nil {
		return err
	}
	if err := r.files(ctx, file, temp); err != nil {
		return err
	}
	if err := r.folder(top); err != nil {
		return err
	}
	pack, err := os.Open(filepath.Join(temp, filepath.Base(packName)))
	if err != nil {
		return err
	}
	defer pack.Close()
	if err := lineage.Plant(ctx, r.Workspace, r.git.Layout, pack, r.git.Refs); err != nil {
		return err
	}
	if err := settle(temp, r.Workspace); err != nil {
		return err
	}
	filled.Hit()
	if err := os.Rename(filepath.Join(temp, journalName), filepath.Join(r.State, journalName)); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(temp), durable.Dir(r.State))
}

// files writes what lies in the state directory; journal and objects go to temp.
func (r *restorer) files(ctx context.Context, file, temp string) error {
	folders := map[string]bool{}
	err := each(file, func(name string, _ int64, content io.Reader) (err error) {
		path := filepath.Join(r.State, filepath.FromSlash(name))
		switch name {
		case manifestName, repositoryName:
			return nil
		case configName:
			r.config, err = io.ReadAll(content)
			return err
		case journalName, packName:
			path = filepath.Join(temp, filepath.Base(name))
		}
		if err := errors.Join(ctx.Err(), r.folder(filepath.Dir(path))); err != nil {
			return err
		}
		folders[filepath.Dir(path)] = true
		return write(path, content)
	})
	for dir := range folders {
		if err == nil {
			err = durable.Dir(dir)
		}
	}
	return err
}

func write(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

// settle tells a journal where its workspace is now, and that no process
// anywhere is one of its trials': the study that it is a copy of may live.
func settle(dir, workspace string) error {
	j, err := journal.Open(dir)
	if err != nil {
		return err
	}
	unfinished, err := j.Unfinished()
	for _, r := range unfinished {
		if err == nil && r.Stage == search.StageBegun {
			err = j.SetSeat(r.Trial.ID, "{}")
		}
	}
	if err == nil {
		err = j.Relocate(workspace)
	}
	return errors.Join(err, j.Close())
}
