// Package slurm speaks with a Slurm cluster through its own commands, sbatch,
// srun, squeue and scancel, as any user does. It knows allocations and steps,
// and nothing of trials. See the commands' manual pages (Slurm 20.11 and later).
package slurm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Request is what an allocation is asked for. Empty fields leave the choice to
// the cluster.
type Request struct {
	Name      string
	Partition string
	Gres      string
	Account   string
	Time      time.Duration // 0: the partition's
	Args      []string      // more options of sbatch
	Avoid     []string      // nodes that it is not to have
}

// Job is an allocation as the controller knows it.
type Job struct {
	ID     string
	Name   string
	State  string        // "PENDING", "RUNNING", …
	Reason string        // of a state that is not RUNNING: "Resources", "Priority"
	Node   string        // that it has; empty: none yet
	Left   time.Duration // of its time; negative: without end, or not known
}

// Waits reports whether the job will run by itself, sooner or later.
func (j Job) Waits() bool {
	switch j.State {
	case "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "RESIZING", "SUSPENDED", "STOPPED":
		return true
	}
	return false
}

// Runs reports whether steps can be started in it.
func (j Job) Runs() bool { return j.State == "RUNNING" }

// reasons are why a job does not run by itself, as squeue abbreviates them, and
// what to do. The first whose words are in a reason counts.
var reasons = []struct{ words, remedy string }{
	{"PartitionTimeLimit", "lower seats.time: `sinfo -o '%P %l'` shows each partition's limit"},
	{"PartitionNodeLimit", "name another in seats.partition: `scontrol show partition` shows each one's limits"},
	{"PartitionDown", "`sinfo` shows which partitions are up: wait, or name another in seats.partition"},
	{"PartitionInactive", "`sinfo` shows which partitions are up: wait, or name another in seats.partition"},
	{"BadConstraints", "no node has what seats.gres and seats.args ask for: `sinfo -N -l` lists them"},
	{"DOWN", "`sinfo -R` says why nodes are away"},
	{"ReqNodeNotAvail", "`sinfo -R` says why nodes are away"},
	{"InvalidAccount", "name one that `sacctmgr show associations user=$USER` lists in seats.account"},
	{"InvalidQOS", "correct the --qos of seats.args: `sacctmgr show qos` lists them"},
	{"JobHeld", "`scontrol release` lets it run"},
	{"Assoc", "the account has all that it may have now: lower seats.count, or wait"},
	{"QOS", "the account has all that it may have now: lower seats.count, or wait"},
}

// Remedy is what helps a job that waits; empty: time does.
func (j Job) Remedy() string {
	for _, r := range reasons {
		if strings.Contains(j.Reason, r.words) {
			return r.remedy
		}
	}
	return ""
}

// Error is what a command of Slurm says of its failure.
type Error struct {
	Command string // "sbatch"
	Words   string // its own
	Remedy  string // empty: none is known
}

func (e *Error) Error() string {
	text := e.Command + ": " + e.Words
	if e.Remedy != "" {
		text += ": " + e.Remedy
	}
	return text
}

// remedies are by what the commands say.
var remedies = []struct{ words, remedy string }{
	{"executable file not found", "install Slurm's commands here (slurm-client), or run the daemon where they are"},
	{"nvalid partition", "name one that `sinfo` lists in seats.partition"},
	{"nvalid account", "name one that `sacctmgr show associations user=$USER` lists in seats.account"},
	{"nvalid generic resource", "write seats.gres as `sinfo -o %G` lists it"},
	{"time limit is invalid", "lower seats.time: `sinfo -o '%P %l'` shows each partition's limit"},
	{"time limit exceeds", "lower seats.time: `sinfo -o '%P %l'` shows each partition's limit"},
	{"node configuration is not available", "no node has what seats.gres and seats.args ask for: `sinfo -N -l` lists them"},
	{"ob violates accounting/QOS policy", "the queue takes no more of this user's jobs now: lower seats.count, or wait"},
	{"SubmitJob", "the queue takes no more of this user's jobs now: lower seats.count, or wait"},
	{"unable to accept job", "the controller has as many jobs as it takes (MaxJobCount): wait, or lower seats.count"},
	{"unrecognized option", "correct seats.args: `man sbatch` lists its options"},
	{"invalid option", "correct seats.args: `man sbatch` lists its options"},
	{"munge", "start munge on this host with the cluster's key (`systemctl start munge`, and `munge -n | unmunge` shows whether it works)"},
	{"rotocol authentication", "this host's munge key or clock is not the cluster's (`munge -n | ssh NODE unmunge` shows it)"},
	{"onfiguration file", "give this host the cluster's slurm.conf, or set SLURM_CONF in the daemon's environment"},
	{"resolve", "give this host the cluster's slurm.conf, or set SLURM_CONF in the daemon's environment"},
	{"nable to contact slurm controller", "the controller does not answer; `scontrol ping` shows when it does"},
	{"ontact", "the controller does not answer; `scontrol ping` shows when it does"},
}

