package trainer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stagedFile is a file, folder or link below a folder that another machine has
// too, or a part of a file.
type stagedFile struct {
	Name string      `json:"name"` // from that folder
	Mode os.FileMode `json:"mode"`
	More bool        `json:"more,omitempty"` // it goes on where the part before it ended
	Link string      `json:"link,omitempty"`
	Data []byte      `json:"data,omitempty"`
}

// stageFrame is how much of files goes at a time, in bytes.
const stageFrame = 8 << 20

// stamps are how the files of a folder were when they were sent; nil: nobody
// asks.
type stamps map[string]fileStamp

// noting guards all stamps: files come and go at once.
var noting sync.Mutex

type fileStamp struct {
	size int64
	mod  time.Time
}

// note remembers a file as it is, and reports whether it is another now.
func (s stamps) note(path, name string) bool {
	info, err := os.Lstat(path)
	if err != nil {
		return false
	}
	now := fileStamp{info.Size(), info.ModTime()}
	noting.Lock()
	defer noting.Unlock()
	same := s[name] == now
	if s != nil {
		s[name] = now
	}
	return !same
}

// send gives tell what is below a folder and has changed since it was last sent,
// in parts. More than most bytes are an error.
func send(dir string, sent stamps, most int64, tell func([]stagedFile) error) error {
	var files []stagedFile
	var total int64
	size := 0
	add := func(f stagedFile) error {
		files = append(files, f)
		if size += len(f.Data); size < stageFrame {
			return nil
		}
		err := tell(files)
		files, size = nil, 0
		return err
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f := stagedFile{Name: name, Mode: info.Mode()}
		switch {
		case e.IsDir():
			return add(f)
		case info.Mode()&fs.ModeSymlink != 0:
			if f.Link, err = os.Readlink(path); err != nil {
				return err
			}
			return add(f)
		case !info.Mode().IsRegular() || !sent.note(path, name):
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		for {
			f.Data = make([]byte, min(stageFrame, info.Size()+1))
			n, err := io.ReadFull(file, f.Data)
			if total += int64(n); total > most {
				return fmt.Errorf("%s holds more than %d MiB, which cannot be sent with each trial: keep data in the cache", dir, most>>20)
			}
			f.Data = f.Data[:n]
			if (n > 0 || !f.More) && add(f) != nil {
				return errors.New("the node is lost")
			}
			f.More = true
			switch {
			case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
				return nil
			case err != nil:
				return err
			}
		}
	})
	if err == nil && len(files) > 0 {
		err = tell(files)
	}
	if err != nil {
		return fmt.Errorf("send a trial's files: %w", err)
	}
	return nil
}

// write writes what was sent.
func (f *stagedFile) write(root *os.Root) error {
	switch {
	case f.Mode.IsDir():
		if err := root.Mkdir(f.Name, 0o700); !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case f.Link != "":
		return root.Symlink(f.Link, f.Name)
	}
	how := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if f.More {
		how = os.O_WRONLY | os.O_APPEND
	}
	file, err := root.OpenFile(f.Name, how, f.Mode.Perm())
	if err != nil {
		return err
	}
	_, err = file.Write(f.Data)
	return errors.Join(err, file.Close())
}
