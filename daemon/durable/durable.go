// Package durable writes files so that they are on the disk, by name and by
// content, when it returns: a power loss takes what is not synced.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"autoresearchd/daemon/faultpoint"
)

// Dir makes the names in a folder durable.
func Dir(dir string) error { return sync(dir) }

// File makes a file's content durable, and not its name.
func File(path string) error { return sync(path) }

func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Names makes durable the names on the way from root, a folder, to path below
// it. What is not there any more is passed over.
func Names(root, path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if err := Dir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if dir == root || dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// Write writes a file whose name is made durable by somebody else.
func Write(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Replace gives path other content so that a crash leaves either the old or the
// new. written is the point at which the new is on the disk under another name.
func Replace(path string, data []byte, mode fs.FileMode, written *faultpoint.Point) error {
	temp := path + ".new"
	if err := Write(temp, data, mode); err != nil {
		_ = os.Remove(temp) // the disk may be full
		return err
	}
	written.Hit()
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return Dir(filepath.Dir(path))
}