// Fault makes an Error of what a command printed. Its last line is what it died of.
func Fault(command string, err error, output []byte) *Error {
	lines := strings.FieldsFunc(strings.TrimSpace(string(output)), func(r rune) bool { return r == '\n' })
	words := err.Error()
	if n := len(lines); n > 0 {
		words = lines[n-1]
	}
	for _, prefix := range []string{command + ": ", "error: "} {
		words = strings.TrimPrefix(words, prefix)
	}
	e := &Error{Command: command, Words: words}
	all := string(output) + err.Error()
	for _, r := range remedies {
		if strings.Contains(all, r.words) {
			e.Remedy = r.remedy
			break
		}
	}
	return e
}

// patience bounds every command: a controller that does not answer makes them wait.
const patience = 30 * time.Second

// Cluster is what this host's Slurm commands reach.
type Cluster struct {
	Env []string // of the commands
}

func (c Cluster) run(ctx context.Context, input string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdin, cmd.Dir = c.env(), strings.NewReader(input), "/"
	cmd.WaitDelay = time.Second
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil && fault.Len() == 0 {
			err = fmt.Errorf("no answer within %v", patience)
		}
		return "", Fault(name, err, fault.Bytes())
	}
	return strings.TrimSpace(out.String()), nil
}

// env is without what would change the meaning of a command: the daemon may run
// inside an allocation itself.
func (c Cluster) env() []string {
	var env []string
	for _, entry := range c.Env {
		name, _, _ := strings.Cut(entry, "=")
		if name == "SLURM_CONF" || !strings.HasPrefix(name, "SLURM_") && !strings.HasPrefix(name, "SBATCH_") && !strings.HasPrefix(name, "SQUEUE_") {
			env = append(env, entry)
		}
	}
	return append(env, "LC_ALL=C")
}

// holder keeps an allocation until it is cancelled, its time is over, or nobody
// has touched its file for three minutes. Nothing of the submitting user's
// environment is left in it.
const holder = `#!/bin/sh
exec env -i PATH=/usr/bin:/bin /bin/sh -c '
f=/tmp/autoresearchd-$0.held
: >"$f"
while sleep 20; do
  [ -n "$(find "$f" -mmin -3 2>/dev/null)" ] || break
done
rm -f "$f"' "$SLURM_JOB_ID"
`

// Submit asks for an allocation of one task on one node.
func (c Cluster) Submit(ctx context.Context, r Request) (id string, err error) {
	args := []string{"--parsable", "--job-name=" + r.Name, "--nodes=1", "--ntasks=1", "--no-requeue",
		"--export=NONE", "--chdir=/", "--input=/dev/null", "--output=/dev/null", "--error=/dev/null"}
	for _, o := range [][2]string{{"--partition=", r.Partition}, {"--gres=", r.Gres}, {"--account=", r.Account}} {
		if o[1] != "" {
			args = append(args, o[0]+o[1])
		}
	}
	if r.Time > 0 {
		args = append(args, "--time="+format(r.Time))
	}
	out, err := c.run(ctx, holder, "sbatch", append(args, avoiding(r.Args, r.Avoid)...)...)
	if err != nil {
		return "", err
	}
	id, _, _ = strings.Cut(out, ";") // behind it stands the cluster's name
	if _, err := strconv.ParseInt(id, 10, 64); err != nil {
		return "", &Error{Command: "sbatch", Words: fmt.Sprintf("it answered %q where a job's number was expected", out)}
	}
	return id, nil
}

