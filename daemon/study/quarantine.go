package study

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/trainer"
)

// quarantined names the file that keeps a device's quarantine: it is of this
// machine, not of the study, so that no journal and no backup holds it.
func (s *Study) quarantined(device string) string {
	return filepath.Join(s.o.Config.Study.State, "quarantine", url.PathEscape(device)+".json")
}

// Quarantine keeps a device's quarantine for the next daemon; nil: it is lifted.
func (s *Study) Quarantine(device string, q *trainer.Quarantine) error {
	path := s.quarantined(device)
	err := keepQuarantine(path, q)
	if err != nil {
		return fmt.Errorf("note the quarantine of %s: %w", device, err)
	}
	return nil
}

func keepQuarantine(path string, q *trainer.Quarantine) error {
	dir := filepath.Dir(path)
	if q == nil {
		if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		return durable.Dir(dir)
	}
	data, err := json.Marshal(q)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := durable.Write(path+".new", append(data, '\n'), 0o640); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return durable.Names(filepath.Dir(dir), path)
}

// Quarantined returns the quarantine that an earlier daemon left on a device,
// nil for none.
func (s *Study) Quarantined(device string) (*trainer.Quarantine, error) {
	path := s.quarantined(device)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	q, err := trainer.ReadQuarantine(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if q == nil {
		return nil, keepQuarantine(path, nil)
	}
	return q, nil
}
