package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
)

// seatsTable is a configuration with these seats alone; python may be another.
func (s *fixture) seatsTable(table string) {
	s.t.Helper()
	s.configure("[[seats]]\nkind = \"slurm\"\n" + table)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `devices = "cpu"`, `devices = []`, 1))
}

// examined is what doctor says of the cluster.
func (s *fixture) examined() string {
	s.t.Helper()
	out, fault, _ := s.cli("doctor", "--json")
	var all []finding
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		s.t.Fatalf("%v\n%s%s", err, out, fault)
	}
	var said []string
	for _, f := range all {
		if f.Part == "cluster" {
			said = append(said, f.State+": "+strings.TrimSuffix(f.Text+": "+f.Remedy, ": "))
		}
	}
	return strings.Join(said, "\n")
}

// TestSlurmFaults has what keeps seats from a real cluster's nodes. doctor finds
// each by a step, in one message with its remedy, and a study goes on with the
// seats that work.
func TestSlurmFaults(t *testing.T) {
	if os.Getenv("AUTORESEARCH_TEST_SLURM") == "" {
		t.Skip("AUTORESEARCH_TEST_SLURM is not set: scripts/test.sh slurm does, where root can start a Slurm")
	}
	c := newSlurm(t)
	s := newStudy(t)
	s.onSlurm(1, "")
	for _, name := range []string{"cache/data/shard", "cache/tokenizer/tokenizer.pkl"} {
		s.write(name, "x")
	}
	// What lies in "apart" the nodes do not see: it is another file system there.
	must(t, os.MkdirAll(s.path("apart"), 0o755))
	apart := func(prepare string) []string {
		return []string{"unshare", "--mount", "sh", "-ec", "mount -t tmpfs none " + s.path("apart") + "; cd " + s.path("apart") + "; " + prepare + "; exec \"$@\"", "sh"}
	}
	conf, err := os.ReadFile(filepath.Join(c.dir, "slurm.conf"))
	must(t, err)
	python := filepath.Join(venv, "bin", "python")
	s.write("other/pyvenv.cfg", "version = 3.1.4\n")
	s.write("other/bin/python", "")

	for _, f := range []struct {
		name, table string
		under       []string
		change      func()
		want        string // a regular expression
	}{
		{"a node that is fit", "", nil, nil, `(?m)^ok: a step on n[1-4] runs Python 3\.\d+\.\d+ of ` + python + `, on cpu \(.*\d+ CPU cores?\)$`},
		{"no such partition", "partition = \"nope\"", nil, nil, "^fault: slurm:0: sbatch: .*nvalid partition.*: name one that `sinfo` lists in seats.partition$"},
		{"no such gres", "gres = \"fpga:1\"", nil, nil, "^fault: slurm:0: sbatch: .*nvalid generic resource.*: write seats.gres as `sinfo -o %G` lists it$"},
		{"no node has that", "args = [\"--mem=1T\"]", nil, nil, "^fault: slurm:0: sbatch: .*node configuration is not available: no node has what seats.gres and seats.args ask for"},
		{"a time limit shorter than a trial", "partition = \"short\"", nil, nil, `^fault: slurm:0: its allocation lasts (1m0s|5\ds), and a trial up to 10m2s \(watchdog.total\): raise seats.time, or name a partition with a longer limit$`},
		{"a GPU without a driver", "gres = \"gpu:1\"", nil, nil, `^fault: slurm:0: no trial can run on n4: the allocation has the GPU 0, which the driver does not report \(.+\)$`},
		{"a node without the data", "", apart("mkdir data; : >data/shard"), func() {
			s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), "[trial]", "cache = \"apart\"\n[trial]", 1))
		}, "^fault: slurm:0: no trial can run on n[1-4]: " + s.path("apart") + "/data is not there: put the data and the venv on a file system that the nodes share"},
		{"a node without the venv", "", apart("mkdir bin; ln -s " + python + " bin/python; cp " + filepath.Join(venv, "pyvenv.cfg") + " ."), func() {
			s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), python, s.path("apart/bin/python"), 1))
		}, "^fault: slurm:0: no trial can run on n[1-4]: there is no interpreter at " + s.path("apart/bin/python")},
		{"another Python on a node", "", []string{"unshare", "--mount", "sh", "-ec", "mount --bind " + venv + " " + s.path("other") + "; exec \"$@\"", "sh"}, func() {
			s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), python, s.path("other/bin/python"), 1))
		}, "^fault: slurm:0: no trial can run on n[1-4]: " + s.path("other/bin/python") + ` is Python 3\.1\.4, but this binary embeds Python 3`},
		{"no binary on a node", "", apart("cp " + os.Args[0] + " program; shift; set -- ./program \"$@\""), nil,
			`^fault: slurm:0: the step on n[1-4] did not begin: .*No such file or directory.*: install the same autoresearchd`},
		{"a clock that is apart", "", nil, func() {
			// What a node says of the time is another year's.
			s.write("bin/srun", "#!/bin/sh\n/usr/bin/srun \"$@\" | LC_ALL=C sed -u 's/\"now\":\"20/\"now\":\"19/'\n")
			must(s.t, os.Chmod(s.path("bin/srun"), 0o755))
			s.t.Setenv("PATH", s.path("bin")+":"+os.Getenv("PATH"))
		}, "(?ms)^ok: a step on n[1-4] runs .*^note: the clock of n[1-4] is [0-9hms]+ from this machine's: a time service on both: munge refuses what is five minutes apart$"},
		{"no munge", "", nil, func() {
			s.write("slurm.conf", regexp.MustCompile(`AuthInfo=.*`).ReplaceAllString(string(conf), "AuthInfo=socket=/nowhere/munge"))
			s.t.Setenv("SLURM_CONF", s.path("slurm.conf"))
		}, "^fault: slurm:0: sbatch: .*: start munge on this host"},
	} {
		t.Run(f.name, func(t *testing.T) {
			s.t = t
			s.seatsTable(f.table)
			if f.change != nil {
				f.change()
			}
			s.under = f.under
			if got := s.examined(); !regexp.MustCompile(f.want).MatchString(got) {
				t.Errorf("doctor says\n%s\nand not\n%s", got, f.want)
			}
		})
	}
	s.t, s.under = t, nil
	c.gone()

	// Seats that get nowhere hold up no other.
	s.seatsTable("partition = \"nope\"\n[[seats]]\nkind = \"slurm\"\ncount = 2\n[[seats]]\nkind = \"slurm\"\ngres = \"gpu:1\"")
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `sandbox = "off"`, `sandbox = "require"`, 1))
	s.ok("run", "--trials", "1")
	c.gone()
	s.hold()
	d := s.start()
	on := s.train(2)
	if on["slurm:1"] == 0 || on["slurm:2"] == 0 {
		t.Errorf("trials are on %v", on)
	}
	s.until("both others to say why they wait", func(now supervisor.Status) bool {
		why := map[string]string{}
		for _, seat := range now.Seats {
			why[seat.Name] = string(seat.State) + " " + seat.Why
		}
		return strings.HasPrefix(why["slurm:0"], "waiting") && strings.Contains(why["slurm:0"], "`sinfo` lists in seats.partition") &&
			strings.HasPrefix(why["slurm:3"], "waiting") && strings.Contains(why["slurm:3"], "the driver does not report")
	})
	s.open()
	d.until("trial ends")
	s.ok("stop")
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	c.gone()
	s.once(nil)
}

