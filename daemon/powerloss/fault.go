package powerloss

import (
	"context"
	"path/filepath"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mend is the name of a folder that nobody makes: the attempt mends the disk from
// inside, in a process that cannot reach the Disk.
const Mend = ".mend"

// Fault is what goes wrong with a disk.
type Fault struct {
	Errno syscall.Errno
	// At says which changes and syncs are meant, by their kind ("write", "fsync",
	// "folder", "create", "rename", "remove", "attributes", "open") and the path from
	// the disk's top; nil: all.
	At    func(kind, path string) bool
	Nth   int  // of those, from 1
	Stays bool // and all that come after it, until the disk is mended
}

// Break has the disk fail.
func (d *Disk) Break(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.seen, d.met = &f, 0, 0
}

// Mend takes the fault away, and tells how often it was met.
func (d *Disk) Mend() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = nil
	return d.met
}

// Seen returns how many operations were of the kind of the fault since Break.
func (d *Disk) Seen() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

// fails is asked before each operation.
func (n *node) fails(kind, name string) syscall.Errno {
	d := n.disk
	path := filepath.Join(n.Path(n.Root()), name)
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fault
	// SQLite's -shm is memory that processes share, and no record.
	if f == nil || strings.HasSuffix(path, "-shm") || f.At != nil && !f.At(kind, path) {
		return 0
	}
	if d.seen++; d.seen == f.Nth || d.seen > f.Nth && f.Stays {
		d.met++
		return f.Errno
	}
	return 0
}

func (n *node) Write(ctx context.Context, f fusefs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := n.fails("write", ""); errno != 0 {
		return 0, errno
	}
	return f.(fusefs.FileWriter).Write(ctx, data, off)
}

func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.fails("attributes", ""); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

func (n *node) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		if errno := n.fails("open", ""); errno != 0 {
			return nil, 0, errno
		}
	}
	return n.LoopbackNode.Open(ctx, flags)
}

func (n *node) Create(ctx context.Context, name string, flags uint32, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	if errno := n.fails("create", name); errno != 0 {
		return nil, nil, 0, errno
	}
	return n.LoopbackNode.Create(ctx, name, flags, mode, out)
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if name == Mend {
		n.disk.Mend()
		return nil, syscall.EEXIST
	}
	if errno := n.fails("create", name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Mkdir(ctx, name, mode, out)
}

func (n *node) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.fails("create", name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Link(ctx, target, name, out)
}

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if errno := n.fails("create", name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Symlink(ctx, target, name, out)
}

func (n *node) Rename(ctx context.Context, name string, parent fusefs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	if errno := n.fails("rename", name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rename(ctx, name, parent, to, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	if errno := n.fails("remove", name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	if errno := n.fails("remove", name); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Rmdir(ctx, name)
}
