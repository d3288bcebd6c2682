package main

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"autoresearchd/daemon/compiled"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/trainer"
)

// compiledIn are the folders for what trials compile, best first: beside the
// data, where all studies find it, or with the study itself where that cannot
// be written or another daemon has it.
func compiledIn(c *config.Config) []string {
	dirs := []string{filepath.Join(c.Study.State, "compiled")}
	if cache, err := c.CacheDir(); err == nil && unix.Access(cache, unix.W_OK) == nil {
		dirs = append([]string{filepath.Join(cache, "compiled")}, dirs...)
	}
	return dirs
}

// examineLimits says what a trial on one of so many seats may take, and what of
// it is kept.
func examineLimits(c *config.Config, seats int, ok func(string, string, ...any), note func(string, string, string)) {
	switch most, _ := trainer.HostMemory(); {
	case c.Trial.Memory > 0 && most > 0 && int64(c.Trial.Memory)*int64(seats) > most:
		note("memory", fmt.Sprintf("%d trials may take %.1f GiB each of this machine's memory, which has %.1f GiB for them", seats, gib(int64(c.Trial.Memory)), gib(most)), "lower trial.memory if trials really take that much")
	case c.Trial.Memory > 0:
		ok("memory", "a trial may take %.1f GiB of this machine's memory", gib(int64(c.Trial.Memory)))
	case c.Trial.Memory == 0:
		ok("memory", "a trial may take %.1f GiB of this machine's memory, so that it has room itself", gib(most)/float64(seats))
	default:
		note("memory", "a trial may take all of this machine's memory", `trial.memory = "" leaves the machine room`)
	}
	for _, dir := range compiledIn(c) {
		switch entries, size, err := compiled.Kept(dir); {
		case err != nil:
			note("compiled code", fmt.Sprintf("%s cannot be used: %v", dir, err), "the next start empties it, and trials recompile")
		case entries > 0:
			ok("compiled code", "%d files with %.1f MiB in %s, at most %d GiB of them are kept", entries, float64(size)/(1<<20), dir, compiled.Limit>>30)
		}
	}
}
