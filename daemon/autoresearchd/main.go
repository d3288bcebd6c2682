// Command autoresearchd runs autonomous training research: see README.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/sandbox"
	"autoresearchd/daemon/study"
	"autoresearchd/daemon/trainer"
	"autoresearchd/pyembed"
	"autoresearchd/search"
	_ "autoresearchd/search/agent"
	_ "autoresearchd/search/cmaes"
	_ "autoresearchd/search/evolution"
	_ "autoresearchd/search/exec"
	_ "autoresearchd/search/gp"
	_ "autoresearchd/search/portfolio"
	_ "autoresearchd/search/random"
	_ "autoresearchd/search/sobol"
	_ "autoresearchd/search/tpe"
)

var version = "development" // set by scripts/build.sh

func init() {
	// CPython's main thread is the seat's first thread.
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		runtime.LockOSThread()
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "trainer" {
		os.Exit(trainer.Main())
	}
	os.Exit(run(os.Args[1:]))
}

// usageError is a fault of the command line or of the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// EX_CONFIG of sysexits.h: the unit does not start again after it.
const refusedStatus = 78

// refusedService is an error of a daemon that a service manager started, and
// that would come back however often it is started.
type refusedService struct{ error }

func (e refusedService) Unwrap() error { return e.error }

// exitError carries a status of its own; its message was printed already.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("status %d", int(e)) }

func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	var usage usageError
	var faults config.Faults
	var exit exitError
	var refused refusedService
	status := 1
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &faults):
		fmt.Fprintln(os.Stderr, fold(os.Stderr, faults.Error(), "  "))
		status = 2
	default:
		fmt.Fprintln(os.Stderr, fold(os.Stderr, "autoresearchd: "+err.Error(), "  "))
		if errors.As(err, &usage) {
			status = 2
		}
	}
	if errors.As(err, &refused) {
		return refusedStatus
	}
	return status
}

// globals are the flags of every command.
type globals struct {
	config string
	state  string
	json   bool
}

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use: "autoresearchd COMMAND", Short: "Runs training experiments overnight and keeps only what helps.",
		Args: unknownCommand, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version: fmt.Sprintf("%s (CPython %s)", version, pyembed.Version()), SilenceErrors: true, SilenceUsage: true, DisableSuggestions: true,
	}
	root.PersistentFlags().StringVar(&g.config, "config", "", "configuration `FILE` (default ./autoresearch.toml, then /etc/autoresearch/autoresearch.toml)")
	root.PersistentFlags().StringVar(&g.state, "state", "", "state `DIR` (default [study] state)")
	root.SetFlagErrorFunc(misflagged)
	root.SetUsageFunc(usage)
	root.SetHelpFunc(help)
	root.AddCommand(g.runCommand(), g.initCommand(), g.checkCommand(), g.doctorCommand(), g.statusCommand(), g.trialsCommand(), g.showCommand(), g.bestCommand(), g.finalizeCommand(), g.ablateCommand(),
		g.diffCommand(), g.logCommand(), g.plotCommand(), g.reportCommand(), g.exportCommand(), g.verb("pause"), g.verb("resume"), g.verb("cancel"), g.verb("stop"), g.reloadCommand(),
		g.suggestCommand(), g.reproduceCommand(), g.strategiesCommand(), g.simulateCommand(), g.importCommand(), g.serveCommand(), g.mcpCommand(), g.verifyCommand(), g.backupCommand(), g.restoreCommand(), g.versionCommand(), manualCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	root.InitDefaultVersionFlag()
	root.Flags().Lookup("version").Usage = "print the version"
	for _, c := range append(root.Commands(), root) {
		c.InitDefaultHelpFlag()
		c.Flags().Lookup("help").Usage = "show this help"
		if short := map[string]string{"help": "show the help of a command", "completion": "print a script that completes commands in your shell"}[c.Name()]; short != "" {
			c.Short = short
		}
	}
	for _, c := range root.Commands() {
		args := c.Args
		c.Args = func(cmd *cobra.Command, given []string) error {
			if args == nil {
				return nil
			}
			if err := args(cmd, given); err != nil {
				return usageError{misused(cmd, given, err)}
			}
			return nil
		}
	}
	return root
}

// reads gives a reading command its --json.
func (g *globals) reads(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&g.json, "json", false, "print JSON")
	return c
}

