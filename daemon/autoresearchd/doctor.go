package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/webhook"
	"autoresearchd/daemon/writable"
	"autoresearchd/metrics/gpu"
	"autoresearchd/pyembed"
)

// finding is what doctor says of one part of the machine.
type finding struct {
	Part   string `json:"part"`
	State  string `json:"state"` // "ok", "note" or "fault"
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

func (g *globals) doctorCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "doctor", Short: "check this machine part by part, and say how to fix what is wrong", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			c, err := g.load(nil)
			if err != nil {
				return err
			}
			var all []finding
			examine(ctx, c, func(f finding) {
				all = append(all, f)
				if !g.json {
					printFinding(cmd.OutOrStdout(), f)
				}
			})
			if g.json {
				if err := printJSON(cmd.OutOrStdout(), all); err != nil {
					return err
				}
			}
			for _, f := range all {
				if f.State == "fault" {
					return exitError(1)
				}
			}
			if !g.json {
				g.next(cmd.OutOrStdout(), "run")
			}
			return nil
		}})
}

func printFinding(w io.Writer, f finding) {
	indent := strings.Repeat(" ", 22)
	fmt.Fprintln(w, fold(w, fmt.Sprintf("%-5s  %-14s %s", f.State, f.Part, f.Text), indent))
	if f.Remedy != "" {
		fmt.Fprintln(w, fold(w, indent+"-> "+f.Remedy, "   "))
	}
}

// examine looks at each part in turn. A fault in one does not keep it from
// looking at the next.
func examine(ctx context.Context, c *config.Config, tell func(finding)) {
	ok := func(part, format string, args ...any) {
		tell(finding{Part: part, State: "ok", Text: fmt.Sprintf(format, args...)})
	}
	note := func(part, text, remedy string) { tell(finding{part, "note", text, remedy}) }
	fault := func(part string, err error, remedy string) { tell(finding{part, "fault", err.Error(), remedy}) }

	ok("configuration", "%s is sound", c.File())

	venv := trainer.CheckVenv(ctx, c.Python())
	if venv != nil {
		fault("python", venv, "")
	} else {
		ok("python", "%s fits the embedded CPython %s", c.Python(), pyembed.Version())
	}

	gpus := gpu.Open(ctx)
	if gpus.Reason() != "" {
		note("nvml", gpus.Reason(), "this is expected on a machine without an NVIDIA GPU")
	} else {
		for _, d := range gpus.Devices() {
			ok("nvml", "GPU %d is %s with %.0f GiB, driver %s", d.Index, d.Name, float64(d.MemoryTotal)/(1<<30), gpus.Driver())
		}
	}

	seats := examineSeats(c, gpus, ok, note, fault)
	examineCluster(ctx, c, ok, note, fault)
	if venv == nil {
		examineTorch(ctx, c, len(gpus.Devices()) > 0, ok, note, fault)
	}

	repo, err := lineage.Open(ctx, c.Study.Workspace)
	if err != nil {
		fault("workspace", err, "")
	} else if head, err := repo.Head(ctx); err != nil {
		fault("workspace", err, "")
	} else {
		ok("workspace", "%s is at commit %.7s", c.Study.Workspace, head)
		examineSpace(ctx, c, ok, note, fault)
		if prepare, err := repo.ReadFile(ctx, head, "prepare.py"); err != nil {
			fault("data", err, "")
		} else if err := checkData(prepare, c); err != nil {
			fault("data", err, "")
		} else {
			cache, _ := c.CacheDir()
			ok("data", "shards and tokenizer are in %s", cache)
		}
		examineStudy(ctx, c, repo, ok, note, fault)
	}
	switch installed, text, err := lineage.InstalledGit(ctx); {
	case err != nil:
		fault("git", err, "")
	case installed.Before(lineage.Flushes):
		note("git", fmt.Sprintf("%s does not flush refs to the disk: a power cut can leave an empty one behind", strings.TrimSpace(text)), fmt.Sprintf("git %s or later does", lineage.Flushes))
	default:
		ok("git", "%s", strings.TrimSpace(text))
	}

	examineState(c, repo, ok, note, fault)
	examineScores(c, ok, note)

	if cg := trainer.FindCgroups(); cg.Why != "" {
		note("cgroups", cg.Why, "trials are killed by process group instead; under systemd, Delegate=yes gives control groups")
	} else {
		ok("cgroups", "each trial gets a control group of its own")
		cg.Close()
	}
	if how := trainer.Calm(); how == "" {
		note("standby", "the next trial's process cannot be kept from slowing the running one: on a CPU it starts only once that one evaluates", "LimitNICE=+0 in the unit, or kernel.sched_autogroup_enabled=1 outside of control groups for the processor")
	} else {
		ok("standby", "the next trial's process is kept from slowing the running one by %s", how)
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		note("systemd", "systemd is not running here", "`autoresearchd run` still works in the foreground")
	} else {
		ok("systemd", "is running")
		examineUnit(ctx, c, repo, ok, fault)
	}
	if c.HTTP.Listen == "" {
		note("http", "http.listen is empty: no /metrics", "")
	} else if l, err := net.Listen("tcp", c.HTTP.Listen); err == nil {
		l.Close()
		ok("http", "%s is free", c.HTTP.Listen)
	} else if client, dialErr := httpd.Dial(c.Study.State); dialErr == nil {
		_ = client
		ok("http", "the running daemon has %s", c.HTTP.Listen)
	} else {
		fault("http", err, "set http.listen to a free address, or to \"\"")
	}
	examineLimits(c, seats, ok, note)
	examineSecrets(c, ok, note)
	examineSandbox(c, ok, note, fault)
	examineModels(ctx, c, ok, note, fault)
	if c.Notify.Enabled() {
		if to, err := webhook.Address(c.Notify); err != nil {
			fault("notices", err, "correct [notify]")
		} else {
			ok("notices", "%s go to %s", strings.Join(c.Notify.Events, ", "), webhook.Redact(to))
		}
	}
}

