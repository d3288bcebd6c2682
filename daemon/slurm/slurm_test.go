package slurm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseJobs(t *testing.T) {
	out := "2|RUNNING|None|n1|9:59|a/slurm:0\n3|PENDING|Resources||UNLIMITED|a/slurm:1\n4|PENDING|ReqNodeNotAvail, UnavailableNodes:n1||1-00:00:30|a/slurm:2|x\n5|RUNNING|None|n2|0:00|other\nbroken\n"
	want := []Job{
		{"2", "a/slurm:0", "RUNNING", "None", "n1", 9*time.Minute + 59*time.Second},
		{"3", "a/slurm:1", "PENDING", "Resources", "", -1},
		{"4", "a/slurm:2|x", "PENDING", "ReqNodeNotAvail, UnavailableNodes:n1", "", 24*time.Hour + 30*time.Second},
	}
	if got := parseJobs(out, "a/"); !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !want[1].Waits() || want[0].Waits() || !want[0].Runs() || (Job{State: "COMPLETING"}).Waits() {
		t.Error("which jobs run or wait is wrong")
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]time.Duration{"0:30": 30 * time.Second, "1:02:03": time.Hour + 2*time.Minute + 3*time.Second, "2-03:00:00": 51 * time.Hour, "INVALID": -1, "NOT_SET": -1, "": -1} {
		if got := parseLeft(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Minute: "0-00:01:00", 8 * time.Hour: "0-08:00:00", 36*time.Hour + time.Second: "1-12:01:00"} {
		if got := format(d); got != want || parseLeft(got) < d {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}

// TestFaults has what the commands of Slurm 22.05 print, and the remedy of each.
func TestFaults(t *testing.T) {
	for _, c := range []struct{ command, said, words, remedy string }{
		{"sbatch", "sbatch: error: invalid partition specified: nope\nsbatch: error: Batch job submission failed: Invalid partition name specified\n", "Batch job submission failed: Invalid partition name specified", "seats.partition"},
		{"sbatch", "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)\n", "Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "seats.time"},
		{"sbatch", "sbatch: error: Invalid generic resource (gres) specification\n", "Invalid generic resource (gres) specification", "seats.gres"},
		{"squeue", "squeue: error: If munged is up, restart with --num-threads=10\nsqueue: error: Munge encode failed: Failed to access \"/run/munge\": No such file or directory\nslurm_load_jobs error: Protocol authentication error\n", "slurm_load_jobs error: Protocol authentication error", "munge"},
		{"sbatch", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n", "Batch job submission failed: Unable to contact slurm controller (connect failure)", "scontrol ping"},
		{"sbatch", "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n", "Slurm temporarily unable to accept job, sleeping and retrying", "MaxJobCount"},
		{"sbatch", "", "exec: \"sbatch\": executable file not found in $PATH", "slurm-client"},
		{"sbatch", "sbatch: something new\n", "something new", ""},
	} {
		err := errors.New("exit status 1")
		if c.said == "" {
			err = fmt.Errorf("exec: %q: executable file not found in $PATH", c.command)
		}
		e := Fault(c.command, err, []byte(c.said))
		if e.Words != c.words || !strings.Contains(e.Remedy, c.remedy) || (e.Remedy == "") != (c.remedy == "") {
			t.Errorf("%q: %+v", c.said, e)
		}
	}
}

// TestEnvironment keeps what a step of the daemon's own allocation says away
// from the commands.
func TestEnvironment(t *testing.T) {
	c := Cluster{Env: []string{"PATH=/bin", "SLURM_CONF=/x", "SLURM_JOB_ID=7", "SBATCH_PARTITION=p", "SQUEUE_FORMAT=%i"}}
	if got := strings.Join(c.env(), " "); got != "PATH=/bin SLURM_CONF=/x LC_ALL=C" {
		t.Errorf("got %s", got)
	}
	step := c.Step("7", "seat", "/x/autoresearchd", "trainer", "host")
	if !slices.Contains(step.Args, "--export=NONE") || !slices.Contains(step.Args, "--jobid=7") {
		t.Errorf("got %q", step.Args)
	}
}

// TestReasons has why jobs wait: for their turn, or for somebody to do something.
func TestReasons(t *testing.T) {
	for reason, remedy := range map[string]string{
		"Resources": "", "Priority": "", "BeginTime": "", "None": "",
		"PartitionTimeLimit": "seats.time", "PartitionDown": "seats.partition", "AssocMaxJobsLimit": "seats.count", "QOSMaxJobsPerUserLimit": "seats.count",
		"InvalidQOS": "--qos", "ReqNodeNotAvail, UnavailableNodes:n1": "sinfo -R", "JobHeldUser": "scontrol release", "BadConstraints": "seats.gres",
	} {
		if got := (Job{Reason: reason}).Remedy(); !strings.Contains(got, remedy) || (got == "") != (remedy == "") {
			t.Errorf("%s: %q", reason, got)
		}
	}
}

// TestAvoiding keeps what the user excludes.
func TestAvoiding(t *testing.T) {
	for _, c := range []struct{ options, nodes, want string }{
		{"--mem=1G", "", "--mem=1G"}, {"--mem=1G", "n1 n2", "--mem=1G --exclude=n1,n2"},
		{"--exclude=n[3-4] --mem=1G", "n1", "--mem=1G --exclude=n[3-4],n1"}, {"-xn3", "n1", "--exclude=n3,n1"}, {"-xn3", "", "-xn3"},
	} {
		if got := strings.Join(avoiding(strings.Fields(c.options), strings.Fields(c.nodes)), " "); got != c.want {
			t.Errorf("%q without %q: %q, want %q", c.options, c.nodes, got, c.want)
		}
	}
}