// avoiding adds nodes to those that the options exclude already.
func avoiding(options, nodes []string) []string {
	if len(nodes) == 0 {
		return options
	}
	rest, all := []string{}, []string{}
	for _, o := range options {
		if list, ok := strings.CutPrefix(o, "--exclude="); ok {
			all = append(all, list)
		} else if list, ok := strings.CutPrefix(o, "-x"); ok {
			all = append(all, strings.TrimPrefix(list, "="))
		} else {
			rest = append(rest, o)
		}
	}
	return append(rest, "--exclude="+strings.Join(append(all, nodes...), ","))
}

// format writes a time as Slurm does, in whole minutes upwards.
func format(d time.Duration) string {
	m := int64((d + time.Minute - 1) / time.Minute)
	return fmt.Sprintf("%d-%02d:%02d:00", m/1440, m/60%24, m%60)
}

// Jobs lists this user's allocations whose names begin with prefix.
func (c Cluster) Jobs(ctx context.Context, prefix string) ([]Job, error) {
	out, err := c.run(ctx, "", "squeue", "--noheader", "--user="+strconv.Itoa(os.Getuid()), "--states=all", "--format=%i|%T|%r|%N|%L|%j")
	if err != nil {
		return nil, err
	}
	return parseJobs(out, prefix), nil
}

func parseJobs(out, prefix string) []Job {
	var jobs []Job
	for line := range strings.Lines(out) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 6)
		if len(f) < 6 || !strings.HasPrefix(f[5], prefix) {
			continue
		}
		j := Job{ID: f[0], State: f[1], Reason: f[2], Node: f[3], Left: parseLeft(f[4]), Name: f[5]}
		jobs = append(jobs, j)
	}
	return jobs
}

// parseLeft reads "1-02:03:04", "03:04", "UNLIMITED" and their kin.
func parseLeft(s string) time.Duration {
	days, rest, found := strings.Cut(strings.TrimSpace(s), "-")
	if !found {
		days, rest = "0", days
	}
	n, err := strconv.Atoi(days)
	if err != nil {
		return -1
	}
	d := time.Duration(n) * 24 * time.Hour
	unit := time.Second
	parts := strings.Split(rest, ":")
	for i := len(parts) - 1; i >= 0; i-- {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 {
			return -1
		}
		d += time.Duration(n) * unit
		unit *= 60
	}
	return d
}

// Cancel cancels an allocation, "12", or a step, "12.3". One that is gone is no
// error.
func (c Cluster) Cancel(ctx context.Context, id string) error {
	_, err := c.run(ctx, "", "scancel", id)
	var fault *Error
	if errors.As(err, &fault) && (strings.Contains(fault.Words, "nvalid job id") || strings.Contains(fault.Words, "already complet") || strings.Contains(fault.Words, "step completion")) {
		return nil
	}
	return err
}

// Steps lists the steps of an allocation that are not over, without that of its
// script: "12.0", "12.1". An allocation that is gone has none.
func (c Cluster) Steps(ctx context.Context, job string) ([]string, error) {
	out, err := c.run(ctx, "", "squeue", "--noheader", "--steps", "--job="+job, "--format=%i")
	var fault *Error
	if errors.As(err, &fault) && strings.Contains(fault.Words, "nvalid job id") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var steps []string
	for _, id := range strings.Fields(out) {
		if of, step, _ := strings.Cut(id, "."); of == job && step != "batch" && step != "extern" && step != "interactive" {
			steps = append(steps, id)
		}
	}
	return steps, nil
}

// End cancels the steps of an allocation and waits until none is left: all of
// them, or those named. Its error says what may still be there.
func (c Cluster) End(ctx context.Context, job string, only ...string) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		left, err := c.Steps(ctx, job)
		if err == nil {
			n := 0
			for _, step := range left {
				named := len(only) == 0
				for _, id := range only {
					named = named || id == step
				}
				if named {
					n++
					err = errors.Join(err, c.Cancel(ctx, step))
				}
			}
			if n == 0 {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the end of a step of job %s is not proven: %w", job, errors.Join(err, ctx.Err()))
		case <-time.After(pause):
		}
	}
}

// Step is the command that runs a program on the node of an allocation, with
// nothing of this host's environment. Its standard streams are the program's.
func (c Cluster) Step(job, name string, command ...string) *exec.Cmd {
	args := append([]string{"--jobid=" + job, "--nodes=1", "--ntasks=1", "--export=NONE", "--chdir=/", "--mpi=none", "--job-name=" + name}, command...)
	cmd := exec.Command("srun", args...)
	cmd.Env, cmd.Dir = c.env(), "/"
	return cmd
}
