package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/device"
	"autoresearchd/daemon/slurm"
	"autoresearchd/daemon/trainer"
)

// remotes are the seats on clusters that a configuration names, from the given
// number on: as devices, and as what they ask for.
func remotes(c *config.Config, from int) (ds []device.Device, berths []trainer.Berth) {
	for _, s := range c.Remote()[from:] {
		ds = append(ds, device.Device{Name: s.Name})
		berths = append(berths, trainer.Berth{Name: s.Name, Request: slurm.Request{
			Partition: s.Partition, Gres: s.Gres, Account: s.Account, Time: time.Duration(s.Time), Args: s.Args,
		}})
	}
	return ds, berths
}

// needs are the files and folders of the data that are here, and that nodes must
// have too.
func needs(c *config.Config) []string {
	cache, err := c.CacheDir()
	if err != nil {
		return nil
	}
	var all []string
	for _, name := range []string{"", "data", "tokenizer", "tokenizer/tokenizer.pkl", "tokenizer/token_bytes.pt"} {
		path := filepath.Join(cache, name)
		if _, err := os.Stat(path); err == nil {
			all = append(all, path)
		}
	}
	return all
}

// wholeCluster looks at a seat's device wherever it is.
func wholeCluster(tr trainer.Trainer, local func(string) *device.Unfit) func(device.Device) (device.Device, *device.Unfit) {
	own, _ := tr.(*trainer.Process)
	return func(d device.Device) (device.Device, *device.Unfit) {
		if u := local(d.Name); u != nil || own == nil {
			return d, u
		}
		return own.Look(d)
	}
}

// nodeMemory says how much memory of a node's device is in use.
func nodeMemory(tr trainer.Trainer) func(string) (int64, bool) {
	if own, ok := tr.(*trainer.Process); ok {
		return own.Beside
	}
	return nil
}

// soon has a seat on a cluster get its allocation while its first trial waits
// for another's end.
func soon(tr trainer.Trainer) func(device.Device) {
	own, ok := tr.(*trainer.Process)
	if !ok {
		return nil
	}
	return func(d device.Device) { own.Look(d) }
}

// inQueue is how long doctor waits for an allocation.
const inQueue = time.Minute

// examineCluster runs a step on a node for each table of seats, and says what it
// finds there.
func examineCluster(ctx context.Context, c *config.Config, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	_, berths := remotes(c, 0)
	if len(berths) == 0 {
		return
	}
	o, err := options(c, nil)
	if err != nil {
		fault("cluster", err, "")
		return
	}
	o.Owner, o.Needs = o.Owner+":doctor", needs(c)
	p, err := trainer.NewProcess(o)
	if err != nil {
		fault("cluster", err, "")
		return
	}
	defer p.Close()
	seen := map[string]bool{}
	for _, b := range berths {
		if key := fmt.Sprint(b.Request); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		late, cancel := context.WithTimeout(ctx, inQueue)
		found, err := p.Probe(late, b)
		cancel()
		switch {
		case errors.Is(err, trainer.ErrQueued):
			note("cluster", fmt.Sprintf("%s and those like it: %v", b.Name, err), "its seats wait as long; `squeue --start` estimates until when")
		case err != nil:
			fault("cluster", fmt.Errorf("%s: %w", b.Name, err), "")
		default:
			ok("cluster", "a step on %s runs Python %s of %s, on %s (%s)", found.Host, found.Python, c.Python(), found.Device, found.Kind)
			if strings.HasPrefix(found.Sandbox, "none") {
				note("cluster", fmt.Sprintf("trials on %s can reach all that its user can: %s", found.Host, found.Sandbox), "`autoresearchd doctor` there, with the same configuration, says what is missing")
			} else {
				ok("cluster", "trials on %s run in a sandbox: %s", found.Host, found.Sandbox)
			}
			if found.Apart.Abs() > time.Minute {
				note("cluster", fmt.Sprintf("the clock of %s is %v from this machine's", found.Host, found.Apart.Round(time.Second)), "a time service on both: munge refuses what is five minutes apart")
			}
		}
	}
}