// examineSpace says how much of train.py is searched.
func examineSpace(ctx context.Context, c *config.Config, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	r, faults, err := readSpace(ctx, c)
	switch {
	case err != nil:
		note("constants", fmt.Sprintf("train.py was not read: %v", err), "")
	case faults != nil:
		fault("constants", faults, "correct [search.space]")
	case r.err() != nil:
		fault("constants", r.err(), r.nothing())
	case r.Fault != "":
		note("constants", "train.py cannot be a trial: "+r.Fault, "")
	case len(r.Searched) == 0:
		note("constants", r.nothing(), "`autoresearchd check` says why of each name")
	default:
		ok("constants", "%d are searched, %d are not: `autoresearchd check` lists them", len(r.Searched), len(r.Unsearched))
	}
}

// examineTorch imports torch in the embedded interpreter's own way: through a
// process of the venv, which is what Inductor does too.
func examineTorch(ctx context.Context, c *config.Config, gpu bool, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.Python(), "-c", "import torch; print(torch.__version__); print(torch.cuda.is_available()); print(torch.version.cuda)").CombinedOutput()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) < 3 {
		fault("torch", fmt.Errorf("import torch fails: %s", trainer.Inert(lines[len(lines)-1])), "recreate the workspace's venv with `autoresearchd init`")
		return
	}
	lines = lines[len(lines)-3:]
	ok("torch", "torch %s imports", lines[0])
	switch {
	case lines[1] == "True":
		ok("cuda", "torch sees CUDA %s", lines[2])
	case gpu:
		fault("cuda", fmt.Errorf("NVML sees a GPU, torch (built for CUDA %s) does not", lines[2]), "install a driver that knows this CUDA, or a torch that fits the driver")
	default:
		note("cuda", "torch sees no GPU", "trials run on the CPU")
	}
}

