// Package compiled keeps what trials compile (kernels, graphs, autotuning
// results) for the trials that come, without letting one write what another
// reads. Inductor, Triton and CUTLASS keep theirs in folders of files, each
// under the hash of what it was made from, and write a file whole or not at
// all. Here such a file is an entry: its path in those folders, and its content
// in a store by SHA-256.
//
// A trial gets a [View]: a folder of its own with a copy of every entry. What
// it adds there is taken into the store after its last process is gone and if
// it ended well; what it changed or took away is put right before the next
// trial sees the folder. The first entry of a path stays: nobody can replace
// what others use. A content is compared with its hash whenever it is copied
// out, so that one that is torn, or was written to in the store, is dropped.
//
// A trial whose processes run as the daemon's user can spoil a store on purpose
// by its index; against that only a sandbox helps. No fault of a store fails a
// trial: it runs as if nothing had been kept.
package compiled

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limit is how many bytes of entries are kept unless one says otherwise. Each
// view holds as much again: a seat has up to two.
const Limit = 8 << 30

// Store keeps entries in a folder that belongs to one daemon at a time. A nil
// Store gives views that keep nothing.
type Store struct {
	dir   string
	limit int64
	log   *slog.Logger
	lock  *os.File

	mu      sync.Mutex
	entries map[string]entry // by path below a view
	views   []*View          // free ones first come, first served
	made    int              // views, ever
}

// entry is a file that was kept.
type entry struct {
	Sum  string `json:"sha256"`
	Size int64  `json:"bytes"`
	Used int64  `json:"used"` // when a trial last read it, in seconds since 1970
}

// Open takes the first of the folders that can be written and that no other
// daemon holds. It gives nil where there is none, which it logs.
func Open(log *slog.Logger, limit int64, dirs ...string) *Store {
	for _, dir := range dirs {
		s := &Store{dir: dir, limit: limit, log: log}
		err := s.open()
		if err == nil {
			return s
		}
		log.Warn("what trials compile cannot be kept here", "folder", dir, "err", err)
	}
	return nil
}

func (s *Store) open() error {
	if err := os.MkdirAll(s.contents(), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errors.New("another daemon holds it")
		}
		return err
	}
	s.lock = lock
	if s.entries, err = readIndex(s.dir); err != nil {
		s.log.Warn("the index of what was compiled cannot be read, so that trials compile anew", "folder", s.dir, "err", err)
	}
	s.sweep()
	return nil
}

// Close lets go of the folder and of all views.
func (s *Store) Close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = os.RemoveAll(s.viewed())
	s.lock.Close()
}

func (s *Store) contents() string          { return filepath.Join(s.dir, "store") }
func (s *Store) viewed() string            { return filepath.Join(s.dir, "views") }
func (s *Store) content(sum string) string { return filepath.Join(s.contents(), sum[:2], sum) }

// sweep removes what a daemon that was killed has left: views, contents without
// an entry, and the caches of a version that shared one folder among trials.
func (s *Store) sweep() {
	for _, name := range []string{"views", "inductor", "triton", "cutlass"} {
		if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
			s.log.Warn("old compiled code cannot be removed", "err", err)
		}
	}
	known := map[string]bool{}
	for _, e := range s.entries {
		known[e.Sum] = true
	}
	_ = filepath.WalkDir(s.contents(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !known[d.Name()] {
			_ = os.Remove(path)
		}
		return nil
	})
}

