package trainer

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// guest is a trainer on a host.
type guest struct {
	t       *process
	dir     string // its own folder
	mu      sync.Mutex
	folders map[string]string // what was staged, by the daemon's name
	proofs  map[string]stamps // those of them that are for the notary
	size    int64             // bytes that were staged
	heard   chan struct{}     // closed when its events are all told
	stop    chan struct{}     // closed when its use is not told any more
	ended   chan struct{}     // closed when its end has been told
	once    sync.Once
}

// stage writes files into a folder that stands for one of the daemon's. What
// lies beside a folder there does so here.
func (g *guest) stage(dir string, files []stagedFile) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	to, known := g.folders[dir]
	if !known {
		to = filepath.Join(g.dir, "work")
		if len(g.folders) > 0 {
			to = filepath.Join(g.dir, strconv.Itoa(len(g.folders)), "work")
		}
		work := filepath.Join(filepath.Dir(dir), "work")
		if beside, ok := g.folders[work]; ok && dir != work {
			to = filepath.Join(filepath.Dir(beside), filepath.Base(dir))
			g.proofs[dir] = stamps{}
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("stage a trial: %w", err)
		}
		g.folders[dir] = to
	}
	root, err := os.OpenRoot(to)
	if err != nil {
		return fmt.Errorf("stage a trial: %w", err)
	}
	defer root.Close()
	for _, f := range files {
		if err := f.write(root); err != nil {
			return fmt.Errorf("stage a trial: %w", err)
		}
		if sent := g.proofs[dir]; sent != nil {
			sent.note(filepath.Join(to, f.Name), f.Name) // it need not go back
		} else {
			g.size += int64(len(f.Data))
		}
	}
	return nil
}

// wrote is how many bytes the trial has written, without its proof's.
func (g *guest) wrote() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := FolderSize(g.dir) - g.size
	for dir := range g.proofs {
		n -= FolderSize(g.folders[dir])
	}
	return n
}

// localize puts this host's folders in the place of the daemon's.
func (g *guest) localize(r *request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Imports != nil {
		if to, ok := g.folders[r.Imports.Directory]; ok {
			r.Imports.Directory = to
		}
	}
	if r.Order != nil {
		if to, ok := g.folders[r.Order.Directory]; ok {
			if rest, err := filepath.Rel(r.Order.Directory, r.Order.Path); err == nil {
				r.Order.Path = filepath.Join(to, rest)
			}
			r.Order.Directory, r.Order.Weights = to, "" // nobody audits here
		}
	}
}
