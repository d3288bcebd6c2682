package compiled

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// variables name the compilers' folders below a view.
var variables = [][2]string{{"TORCHINDUCTOR_CACHE_DIR", "inductor"}, {"TRITON_CACHE_DIR", "triton"}, {"CUTE_DSL_CACHE_DIR", "cutlass"}}

// largest is the most bytes of one file that is kept.
const largest = 256 << 20

// View is a folder that the processes of one trial compile into.
type View struct {
	store *Store
	dir   string           // "": the compilers keep what they make where they like
	have  map[string]stamp // copies of entries, as they were made
}

// stamp tells whether a file was touched: its inode's time of change cannot be
// set by who writes to it.
type stamp struct {
	inode        uint64
	size         int64
	changed, mod syscall.Timespec
}

// Env is what the trial's environment needs. What the daemon's own sets already
// stays: somebody wants it there.
func (v *View) Env() []string {
	var env []string
	for _, name := range variables {
		if v.dir != "" && os.Getenv(name[0]) == "" {
			env = append(env, name[0]+"="+filepath.Join(v.dir, name[1]))
		}
	}
	return env
}

// Dir is the folder, "" where the compilers keep what they make where they like.
func (v *View) Dir() string { return v.dir }

// Renew adds what was kept since the view was given out. It is for a trainer
// that waited for its order, and may run beside it.
func (v *View) Renew() {
	if v.dir == "" {
		return
	}
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	if err := v.add(); err != nil {
		v.store.log.Warn("a trial runs without some of what was compiled before", "err", err)
	}
}

// Close gives the view back, once none of the trial's processes is left. What
// it compiled is kept if the trial ended well.
func (v *View) Close(good bool) {
	if v.dir == "" {
		return
	}
	v.Keep(good)
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.views = append(v.store.views, v)
}

// Keep is Close for an interpreter that goes on to the next trial, which finds
// all that it left.
func (v *View) Keep(good bool) {
	if v.dir == "" {
		return
	}
	s := v.store
	s.mu.Lock()
	defer s.mu.Unlock()
	found, used := v.look(good)
	now := time.Now()
	for _, path := range used {
		if e, ok := s.entries[path]; ok {
			e.Used = now.Unix()
			s.entries[path] = e
		}
	}
	v.adopt(s.keep(found, now))
	if len(found)+len(used) > 0 {
		s.save()
	}
}

// adopt takes files whose contents were just kept for the view's own copies.
func (v *View) adopt(paths []string) {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return
	}
	defer root.Close()
	for _, path := range paths {
		if at, err := asUnread(root, path); err == nil && at != (stamp{}) {
			v.have[path] = at
		}
	}
}

// restore makes the folder hold the store's entries and nothing else.
func (v *View) restore() error {
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	folders := map[string]bool{".": true}
	for path := range v.store.entries {
		for dir := filepath.Dir(path); !folders[dir]; dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	seen := map[string]stamp{}
	var foreign []string
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && folders[path]:
			return nil
		case d.IsDir():
			foreign = append(foreign, path)
			return fs.SkipDir
		}
		_, kept := v.store.entries[path]
		at, copied := v.have[path]
		if info, err := d.Info(); kept && copied && err == nil && d.Type().IsRegular() && stampOf(info) == at {
			seen[path] = at
		} else {
			foreign = append(foreign, path)
		}
		return nil
	})
	if err != nil {
		return v.anew(err)
	}
	for _, path := range foreign {
		if err := root.RemoveAll(path); err != nil {
			return v.anew(err)
		}
	}
	v.have = seen
	return v.add()
}

// anew empties a folder that cannot be put right.
func (v *View) anew(err error) error {
	v.have = map[string]stamp{}
	if gone := os.RemoveAll(v.dir); gone != nil {
		return errors.Join(err, gone)
	}
	if made := os.MkdirAll(v.dir, 0o700); made != nil {
		return errors.Join(err, made)
	}
	return v.add()
}

