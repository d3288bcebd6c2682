package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
)

// mostCompiled is how many bytes of compiled code are kept; beyond it a start
// empties them, and the first trial compiles anew.
const mostCompiled = 20 << 30

// compiled is where compilers keep what they made, beside the data, or where
// nothing can be written there in the state directory.
func compiled(c *config.Config) string {
	if cache, err := c.CacheDir(); err == nil && unix.Access(cache, unix.W_OK) == nil {
		return filepath.Join(cache, "compiled")
	}
	return filepath.Join(c.Study.State, "compiled")
}

// keepCompiled has what trials compile outlive the daemon. A unit's /tmp, where
// it would lie, is the unit's own and goes with it; anybody else's stays.
func keepCompiled(c *config.Config, o *trainer.Options, log *slog.Logger) error {
	dir := compiled(c)
	if size := trainer.FolderSize(dir); size > mostCompiled {
		log.Info("compiled code is thrown away, since there is too much of it", "folder", dir, "GiB", size>>30)
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("empty the folder of compiled code: %w", err)
		}
	}
	o.Compiled = dir
	return nil
}

// examineLimits says what a trial may take, and what of it is kept.
func examineLimits(c *config.Config, ok func(string, string, ...any), note func(string, string, string)) {
	switch most, _ := trainer.HostMemory(); {
	case c.Trial.Memory > 0:
		ok("memory", "a trial may take %.1f GiB of this machine's memory", float64(c.Trial.Memory)/(1<<30))
	case c.Trial.Memory == 0:
		ok("memory", "a trial may take %.1f GiB of this machine's memory, so that it has room itself", float64(most)/(1<<30))
	default:
		note("memory", "a trial may take all of this machine's memory", `trial.memory = "" leaves the machine room`)
	}
	dir := compiled(c)
	if size := trainer.FolderSize(dir); size > 0 {
		ok("compiled code", "%.1f GiB in %s", float64(size)/(1<<30), dir)
	}
}
