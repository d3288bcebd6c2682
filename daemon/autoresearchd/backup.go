package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/backup"
	"autoresearchd/daemon/config"
	"autoresearchd/daemon/lineage"
	"autoresearchd/daemon/study"
)

func (g *globals) backupCommand() *cobra.Command {
	var workspace string
	c := &cobra.Command{Use: "backup FILE", Short: "write the whole study to one file, even while it runs", Args: cobra.ExactArgs(1),
		Long: "Writes the journal, what git keeps of the study, results.tsv, the trials' bundles and the configuration without its secrets to FILE, a gzipped tar with a manifest of hashes. " +
			"The daemon may run meanwhile: the file is the study of one moment. It is whole and on the disk, or not there; a file that is there is never overwritten. `restore` makes it a study again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			state, err := g.stateDir()
			if err != nil {
				return err
			}
			kept, why := g.shared()
			m, err := backup.Write(ctx, args[0], backup.Options{State: state, Config: kept, Program: version, Open: g.repository(workspace)})
			if err != nil {
				return err
			}
			info, err := os.Stat(args[0])
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if g.json {
				return printJSON(w, m)
			}
			if why != "" {
				fmt.Fprintln(w, fold(w, "note: "+why, "  "))
			}
			trials := fmt.Sprintf("%d trials", m.Trials)
			if m.Trials == 1 {
				trials = "1 trial"
			}
			fmt.Fprintf(w, "%s: study %s, %s, %d files, %.1f MiB\n", args[0], m.Study, trials, len(m.Files), float64(info.Size())/(1<<20))
			return nil
		}}
	c.Flags().StringVar(&workspace, "workspace", "", "the study's repository: `DIR` (default: the one in the journal, else [study] workspace)")
	return g.reads(c)
}

// shared is the configuration without its secrets, or why there is none.
func (g *globals) shared() (text []byte, why string) {
	path, err := g.configPath()
	if err != nil {
		return nil, "there is no configuration to keep with it"
	}
	text, err = os.ReadFile(path)
	if err == nil {
		text, err = config.Share(text)
	}
	if err != nil {
		return nil, fmt.Sprintf("the configuration is not kept with it: %v", err)
	}
	return text, ""
}

func (g *globals) restoreCommand() *cobra.Command {
	c := &cobra.Command{Use: "restore FILE [DIR]", Short: "turn a backup into a study again", Args: cobra.RangeArgs(1, 2),
		Long: "Makes a study again of a file that `backup` wrote, on this machine or another: in DIR, as `init` lays one out (autoresearch.toml, workspace, state); without DIR where the configuration has workspace and state. " +
			"Both must be empty or not there: nothing is overwritten. The file is held against its manifest before anything is written, and the study is verified after.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			then := *g
			to, file, err := then.target(args[1:])
			if err != nil {
				return err
			}
			done, err := backup.Restore(ctx, args[0], to)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if file != "" {
				if err := placeConfig(file, done); err != nil {
					return fmt.Errorf("the study is restored, and its configuration is not: %w: write %s by hand", err, file)
				}
			}
			p, err := study.Verify(ctx, to.State, then.repository(done.Workspace))
			if err != nil {
				return err
			}
			if g.json {
				err = printJSON(w, p)
			} else {
				fmt.Fprintf(w, "restored study %s as it was at %s\n", done.Study, done.MadeAt.Local().Format("2 Jan 2006 15:04"))
				printProof(w, p)
			}
			if err == nil && len(p.Disagreements) > 0 {
				err = exitError(1)
			}
			if err == nil && !g.json {
				if file != "" && done.Config == nil {
					fmt.Fprintln(w, fold(w, "note: no configuration was kept with it", "  "))
				} else if c, e := then.load(nil); e == nil {
					if _, e := os.Stat(c.Python()); e != nil {
						then.next(w, "init "+lineage.Quote(filepath.Dir(c.File()))) // which makes the venv, and leaves the rest
						return nil
					}
				}
				then.next(w, "run")
			}
			return err
		}}
	return g.reads(c)
}

// target is where a study is to be restored: in a folder, whose configuration is
// written to the file that is returned too, or where the configuration says.
func (g *globals) target(dir []string) (to backup.Place, file string, err error) {
	if len(dir) == 0 {
		if _, err := g.configPath(); err != nil {
			return to, "", usageError{errors.New("restore needs to know where to: name a folder, as in `autoresearchd restore study.tar.gz DIR`, or a configuration with --config FILE")}
		}
		c, err := g.load(nil)
		if err != nil {
			return to, "", err
		}
		return backup.Place{State: c.Study.State, Workspace: c.Study.Workspace}, "", nil
	}
	if g.state != "" || g.config != "" {
		return to, "", usageError{errors.New("restore takes a folder, or --config and --state, and not both")}
	}
	abs, err := filepath.Abs(dir[0])
	if err != nil {
		return to, "", err
	}
	file = filepath.Join(abs, "autoresearch.toml")
	if _, err := os.Lstat(file); err == nil {
		return to, "", fmt.Errorf("%s is there already, and nothing is overwritten: name another folder, or restore where it says with --config %s", file, lineage.Quote(file))
	}
	g.config = file
	return backup.Place{State: filepath.Join(abs, "state"), Work: filepath.Join(abs, "workspace")}, file, nil
}

// placeConfig writes a configuration whose study lies beside it.
func placeConfig(file string, done backup.Restored) error {
	workspace, err := filepath.Rel(filepath.Dir(file), done.Workspace)
	if err != nil {
		return err
	}
	text, err := config.Place(done.Config, workspace, "state")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}
