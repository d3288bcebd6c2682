// Package hide keeps the daemon's secrets from the trials, which run as the
// same user: [Variables] and [Self] close the daemon's own process, [Confine]
// closes files to another. docs/secrets.md says what holds.
package hide

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Self makes this process's memory, environment and descriptors unreadable to
// other processes of its user; root's can still read them. It holds until the
// next exec, so that children are open again. A process that uses CUDA must not
// call it: the driver writes to files of /proc that then belong to root.
func Self() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide this process from others of its user: %w", err)
	}
	return nil
}

// Variables takes variables out of the environment, and overwrites their values
// where the kernel has put them, which /proc/<pid>/environ goes on showing. It
// must come before Self, after which a process may not open its own memory.
func Variables(names ...string) error {
	var wanted []string
	for _, name := range names {
		if name != "" && os.Getenv(name) != "" {
			wanted = append(wanted, name)
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("hide %s: %w", name, err)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := wipe(wanted); err != nil {
		return fmt.Errorf("overwrite %s in this process's first environment: %w", strings.Join(wanted, ", "), err)
	}
	return nil
}

func wipe(names []string) error {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:])) // from the third, state
	const start, end = 50 - 3, 51 - 3                                         // env_start and env_end of proc(5)
	if len(fields) <= end {
		return errors.New("/proc/self/stat does not say where it is")
	}
	from, err := strconv.ParseInt(fields[start], 10, 64)
	if err != nil {
		return err
	}
	to, err := strconv.ParseInt(fields[end], 10, 64)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	block := make([]byte, max(0, to-from))
	if _, err := memory.ReadAt(block, from); err != nil {
		return err
	}
	for at := 0; at < len(block); {
		entry := block[at:]
		if n := bytes.IndexByte(entry, 0); n >= 0 {
			entry = entry[:n]
		}
		for _, name := range names {
			if value, ok := bytes.CutPrefix(entry, []byte(name+"=")); ok && len(value) > 0 {
				clear(value)
				if _, err := memory.WriteAt(value, from+int64(at+len(name)+1)); err != nil {
					return err
				}
			}
		}
		at += len(entry) + 1
	}
	return nil
}