// examineUnit asks systemd what the service of this configuration may write:
// doctor runs outside of what its unit allows.
func examineUnit(ctx context.Context, c *config.Config, repo *lineage.Repo, ok func(string, string, ...any), fault func(string, error, string)) {
	const name = "autoresearchd.service"
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property="+unitProperties, name).Output()
	u := parseUnit(string(out))
	if err != nil || u["LoadState"] != "loaded" || !strings.Contains(u["ExecStart"], c.File()) {
		return
	}
	folders := []string{c.Study.State}
	if repo != nil {
		folders = append(folders, repo.GitDir())
	}
	sound := true
	for _, folder := range folders {
		there := writable.Existing(folder)
		if setting := u.denies(folder); setting != "" {
			sound = false
			fault("unit", fmt.Errorf("%s may not write %s: %s", name, folder, setting), fmt.Sprintf("`systemctl edit autoresearchd` and the lines [Service] and ReadWritePaths=%s", folder))
		} else if why := u.shutsOut(there); why != "" && there == folder {
			sound = false
			fault("unit", fmt.Errorf("%s may not write %s: %s", name, folder, why), fmt.Sprintf("hand it over with `sudo chown -R %s %s`, or move the workspace under the state directory", u["User"], lineage.Quote(folder)))
		}
	}
	if sound {
		ok("unit", "%s may write what it needs", name)
	}
}

// examineStudy looks at what the end of a trial will need of git.
func examineStudy(ctx context.Context, c *config.Config, repo *lineage.Repo, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	plan, err := foresee(ctx, c, repo, true)
	if err != nil {
		fault("study", err, "")
		return
	}
	for _, words := range plan.Notes {
		note("study", words, "")
	}
	ok("study", "git can keep trial %d of %s", plan.Next, plan.Study.Tag)
	notes, err := beside(ctx, c, repo, plan)
	if err != nil {
		fault("imports", err, "")
		return
	}
	for _, words := range notes {
		note("imports", words, "")
	}
	if len(notes) == 0 {
		ok("imports", "trials get the files beside train.py")
	}
}

func examineState(c *config.Config, repo *lineage.Repo, ok func(string, string, ...any), note func(string, string, string), fault func(string, error, string)) {
	dir := writable.Existing(c.Study.State)
	if dir != c.Study.State {
		if err := writable.Dir(dir); err != nil {
			fault("state", fmt.Errorf("%s is not there, and this user cannot create it in %s", c.Study.State, dir), fmt.Sprintf("create it for this user with `sudo install -d -o \"$USER\" %s`, or set study.state", lineage.Quote(c.Study.State)))
			return
		}
		if err := room(c, repo); err != nil {
			fault("state", err, "")
			return
		}
	} else if err := proveState(c, repo); err != nil {
		fault("state", err, "")
		return
	}
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err == nil && os.Geteuid() == 0 && owner.Uid != 0 {
		note("state", fmt.Sprintf("%s belongs to another user, and root may write anywhere", dir), "run doctor as the user that the daemon runs as: `sudo -u autoresearch autoresearchd doctor`")
	}
	available, err := writable.Free(dir)
	if err != nil {
		fault("state", err, "")
		return
	}
	if quota := int64(c.Trial.Quota); quota > available {
		note("state", fmt.Sprintf("%.1f GiB are free under %s, and a trial may write %.1f GiB (trial.quota)", gib(available), dir, gib(quota)), "free some space, or lower trial.quota if trials write checkpoints")
	}
	r, err := journal.OpenReader(c.Study.State)
	if err != nil {
		note("state", fmt.Sprintf("no study in %s yet; %.0f GiB free", c.Study.State, gib(available)), "")
		return
	}
	defer r.Close()
	all, err := r.Trials()
	if err != nil {
		fault("state", err, "")
		return
	}
	ok("state", "%d trials in %s; %.0f GiB free", len(all), c.Study.State, gib(available))
}

// examineScores says whether the last daemon could prove scores.
func examineScores(c *config.Config, ok func(string, string, ...any), note func(string, string, string)) {
	f, known := trainer.LastFound(filepath.Join(c.Study.State, study.Notary))
	switch {
	case !known: // the first trial tells
	case f.Why != "":
		note("scores", "they could not be proven when the study ran last: "+f.Why, "trials run all the same, and what evaluate_bpb returns is believed: SECURITY.md says which prepare.py can be proven")
	default:
		ok("scores", "are proven: %d rows are scored, %d others are kept to challenge with", f.Rows, f.Pool)
	}
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }
