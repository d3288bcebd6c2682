package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"autoresearchd/daemon/device"
	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/record"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/daemon/trainer"
	"autoresearchd/metrics/gpu"
	"autoresearchd/search"
)

func (g *globals) reproduceCommand() *cobra.Command {
	return g.reads(&cobra.Command{Use: "reproduce ID", ValidArgsFunction: g.trialIDs, Short: "run a trial again from its record and compare", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.load(nil)
			if err != nil {
				return err
			}
			if client, err := httpd.Dial(c.Study.State); err == nil {
				var now supervisor.Status
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				if err := client.Status(ctx, &now); err == nil && len(now.Running()) > 0 {
					return fmt.Errorf("trial %d is running, and two at once would slow each other down: `autoresearchd pause`, and try again when no trial runs", now.Running()[0].ID)
				}
			}
			r, _, err := g.reader()
			if err != nil {
				return err
			}
			defer r.Close()
			rec, err := find(r, args[0])
			if err != nil {
				return err
			}
			study, _, err := r.Study()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if err := trainer.CheckVenv(ctx, c.Python()); err != nil {
				return err
			}
			repo, err := g.workspace(ctx, study)
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "autoresearchd-reproduce-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			work := filepath.Join(dir, "work")
			if err := repo.Checkout(ctx, study.BaseCommit, rec.ParentCommit, work, ""); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(work, "train.py"), rec.Trial.Source, 0o640); err != nil {
				return err
			}
			o, err := options(c, func(int64) string { return dir })
			if err != nil {
				return err
			}
			o.Owner += ":reproduce"
			gpus := gpu.Open(ctx)
			o.GPU = gpus
			if o.Cores, err = coresOnceMore(c, gpus, rec.Trial.Device); err != nil {
				return err
			}
			p, err := trainer.NewProcess(o)
			if err != nil {
				return err
			}
			defer p.Close()
			fmt.Fprintf(os.Stderr, "running trial %d again (seed %d, on %s)\n", rec.Trial.ID, rec.Trial.Seed, rec.Trial.Device)
			if name := rec.Trial.Device; name != device.CPU && device.IsCPU(name) && !slices.Contains(c.Trial.Devices, name) {
				fmt.Fprintf(os.Stderr, "trial.devices has no %s, so it gets all cores this time\n", name)
			}
			again, err := p.Run(ctx, trainer.Order{Trial: rec.Trial}, nil)
			if err != nil {
				return err
			}
			first := rec.Outcome
			if g.json {
				out := map[string]any{"trial": rec.Trial.ID, "recorded": record.New(rec), "status": again.Status, "val_bpb": again.ValBPB, "num_steps": again.Steps, "detail": again.Detail}
				if share, ok := speed(first, again); ok {
					out["speed"] = share // of that of then
				}
				return printJSON(cmd.OutOrStdout(), out)
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "          %-14s %s\n", "recorded", "again")
			fmt.Fprintf(w, "status    %-14s %s\n", first.Status, again.Status)
			fmt.Fprintf(w, "val_bpb   %-14.6f %.6f\n", first.ValBPB, again.ValBPB)
			fmt.Fprintf(w, "steps     %-14d %d\n", first.Steps, again.Steps)
			if again.Status != first.Status {
				fmt.Fprintln(w, again.Detail)
				return fmt.Errorf("trial %d ended differently this time", rec.Trial.ID)
			}
			if first.Status == search.Completed {
				fmt.Fprintf(w, "difference %+.6f\n", again.ValBPB-first.ValBPB)
			}
			if note := slower(rec.Trial.Budget, first, again); note != "" {
				fmt.Fprintln(w, fold(w, note, "  "))
			}
			return nil
		}})
}

// speed is how fast a run trained, as a share of how fast another did; false
// where one of them did not train.
func speed(then, now search.Outcome) (share float64, ok bool) {
	rate := func(o search.Outcome) float64 {
		if o.TrainingSeconds <= 0 {
			return 0
		}
		if then.Tokens > 0 && now.Tokens > 0 {
			return float64(o.Tokens) / o.TrainingSeconds
		}
		return float64(o.Steps) / o.TrainingSeconds
	}
	a, b := rate(then), rate(now)
	return b / a, a > 0 && b > 0
}

// muchSlower is the share of its speed below which a machine cannot be expected
// to come to the same score: the speed of a quiet one wanders by less.
const muchSlower = 0.8

// slower says what it means for a score that the machine was much slower than
// then; "" where it was not.
func slower(budget search.Budget, then, now search.Outcome) string {
	share, ok := speed(then, now)
	if !ok || share >= muchSlower {
		return ""
	}
	note := fmt.Sprintf("note: the machine was much slower this time: it trained at %.2f of the speed", share)
	if budget.Steps > 0 {
		return note + ", over the same number of steps, so the scores can be compared"
	}
	return fmt.Sprintf("%s, so the same %g seconds bought %d steps instead of %d, and a worse score says little", note, budget.Seconds, now.Steps, then.Steps)
}
