package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
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
		"pause":  {"hold the study after the running trials", "paused: what runs is finished first"},
		"resume": {"let a paused or ended study go on", "the study goes on"},
		"cancel": {"end a running trial, named by its number or its device where there are several; it is recorded as interrupted", "the trial is being ended"},
		"stop":   {"end the study after the running trials", "the study ends after the running trials"},
	}[name]
	use, args := name, cobra.NoArgs
	if name == "cancel" {
		use, args = "cancel [TRIAL|DEVICE]", cobra.MaximumNArgs(1)
	}
	return &cobra.Command{Use: use, Short: about[0], Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			client, err := httpd.Dial(state)
			if err != nil {
				return offline(name, state, err, cmd)
			}
			call := map[string]func(context.Context) error{
				"pause": client.Pause, "resume": client.Resume, "stop": client.Stop,
				"cancel": func(ctx context.Context) error { return client.Cancel(ctx, strings.Join(args, "")) },
			}[name]
			if err := call(ctx); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), about[1])
			return nil
		}}
}

// offline does what can be done without a daemon: the flags that the next one
// reads.
func offline(name, state string, dialErr error, cmd *cobra.Command) error {
	if name == "cancel" {
		return dialErr
	}
	r, err := journal.OpenReader(state) // says where there is no study
	if err != nil {
		return errors.Join(dialErr, err)
	}
	r.Close()
	j, err := journal.Open(state)
	if err != nil {
		return errors.Join(dialErr, err)
	}
	defer j.Close()
	switch name {
	case "pause":
		err = j.SetFlag(journal.Paused, true)
	case "stop":
		err = j.SetFlag(journal.Ended, true)
	case "resume":
		err = errors.Join(j.SetFlag(journal.Paused, false), j.SetFlag(journal.Ended, false))
	}
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "no daemon is running; noted for the next start (%s)\n", name)
	}
	return err
}

// reloadCommand is the unit's ExecReload.
func (g *globals) reloadCommand() *cobra.Command {
	return &cobra.Command{Use: "reload", Short: "have the running daemon read its configuration again, and say what came of it", Args: cobra.NoArgs,
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

func (g *globals) suggestCommand() *cobra.Command {
	var set []string
	c := &cobra.Command{Use: `suggest "TEXT" | --set NAME=VALUE…`, Short: "an idea in words, or values of constants, for the next proposal", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args)+len(set) == 0 {
				return usageError{errors.New("nothing is suggested: use `suggest \"TEXT\"`, or `suggest --set NAME=VALUE`, such as --set MATRIX_LR=0.05")}
			}
			if len(args) > 0 && len(set) > 0 {
				return usageError{errors.New("suggest words or values, not both at once")}
			}
			values := map[string]search.Value{}
			for _, s := range set {
				name, text, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return usageError{fmt.Errorf("--set %q: write NAME=VALUE", s)}
				}
				v, err := parseLiteral(text)
				if err != nil {
					return usageError{fmt.Errorf("--set %q: %w", s, err)}
				}
				values[strings.TrimSpace(name)] = v
			}
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			client, err := httpd.Dial(state)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			var words string
			if len(args) > 0 {
				words, err = client.SuggestText(ctx, args[0])
			} else {
				words, err = client.Suggest(ctx, values)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), words)
			return nil
		}}
	c.Flags().StringArrayVar(&set, "set", nil, "`NAME=VALUE`, a Python literal; 2**18 is one")
	return c
}

// parseLiteral reads a Python literal as a person types it: 0.05, 2**18, True,
// SSSL, "SSSL", (0.8, 0.95).
func parseLiteral(s string) (search.Value, error) {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return search.Value{}, errors.New("there is no value")
	case "True", "False":
		return search.BoolValue(s == "True"), nil
	}
	if base, power, ok := strings.Cut(s, "**"); ok {
		b, err1 := strconv.ParseInt(strings.TrimSpace(base), 10, 64)
		p, err2 := strconv.ParseInt(strings.TrimSpace(power), 10, 64)
		v := math.Pow(float64(b), float64(p))
		if err1 != nil || err2 != nil || p < 0 || v > 1<<53 {
			return search.Value{}, fmt.Errorf("%q is not a whole power", s)
		}
		return search.IntValue(int64(v)), nil
	}
	text := s
	if strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		text = "[" + strings.TrimSuffix(strings.TrimSpace(s[1:len(s)-1]), ",") + "]"
	}
	if strings.HasPrefix(s, "'") && strings.HasSuffix(s, "'") && len(s) > 1 {
		return search.StringValue(s[1 : len(s)-1]), nil
	}
	var v search.Value
	if err := json.Unmarshal([]byte(strings.ReplaceAll(text, "_", "")), &v); err == nil && v.Kind() != search.None && v.Kind() != search.String {
		return v, nil
	}
	if err := json.Unmarshal([]byte(text), &v); err == nil && v.Kind() == search.String {
		return v, nil
	}
	if strings.ContainsAny(s, "\"'()[]{}\n") {
		return search.Value{}, fmt.Errorf("%q is not a Python literal", s)
	}
	return search.StringValue(s), nil
}

func (g *globals) checkCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "check", Short: "validate the configuration, and say what is searched in train.py and what is not", Args: cobra.NoArgs,
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
	return g.reads(&cobra.Command{Use: "strategies", Short: "the search plugins, their options and defaults", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return printStrategies(cmd.OutOrStdout(), g.json)
		}})
}
