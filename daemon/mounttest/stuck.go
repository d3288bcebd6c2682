package mounttest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Stuck is a file whose opening is not answered: nothing ends a process that is at
// it, SIGKILL included.
type Stuck struct {
	Path  string
	Asked chan struct{} // closed once somebody waits
	Free  func()        // answers
}

// NewStuck mounts such a file below dir, which is made.
func NewStuck(t *testing.T, dir string) *Stuck {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := &stuck{asked: make(chan struct{}), freed: make(chan struct{})}
	root := &fusefs.Inode{}
	server, err := fusefs.Mount(dir, root, &fusefs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "stuck", Name: "stuck"},
		OnAdd: func(ctx context.Context) {
			root.AddChild("file", root.NewPersistentInode(ctx, file, fusefs.StableAttr{}), false)
		},
	})
	must(t, err)
	s := &Stuck{filepath.Join(dir, "file"), file.asked, sync.OnceFunc(func() { close(file.freed) })}
	t.Cleanup(func() {
		s.Free()
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
		server.Wait()
	})
	return s
}

type stuck struct {
	fusefs.Inode
	once         sync.Once
	asked, freed chan struct{}
}

// Open waits; whoever has been killed meanwhile ends with its answer.
func (s *stuck) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	s.once.Do(func() { close(s.asked) })
	<-s.freed
	return nil, 0, syscall.EIO
}
