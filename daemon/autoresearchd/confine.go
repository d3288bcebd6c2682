package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/trainer"
)

// confine finds the sandbox of programs and, unless they run in the daemon, of
// trials.
func confine(c *config.Config, o *trainer.Options, repo *lineage.Repo, devices []device.Device) (*sandbox.Box, error) {
	if c.Trial.Sandbox == sandbox.Off {
		return nil, nil
	}
	shared, err := sharedWithTrials(c)
	if err != nil {
		return nil, err
	}
	o.Shared = append(shared, repo.Objects()) // a trial's work tree has its history there
	on := device.CPU
	if len(devices) > 0 && !inprocess(c) { // there may be seats of a cluster alone, and what reads a train.py is here all the same
		on = devices[0].Name
	}
	box, err := trainer.FindSandbox(o, c.Trial.Sandbox, on, leftOut())
	if !inprocess(c) {
		o.Sandbox = box
	}
	return box, err
}

func inprocess(c *config.Config) bool { return c.Trial.Isolation == "inprocess" }

// private is what no program may reach in the sandbox by being installed beside
// it: the study and the daemon's configuration and secrets.
func private(c *config.Config) []string {
	all := []string{c.Study.State, c.File()}
	for _, s := range secretPaths(c) {
		all = append(all, s[1])
	}
	return all
}

// confinement is what confines trials and programs, in words; "" where nothing
// is asked to. The log has it at the start.
func confinement(c *config.Config, box *sandbox.Box, log *slog.Logger) string {
	switch words := box.Summary(); {
	case c.Trial.Sandbox == sandbox.Off:
		log.Info("trials and programs run without a sandbox", "sandbox", c.Trial.Sandbox)
		return ""
	case !box.On():
		log.Warn("trials and programs run without a sandbox", "without", words)
		return words
	case inprocess(c):
		log.Info("trials run without a sandbox, programs in one", "isolation", c.Trial.Isolation, "layers", words)
		return "around programs alone: " + words
	default:
		log.Info("trials run in a sandbox, and so do programs", "layers", words)
		return words
	}
}

// examineSandbox says of each layer whether it would be in force, and what to do
// where it would not.
func examineSandbox(c *config.Config, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	const part = "sandbox"
	if c.Trial.Sandbox == sandbox.Off || inprocess(c) {
		note(part, "trials can reach all that the daemon's user can", `use isolation = "process" and sandbox = "auto" or "require"`)
	}
	if c.Trial.Sandbox == sandbox.Off {
		note(part, "programs of strategies and checks can reach it too", `use sandbox = "auto" or "require"`)
		return
	}
	dir, err := os.MkdirTemp("", "autoresearchd-doctor-")
	if err != nil {
		fault(part, err, "")
		return
	}
	defer os.RemoveAll(dir)
	o, err := options(c, func(id int64) string { return filepath.Join(dir, fmt.Sprint(id)) })
	if err == nil {
		o.Shared, err = sharedWithTrials(c)
	}
	if err != nil {
		fault(part, err, "")
		return
	}
	box, err := trainer.FindSandbox(&o, c.Trial.Sandbox, device.CPU, leftOut())
	if err != nil {
		fault(part, err, "")
		return
	}
	defer box.Close()
	for _, l := range box.Layers {
		switch {
		case l.Why != "":
			note(part, l.Name+": "+l.Why, l.Remedy)
		case l.Detail != "":
			ok(part, "%s, %s", l.Name, l.Detail)
		default:
			ok(part, "%s", l.Name)
		}
	}
	if box.On() {
		ok(part, "programs of strategies and checks run in it too, agents with the network")
	}
}

// sharedWithTrials is what trials read of the cache: all but what they compile,
// of which each gets a copy of its own.
func sharedWithTrials(c *config.Config) ([]string, error) {
	cache, err := c.CacheDir()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return nil, nil // not there: whoever needs it says so
	}
	var all []string
	for _, e := range entries {
		if e.Name() != "compiled" {
			all = append(all, filepath.Join(cache, e.Name()))
		}
	}
	return all, nil
}

// leftOut reads which layers a drill does without, to show what holds where
// they are not to be had: AUTORESEARCH_SANDBOX_WITHOUT=spaces, pids or uid.
func leftOut() (l sandbox.Leave) {
	for _, name := range filepath.SplitList(os.Getenv(leaveVariable)) {
		switch name {
		case "spaces":
			l.Spaces = true
		case "pids":
			l.PIDs = true
		case "uid":
			l.UID = true
		default:
			fmt.Fprintf(os.Stderr, "autoresearchd: %s=%s is unknown\n", leaveVariable, name)
		}
	}
	return l
}

const leaveVariable = "AUTORESEARCH_SANDBOX_WITHOUT"
