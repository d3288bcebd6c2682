package main

import (
	"os"
	"path/filepath"
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
