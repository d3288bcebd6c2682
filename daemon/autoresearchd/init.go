package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/trainer"
	"autoresearchd/daemon/workspace"
	"autoresearchd/pyembed"
)

func (g *globals) initCommand() *cobra.Command {
	var o workspace.Options
	c := &cobra.Command{
		Use: "init DIR", Short: "create DIR: a configuration, a workspace with its venv and, with --corpus, data", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			var err error
			if o.Python, err = basePython(); err != nil {
				return err
			}
			// Reading a file needs no package: the base interpreter serves.
			p, err := trainer.NewProcess(trainer.Options{Python: o.Python, Owner: "autoresearchd:init"})
			if err != nil {
				return err
			}
			defer p.Close()
			o.Dir, o.Inspect, o.Out = args[0], p.Inspect, cmd.ErrOrStderr()
			if err := workspace.Init(ctx, o); err != nil {
				return err
			}
			then := *g
			if path := filepath.Join(o.Dir, "autoresearch.toml"); g.config == "" {
				if _, err := os.Stat(path); err == nil {
					then.config = path
				}
			}
			command := "run"
			if o.Corpus == "" {
				command = "doctor" // which says whether the data is there
			}
			then.next(cmd.OutOrStdout(), command)
			return nil
		},
	}
	c.Flags().StringVar(&o.Profile, "profile", "", "constants for `cpu` or hopper (default hopper if there is an NVIDIA GPU)")
	c.Flags().StringVar(&o.Corpus, "corpus", "", "also prepare data: `hub`, python, or a folder of text")
	return c
}

var linkedPython string // the interpreter that this binary was built against; set by scripts/build.sh

// basePython finds the interpreter whose libpython is linked, for venvs.
func basePython() (string, error) {
	if p := os.Getenv("AUTORESEARCH_PYTHON"); p != "" {
		return p, trainer.CheckVenv(context.Background(), p)
	}
	if _, err := os.Stat(linkedPython); err == nil {
		return linkedPython, nil
	}
	parts := strings.SplitN(pyembed.Version(), ".", 3)
	name := "python" + parts[0] + "." + parts[1]
	p, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("no %s is on PATH, and this binary embeds CPython %s: install it, or set AUTORESEARCH_PYTHON", name, pyembed.Version())
	}
	return p, nil
}
