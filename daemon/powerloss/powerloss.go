// Package powerloss is a file system for tests that forgets, when it is cut off,
// what nobody has synced: a file's content since its last fsync, and a folder's
// names since its last. That is all that POSIX promises, and less than what most
// file systems do.
package powerloss

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Disk is one that is mounted.
type Disk struct {
	live   string
	at     string
	server *fuse.Server

	mu      sync.Mutex
	files   map[uint64][]byte           // by inode: what was synced of it
	folders map[uint64]map[string]entry // by inode: the names that were

	fault     *Fault // nil: it is sound
	seen, met int    // operations that the fault is about, and those that failed
}

type entry struct {
	inode uint64
	mode  fs.FileMode
	link  string // where it leads
}

// Mount shows the folder live, all of which counts as synced, at another.
func Mount(t *testing.T, live, at string) *Disk {
	t.Helper()
	d := &Disk{live: live, at: at, files: map[uint64][]byte{}, folders: map[uint64]map[string]entry{}}
	err := filepath.WalkDir(live, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return d.folder(path)
		case e.Type().IsRegular():
			return d.file(path)
		}
		return nil
	})
	must(t, err)
	var st syscall.Stat_t
	must(t, syscall.Stat(live, &st))
	root := &fusefs.LoopbackRoot{Path: live, Dev: st.Dev}
	top := &node{&fusefs.LoopbackNode{RootData: root}, d}
	root.RootNode = top
	long := time.Hour // nobody changes live but through here
	d.server, err = fusefs.Mount(at, top, &fusefs.Options{EntryTimeout: &long, AttrTimeout: &long, MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "powerloss", Name: "powerloss"}})
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		t.Fatalf("it may not mount a file system of its own: %v", err) // mounttest.Run tells that apart
	}
	must(t, err)
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// file notes what a file holds.
func (d *Disk) file(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	d.files[inode(info)], err = os.ReadFile(path)
	return err
}

// folder notes what names a folder holds.
func (d *Disk) folder(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(path)
	names := map[string]entry{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // it went meanwhile
		}
		link, _ := os.Readlink(filepath.Join(path, e.Name()))
		names[e.Name()] = entry{inode(info), info.Mode(), link}
	}
	d.folders[inode(info)] = names
	return err
}

// Off takes the disk away, and returns when nobody has it any more: git may have
// been left behind.
func (d *Disk) Off() error {
	if err := syscall.Unmount(d.at, syscall.MNT_DETACH); err != nil {
		return err
	}
	d.server.Wait()
	return nil
}

// Write writes what is found on it afterwards into a folder that is not there yet.
func (d *Disk) Write(to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.live)
	if err != nil {
		return err
	}
	return d.write(inode(info), to)
}

func (d *Disk) write(folder uint64, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for name, e := range d.folders[folder] {
		path, err := filepath.Join(to, name), error(nil)
		switch e.mode.Type() {
		case fs.ModeDir:
			err = d.write(e.inode, path)
		case fs.ModeSymlink:
			err = os.Symlink(e.link, path)
		case 0:
			err = os.WriteFile(path, d.files[e.inode], e.mode.Perm()|0o200)
		}
		if err != nil {
			return fmt.Errorf("write what was synced: %w", err)
		}
	}
	return nil
}

// node is a file or a folder of a disk.
type node struct {
	*fusefs.LoopbackNode
	disk *Disk
}

// WrapChild makes one of what is found or made in a folder.
func (n *node) WrapChild(_ context.Context, ops fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	return &node{ops.(*fusefs.LoopbackNode), n.disk}
}

func (n *node) path() string { return filepath.Join(n.disk.live, n.Path(n.Root())) }

// Fsync is a file's.
func (n *node) Fsync(context.Context, fusefs.FileHandle, uint32) syscall.Errno {
	if errno := n.fails("fsync", ""); errno != 0 {
		return errno
	}
	return answer(n.disk.file(n.path()))
}

func answer(err error) syscall.Errno {
	if os.IsNotExist(err) { // it has no name any more, so nothing of it can be found
		return 0
	}
	return fusefs.ToErrno(err)
}

// OpendirHandle opens a folder.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	h, f, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{h.(reads), n}, f, 0
}

type reads interface {
	fusefs.FileReaddirenter
	fusefs.FileReleasedirer
	fusefs.FileSeekdirer
}

type folder struct {
	reads
	node *node
}

// Fsyncdir is a folder's.
func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno {
	if errno := f.node.fails("folder", ""); errno != 0 {
		return errno
	}
	return answer(f.node.disk.folder(f.node.path()))
}