const systemConfig = "/etc/autoresearch/autoresearch.toml"

// configPath finds the configuration file.
func (g *globals) configPath() (string, error) {
	if g.config != "" {
		return g.config, nil
	}
	for _, path := range []string{"autoresearch.toml", systemConfig} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", usageError{fmt.Errorf("there is no ./autoresearch.toml and no %s: make one with `autoresearchd init DIR`, or name it with --config FILE", systemConfig)}
}

func known() config.Known {
	return config.Known{Strategies: search.Default.Names(), Judges: search.JudgeNames()}
}

// load reads and validates the configuration; every fault is in the error.
func (g *globals) load(overrides []string) (*config.Config, error) {
	path, err := g.configPath()
	if err != nil {
		return nil, err
	}
	c, err := config.Open(path, overrides, known())
	if err != nil {
		return nil, usageError{err}
	}
	if g.state != "" {
		if c.Study.State, err = filepath.Abs(g.state); err != nil {
			return nil, usageError{err}
		}
	}
	return c, nil
}

// stateDir is all that reading commands and those to a running daemon need:
// --state needs no configuration, and [study] state none that is sound.
func (g *globals) stateDir() (string, error) {
	if g.state != "" {
		return filepath.Abs(g.state)
	}
	path, err := g.configPath()
	if err != nil {
		return "", err
	}
	state, unsound, err := config.State(path, known())
	if err != nil {
		return "", usageError{err}
	}
	if unsound != nil {
		fmt.Fprintf(os.Stderr, "autoresearchd: warning: %s is unsound and would be refused at the next start or reload: see `autoresearchd check`\n", path)
	}
	return state, nil
}

// options are the trainer's, from the configuration.
func options(c *config.Config, folder func(int64) string) (trainer.Options, error) {
	cache, err := c.GivenCache()
	if err != nil {
		return trainer.Options{}, err
	}
	w := c.Watchdog
	o := trainer.Options{
		Python: c.Python(), Cache: cache, Folder: folder, Grace: w.Grace, LogLimit: int64(c.Trial.LogLimit), Quota: max(0, int64(c.Trial.Quota)),
		Processes: c.Trial.Processes, Memory: max(0, int64(c.Trial.Memory)), Owner: study.Owner(c.Study.State),
		Asked: sandbox.Asked{Mode: c.Trial.Sandbox, Without: leftOut()},
	}
	if c.Trial.Memory == 0 {
		o.Room = 1
	}
	if c.LLM.KeyEnv != "" {
		o.Secrets = append(o.Secrets, c.LLM.KeyEnv)
	}
	o.Limits.Startup, o.Limits.Compile, o.Limits.Stall, o.Limits.Evaluate, o.Limits.Exit, o.Limits.Total = w.Startup, w.Compile, w.Stall, w.Evaluate, w.Exit, w.Total
	return o, nil
}

// usualPlace finds upstream's CACHE_DIR in a prepare.py, and the starter's.
var usualPlace = regexp.MustCompile(`(?m)^CACHE_DIR\b.*=.*\.cache["'/, ]+autoresearch["')/]*\s*(#.*)?$`)

// checkData returns an error where upstream's layout of data and tokenizer is
// expected and not there.
func checkData(prepare []byte, c *config.Config) error {
	if !strings.Contains(string(prepare), "tokenizer.pkl") {
		return nil // a prepare.py with a layout of its own
	}
	if given, err := c.GivenCache(); given == "" && err == nil && !usualPlace.Match(prepare) {
		return nil // or with a place of its own
	}
	cache, err := c.CacheDir()
	if err != nil {
		return err
	}
	shards, _ := filepath.Glob(filepath.Join(cache, "data", "shard_*.parquet"))
	missing := ""
	for _, name := range []string{"tokenizer/tokenizer.pkl", "tokenizer/token_bytes.pt", "data/shard_06542.parquet"} {
		if _, err := os.Stat(filepath.Join(cache, name)); err != nil {
			missing = name
		}
	}
	if missing == "" && len(shards) < 2 {
		missing = "data/shard_00000.parquet"
	}
	if missing != "" {
		return fmt.Errorf("the data is not prepared: %s is missing in %s: run `cd %s && AUTORESEARCH_CACHE=%s %s prepare.py`", missing, cache, c.Study.Workspace, cache, c.Trial.Python)
	}
	return nil
}

// ago says how long something took or is past, for people.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
