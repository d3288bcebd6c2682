package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/trainer"
)

const (
	tailRead     = 256 << 10 // bytes at a log's end of which the tail is made: most are progress, overwritten
	tailSize     = 16 << 10
	attachedSize = 4 << 20 // bytes of an attachment that are shown
)

// attachment matches the files that strategies leave with a trial.
var attachment = regexp.MustCompile(`^(llm-(prompt|reply)-[0-9]{1,3}\.txt|agent\.log)$`)

// bundled reads the tail of a trial's log and the names of what is attached.
// What is not there, or cannot be read, is empty.
func bundled(folder string) (tail string, names []string) {
	names = []string{}
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if e.Type().IsRegular() && attachment.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	f, err := openPlain(filepath.Join(folder, "run.log"))
	if err != nil {
		return "", names
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailRead {
		_, _ = f.Seek(-tailRead, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, tailRead))
	return inert(string(text)), names
}

// openPlain opens a file that is no link and no pipe: a trial may have planted one.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fs.ErrNotExist)
	}
	return f, nil
}

// inert is the last lines of a log as a terminal would show them, without what
// a terminal would obey.
func inert(log string) string {
	lines := strings.Split(strings.ToValidUTF8(log, "\ufffd"), "\n")
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		lines[i] = trainer.Inert(line[strings.LastIndexByte(line, '\r')+1:])
	}
	text := strings.Join(lines, "\n")
	if len(text) > tailSize {
		text = strings.ToValidUTF8(text[len(text)-tailSize:], "")
	}
	return text
}

// file is an attachment of a trial, by a name from a fixed list.
func (a *API) file(r *http.Request) ([]byte, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	none := missing("trial %d has no attachment %.40q: its \"attachments\" lists what it has", id, name)
	if !attachment.MatchString(name) {
		return nil, none
	}
	return read(r.Context(), a, func() ([]byte, error) {
		f, err := openPlain(filepath.Join(a.o.Folder(id), name))
		if err != nil {
			return nil, none
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, attachedSize))
		if err != nil {
			return nil, fmt.Errorf("read %s of trial %d: %w", name, id, err)
		}
		return data, nil
	})
}