// add copies the entries that the view has not, as far as there is room. Of a
// kernel's files the one that names the others comes last, since the trial may
// be looking.
func (v *View) add() error {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	var missing []string
	for path := range v.store.entries {
		if _, ok := v.have[path]; !ok {
			missing = append(missing, path)
		}
	}
	slices.SortFunc(missing, func(a, b string) int {
		if names(a) != names(b) {
			if names(a) {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, path := range missing {
		e, ok := v.store.entries[path]
		if !ok {
			continue // forgotten meanwhile, with another file of its unit
		}
		data, err := v.store.read(path, e)
		if err != nil {
			continue
		}
		if names(path) {
			data = bytes.ReplaceAll(data, []byte(place), []byte(v.dir))
		}
		at, err := copyTo(root, path, data)
		if errors.Is(err, fs.ErrExist) {
			continue // the trial was faster
		}
		if err != nil {
			v.store.log.Warn("a trial runs without some of what was compiled before", "path", path, "err", err)
			return nil
		}
		v.have[path] = at
	}
	return nil
}

// unread is the time of access that a copy begins with. The next reading
// changes it, under every mount option but noatime, where entries are forgotten
// in the order in which they came.
var unread = time.Unix(1, 0)

func copyTo(root *os.Root, path string, data []byte) (stamp, error) {
	if err := root.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return stamp{}, err
	}
	if _, err := root.Lstat(path); err == nil {
		return stamp{}, fs.ErrExist
	}
	part := path + ".part"
	f, err := root.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return stamp{}, err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = root.Rename(part, path)
	}
	if err != nil {
		_ = root.Remove(part)
		return stamp{}, err
	}
	return asUnread(root, path)
}

// asUnread stamps a copy that nobody has read yet.
func asUnread(root *os.Root, path string) (stamp, error) {
	if err := root.Chtimes(path, unread, time.Time{}); err != nil {
		return stamp{}, err
	}
	info, err := root.Lstat(path)
	if err != nil {
		return stamp{}, err
	}
	return stampOf(info), nil
}

// look returns what the trial added, if that is wanted, and which entries it read.
func (v *View) look(wanted bool) (found map[string][]byte, used []string) {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return nil, nil
	}
	defer root.Close()
	found = map[string][]byte{}
	var total int64
	spoilt := map[string]bool{} // units
	_ = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be looked at is not kept
		}
		if d.IsDir() {
			if path != "." && passing(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		info, err := d.Info()
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if at, ok := v.have[path]; ok {
			if stampOf(info) == at && accessed(info) > unread.Unix() {
				used = append(used, path)
				if at, err := asUnread(root, path); err == nil {
					v.have[path] = at
				}
			}
			return nil
		}
		if !wanted || passing(d.Name()) || info.Size() == 0 || !ours(path) {
			return nil
		}
		data, err := v.take(root, path, info)
		if total += int64(len(data)); err != nil || total > v.store.limit/4 {
			spoilt[unit(path)] = true
			return nil
		}
		found[path] = data
		return nil
	})
	maps.DeleteFunc(found, func(path string, _ []byte) bool { return spoilt[unit(path)] })
	return found, used
}

// take reads a file that a trial left.
func (v *View) take(root *os.Root, path string, info fs.FileInfo) ([]byte, error) {
	if info.Size() > largest {
		return nil, errors.New("it is too large")
	}
	f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) != info.Size():
		return nil, errors.New("it changes")
	case names(path):
		return v.portable(path, data)
	}
	return data, nil
}

// place stands for the view's folder in what is kept: Triton's groups name
// their files by absolute paths.
const place = "@autoresearchd-view@"

// names reports whether a file names others by their paths.
func names(path string) bool { return strings.HasPrefix(filepath.Base(path), "__grp__") }

// portable takes the view's folder out of a group's paths. A group of files
// that lie anywhere else is refused.
func (v *View) portable(path string, data []byte) ([]byte, error) {
	var group struct {
		Children map[string]string `json:"child_paths"`
	}
	if err := json.Unmarshal(data, &group); err != nil {
		return nil, err
	}
	folder := filepath.Join(v.dir, filepath.Dir(path))
	for name, child := range group.Children {
		if filepath.Dir(child) != folder || filepath.Base(child) != name {
			return nil, errors.New("it names a file of another folder")
		}
		group.Children[name] = place + strings.TrimPrefix(child, v.dir)
	}
	return json.Marshal(group)
}

// ours reports whether a path lies in a compiler's folder.
func ours(path string) bool {
	top, _, below := strings.Cut(path, "/")
	return below && slices.ContainsFunc(variables, func(name [2]string) bool { return name[1] == top })
}

// passing reports whether a file or folder is only there while something is
// written: locks and drafts.
func passing(name string) bool {
	return name == "locks" || name == "__pycache__" || strings.HasSuffix(name, ".lock") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part") ||
		strings.HasPrefix(name, "tmp.pid_") || strings.HasPrefix(name, ".")
}

func stampOf(info fs.FileInfo) stamp {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Nlink != 1 {
		return stamp{} // another name of it may be written to
	}
	return stamp{s.Ino, s.Size, s.Ctim, s.Mtim}
}

func accessed(info fs.FileInfo) int64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Atim.Sec
	}
	return 0
}
