package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/config"
	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/modelserver"
	"autoresearchd/daemon/study"
	"autoresearchd/search"
)

// verb is one of the commands that change what a running daemon does.
func (g *globals) verb(name string) *cobra.Command {
	about := map[string][2]string{
		"pause":  {"pause the study after the running trials", "paused: running trials finish first"},
		"resume": {"resume a paused or stopped study", "the study continues"},
		"cancel": {"end a running trial, by number or device where there are several, and record it as interrupted", "ending the trial"},
		"stop":   {"stop the study after the running trials", "stopping after the running trials"},
	}[name]
	then := map[string]string{"pause": "resume", "resume": "status", "cancel": "status", "stop": "resume"}[name]
	use, args := name, cobra.NoArgs
	if name == "cancel" {
		use, args = "cancel [TRIAL|DEVICE]", cobra.MaximumNArgs(1)
	}
	return &cobra.Command{Use: use, Short: about[0], Args: args, ValidArgsFunction: g.runningIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			client, err := httpd.Dial(state)
			if err != nil {
				return g.offline(name, state, err, cmd)
			}
			call := map[string]func(context.Context) error{
				"pause": client.Pause, "resume": client.Resume, "stop": client.Stop,
				"cancel": func(ctx context.Context) error { return client.Cancel(ctx, strings.Join(args, "")) },
			}[name]
			if err := call(ctx); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), about[1])
			g.next(cmd.OutOrStdout(), then)
			return nil
		}}
}

// offline does what can be done without a daemon: the flag that holds the next
// one up. There is nothing to stop, and the next run is not what was meant.
func (g *globals) offline(name, state string, dialErr error, cmd *cobra.Command) error {
	if name == "cancel" {
		return dialErr
	}
	r, err := journal.OpenReader(state) // says where there is no study
	if err != nil {
		return errors.Join(dialErr, err)
	}
	ended, err := r.Flag(journal.Ended)
	r.Close()
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if name == "stop" {
		if !ended {
			fmt.Fprintf(w, "no daemon is running on %s, so there is nothing to stop\n", state)
			return nil
		}
		fmt.Fprintf(w, "no daemon is running on %s, and the study is stopped already\n", state)
		g.next(w, "resume")
		return nil
	}
	j, err := journal.Open(state)
	if err != nil {
		return errors.Join(dialErr, err)
	}
	defer j.Close()
	if name == "pause" {
		if err := j.SetFlag(journal.Paused, true); err != nil {
			return err
		}
		fmt.Fprintf(w, "no daemon is running on %s; the next one starts no trial until `autoresearchd resume`\n", state)
		g.next(w, "resume")
		return nil
	}
	if err := errors.Join(j.SetFlag(journal.Paused, false), j.SetFlag(journal.Ended, false)); err != nil {
		return err
	}
	fmt.Fprintf(w, "no daemon is running on %s; the next one continues the study\n", state)
	g.next(w, "run")
	return nil
}

// reloadCommand is the unit's ExecReload.
func (g *globals) reloadCommand() *cobra.Command {
	return &cobra.Command{Use: "reload", Short: "have the running daemon reload its configuration, and print the result", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := g.stateDir()
			if err != nil {
				// The daemon cannot be found, but the service manager knows it:
				// it shall know of the refusal too.
				if pid, e := strconv.Atoi(os.Getenv("MAINPID")); e == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGHUP)
				}
				return err
			}
			client, err := httpd.Dial(state)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			words, err := client.Reload(ctx)
			if err != nil {
				return fmt.Errorf("the configuration was not reloaded; the old one stays in force:\n%w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), words)
			return nil
		}}
}

func (g *globals) checkCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "check", Short: "validate the configuration and list which constants of train.py are searched", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load(nil)
			if err != nil {
				return err
			}
			var faults []error
			if err := checkStrategies(c); err != nil {
				faults = append(faults, err)
			}
			// Whether the workspace fits is doctor's to say, and what a start would refuse
			// whatever is done to the machine.
			if repo, err := lineage.Open(context.Background(), c.Study.Workspace); err == nil {
				var refused study.Refusal
				if _, err := foresee(context.Background(), c, repo, false); errors.As(err, &refused) {
					faults = append(faults, err)
				}
			}
			if len(faults) > 0 {
				return usageError{errors.Join(faults...)}
			}
			return g.checkSpace(cmd, c)
		}})
}

// checkStrategies builds the strategy as a start would, and one of every other
// table, so that each fault is named, once.
func checkStrategies(c *config.Config) error {
	env := search.Environment{Seed: c.Study.Seed, Tools: search.Tools{Options: c.Options}}
	if c.LLM.Enabled {
		model, err := modelserver.New(c.LLM, modelserver.Options{})
		if err != nil {
			return err
		}
		env.Model = model
	}
	var faults []string
	for _, name := range append([]string{c.Search.Strategy}, slices.Sorted(maps.Keys(c.Search.Tables))...) {
		_, err := search.Default.Build(name, env)
		if err == nil || errors.Is(err, search.ErrUnknown) {
			continue // Validate names unknown tables
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !slices.Contains(faults, line) {
				faults = append(faults, line)
			}
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "\n"))
}

func (g *globals) strategiesCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "strategies", Short: "list the search strategies with their options and defaults", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printStrategies(cmd.OutOrStdout(), g.json)
		}})
}
