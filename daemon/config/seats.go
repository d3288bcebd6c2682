package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Seats are places for trials on a cluster, beside [trial] devices: a table
// [[seats]].
type Seats struct {
	Kind      string   `toml:"kind"`  // "slurm"
	Count     *int     `toml:"count"` // nil: one
	Partition string   `toml:"partition"`
	Gres      string   `toml:"gres"` // of each seat, "gpu:1"; empty: CPUs
	Time      Walltime `toml:"time"` // of an allocation; 0: the partition's
	Account   string   `toml:"account"`
	Args      []string `toml:"args"` // more options of sbatch
}

// Walltime is how long an allocation lasts: "8h", or as Slurm writes it,
// "08:00:00" or "1-12:00:00".
type Walltime time.Duration

// Slurm kinds of seats ask a Slurm controller for allocations.
const Slurm = "slurm"

// RemoteSeat is one seat on a cluster.
type RemoteSeat struct {
	Name  string // "slurm:0", unique in the study
	Seats        // what it asks for
}

// Remote lists the seats on clusters, in the order of their tables.
func (c *Config) Remote() []RemoteSeat {
	var all []RemoteSeat
	for _, s := range c.Seats {
		n := 1
		if s.Count != nil {
			n = *s.Count
		}
		s.Count = nil
		for range n {
			all = append(all, RemoteSeat{Name: s.Kind + ":" + strconv.Itoa(len(all)), Seats: s})
		}
	}
	return all
}

// growsSeats reports whether new has all seats of old, and maybe more behind.
func growsSeats(old, new *Config) bool {
	a, b := old.Remote(), new.Remote()
	same := func(x, y RemoteSeat) bool { return reflect.DeepEqual(x, y) }
	return len(b) >= len(a) && slices.EqualFunc(a, b[:len(a)], same)
}

var (
	slurmTime = regexp.MustCompile(`^(?:(\d{1,4})-)?(\d{1,4}):(\d{2})(?::(\d{2}))?$`)
	slurmName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@:,/=()\[\]-]*$`)
)

// ParseWalltime reads "8h" or "1-12:00:00".
func ParseWalltime(s string) (Walltime, error) {
	s = strings.TrimSpace(s)
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return Walltime(d), nil
	}
	m := slurmTime.FindStringSubmatch(s)
	if m == nil || m[1] == "" && m[4] == "" { // "10:30" is minutes to some and hours to others
		return 0, fmt.Errorf("parse time %q: neither a positive duration nor hours:minutes:seconds", s)
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1])
	}
	d := time.Duration(n[0])*24*time.Hour + time.Duration(n[1])*time.Hour + time.Duration(n[2])*time.Minute + time.Duration(n[3])*time.Second
	if d <= 0 {
		return 0, fmt.Errorf("parse time %q: it is no time at all", s)
	}
	return Walltime(d), nil
}

// ours are sbatch's options that the daemon gives itself, with where else to
// say it; empty: nowhere.
var ours = map[string]string{
	"job-name": "", "J": "", "nodes": "", "N": "", "ntasks": "", "n": "", "export": "", "wrap": "", "array": "", "a": "",
	"output": "", "o": "", "error": "", "e": "", "input": "", "i": "", "parsable": "", "wait": "", "W": "", "chdir": "", "D": "",
	"time": "time", "t": "time", "partition": "partition", "p": "partition", "gres": "gres", "account": "account", "A": "account",
}

func (v *validator) seats(c *Config) {
	need := c.Watchdog.Total + c.Watchdog.Grace
	total := len(c.Trial.Devices)
	for i, s := range c.Seats {
		at := func(key string) []string { return []string{"seats", "[" + strconv.Itoa(i) + "]", key} }
		n := 1
		if s.Count != nil {
			n = *s.Count
		}
		switch {
		case s.Kind == "":
			v.fail(at("kind")[:2], nil, "does not say of what kind its seats are", `write kind = "slurm"`)
		case s.Kind != Slurm:
			v.fail(at("kind"), s.Kind, "is not a kind of seats", `write "slurm"; local ones are named by trial.devices`)
		}
		if n < 1 {
			v.fail(at("count"), n, "is out of range", "write at least 1, or remove the table")
		}
		total += max(0, n)
		for _, f := range []struct{ key, value, example string }{{"partition", s.Partition, `"gpu"`}, {"gres", s.Gres, `"gpu:1"`}, {"account", s.Account, `"lab"`}} {
			if f.value != "" && !slurmName.MatchString(f.value) {
				v.fail(at(f.key), f.value, "is not what sbatch takes for --"+f.key, "write "+f.example+`, or "" for the cluster's own choice`)
			}
		}
		if t := time.Duration(s.Time); t > 0 && t < need {
			v.fail(at("time"), t.String(), fmt.Sprintf("ends before a trial could: one may last %v (watchdog.total and grace)", need), "write several times that, or lower watchdog.total")
		}
		for j, arg := range s.Args {
			path := append(at("args"), "["+strconv.Itoa(j)+"]")
			name := strings.TrimLeft(arg, "-")
			long := strings.HasPrefix(arg, "--")
			if name, _, _ = strings.Cut(name, "="); !long && name != "" {
				name = name[:1]
			}
			key, taken := ours[name]
			switch {
			case !strings.HasPrefix(arg, "-") || name == "" || strings.ContainsAny(arg, "\n\x00"):
				v.fail(path, arg, "is not an option of sbatch", `write "--option=value" in one string`)
			case taken && key != "":
				v.fail(path, arg, "has a key of its own", "write "+key+" = … in the table")
			case taken:
				v.fail(path, arg, "is given by the daemon itself", "leave it out")
			}
		}
	}
	if len(c.Seats) > 0 && total > mostDevices {
		v.fail([]string{"seats"}, nil, fmt.Sprintf("makes %d seats with trial.devices", total), fmt.Sprintf("a study has at most %d", mostDevices))
	}
	if len(c.Seats) > 0 && c.Trial.Isolation == "inprocess" {
		v.bad("trial.isolation", c.Trial.Isolation, "has one interpreter, in the daemon, and so no seats on a cluster", `use "process"`)
	}
}

// LocalDevices reports whether trials run on this machine too.
func (c *Config) LocalDevices() bool { return !slices.Equal(c.Trial.Devices, Devices{}) }