// View gives a folder for the processes of one trial. It never fails: the
// folder may hold less than the store, and one that cannot be had has no name.
func (s *Store) View() *View {
	if s == nil {
		return &View{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var v *View
	if len(s.views) > 0 {
		v, s.views = s.views[0], s.views[1:]
	} else {
		v = &View{store: s, dir: filepath.Join(s.viewed(), fmt.Sprint(s.made)), have: map[string]stamp{}}
		s.made++
	}
	if err := v.restore(); err != nil {
		s.log.Warn("a trial runs without what was compiled before", "err", err)
		return &View{}
	}
	return v
}

// read returns an entry's content. One that is not what it was is forgotten.
func (s *Store) read(path string, e entry) ([]byte, error) {
	data, err := os.ReadFile(s.content(e.Sum))
	if err == nil && digest(data) == e.Sum {
		return data, nil
	}
	if err == nil {
		err = errors.New("its content is not what was kept")
	}
	s.forget(unit(path))
	_ = os.Remove(s.content(e.Sum))
	s.log.Warn("a piece of compiled code is not believed, and is compiled anew", "path", path, "err", err)
	return nil, err
}

// keep adds contents by path, whole units at a time, and no unit of which
// something is there. It makes room by forgetting what was not read for longest.
func (s *Store) keep(found map[string][]byte, now time.Time) (kept []string) {
	if len(found) == 0 {
		return nil
	}
	there := map[string]bool{}
	for path := range s.entries {
		there[unit(path)] = true
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if there[unit(path)] {
			continue
		}
		data := found[path]
		e := entry{Sum: digest(data), Size: int64(len(data)), Used: now.Unix()}
		if err := write(s.content(e.Sum), data, 0o400); err != nil {
			s.log.Warn("what a trial compiled could not be kept", "path", path, "err", err)
			s.forget(unit(path))
			there[unit(path)] = true
			continue
		}
		s.entries[path] = e
		kept = append(kept, path)
	}
	s.evict()
	return kept
}

func (s *Store) evict() {
	units := map[string]*struct{ bytes, used int64 }{}
	var total int64
	for path, e := range s.entries {
		u := units[unit(path)]
		if u == nil {
			u = new(struct{ bytes, used int64 })
			units[unit(path)] = u
		}
		u.bytes += e.Size
		u.used = max(u.used, e.Used)
		total += e.Size
	}
	if total <= s.limit {
		return
	}
	names := slices.SortedFunc(maps.Keys(units), func(a, b string) int {
		if d := units[a].used - units[b].used; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		if total <= s.limit/10*9 {
			break
		}
		s.forget(name)
		total -= units[name].bytes
	}
	left := map[string]bool{}
	for _, e := range s.entries {
		left[e.Sum] = true
	}
	_ = filepath.WalkDir(s.contents(), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !left[d.Name()] {
			_ = os.Remove(path)
		}
		return nil
	})
}

func (s *Store) forget(name string) {
	maps.DeleteFunc(s.entries, func(path string, _ entry) bool { return unit(path) == name })
}

// unit is what is kept or forgotten as one: Triton's files of a kernel lie in
// one folder and name each other.
func unit(path string) string {
	if strings.HasPrefix(path, "triton/") {
		return filepath.Dir(path)
	}
	return path
}

func (s *Store) save() {
	data, err := json.Marshal(s.entries)
	if err == nil {
		err = write(filepath.Join(s.dir, "index.json"), data, 0o600)
	}
	if err != nil {
		s.log.Warn("the index of what was compiled could not be written", "err", err)
	}
}

func readIndex(dir string) (map[string]entry, error) {
	entries := map[string]entry{}
	data, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return entries, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &entries)
	}
	if entries == nil { // "null" is JSON too
		entries = map[string]entry{}
	}
	for path, e := range entries {
		if raw, bad := hex.DecodeString(e.Sum); bad != nil || len(raw) != sha256.Size || !filepath.IsLocal(path) {
			err = fmt.Errorf("entry %q is none", path)
		}
	}
	if err != nil {
		return map[string]entry{}, err
	}
	return entries, nil
}

// Kept says how much a folder's store holds.
func Kept(dir string) (entries int, bytes int64, err error) {
	index, err := readIndex(dir)
	for _, e := range index {
		bytes += e.Size
	}
	return len(index), bytes, err
}

// write makes a file appear whole.
func write(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	part := path + ".part"
	_ = os.Remove(part)
	err := os.WriteFile(part, data, mode)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