// TestSlurmTime gives no trial an allocation that would end before it could.
func TestSlurmTime(t *testing.T) {
	if os.Getenv("AUTORESEARCH_TEST_SLURM") == "" {
		t.Skip("AUTORESEARCH_TEST_SLURM is not set: scripts/test.sh slurm does, where root can start a Slurm")
	}
	c := newSlurm(t)
	s := newStudy(t)
	s.onSlurm(1, "[watchdog]\ntotal = \"45s\"\nstall = \"40s\"\n")
	// A minute, of which a trial may want 47 s.
	s.write("autoresearch.toml", strings.NewReplacer(`budget = "450s"`, `budget = "40s"`, `time = "1h"`, `time = "1m"`).Replace(s.read("autoresearch.toml")))
	s.hold()
	d := s.start()
	s.train(1)
	first := c.job("slurm:0")
	s.poll("the rest to be too short", func() bool {
		left := c.tool("squeue", "-h", "-j", first, "-o", "%L")
		return regexp.MustCompile(`^0:(4[0-4]|[0-3]\d)$`).MatchString(left)
	})
	s.open()
	d.until("trial ends")
	d.until("its allocation ends in")
	d.until("trial ends")
	s.ok("stop")
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	c.gone()
	s.once(nil)
	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	records, err := r.Trials()
	must(t, err)
	in := func(i int) (seat struct{ Job string }) {
		must(t, json.Unmarshal([]byte(records[i].Seat), &seat))
		return seat
	}
	if len(records) < 2 || in(0).Job != first || in(1).Job == first || in(1).Job == "" {
		t.Errorf("trials ran in %+v", records)
	}
}
