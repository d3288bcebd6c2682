package supervisor

import (
	"os"
	"testing"

	"autoresearchd/daemon/mounttest"
	"autoresearchd/daemon/powerloss"
)

// TestPowerLoss takes the power away at every fault point: what nobody synced is
// gone. Nothing that the journal had recorded is, nor what git and the bundles
// have of it, and the next start goes on.
func TestPowerLoss(t *testing.T) {
	mounttest.Run(t, func() string { return scratch(t) }, func(string) {
		for _, point := range points() {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				w := newWitness(t, measured)
				live, lost := w.dir+".live", w.dir+".lost"
				t.Cleanup(func() { must(t, os.RemoveAll(lost)) })
				must(t, os.Rename(w.dir, live))
				must(t, os.Mkdir(w.dir, 0o755))
				disk := powerloss.Mount(t, live, w.dir)
				out, err := startChild(w.dir, measured, point)
				must(t, disk.Off())
				if !bySIGKILL(err) {
					t.Fatalf("the power was to be lost at %s: %v\n%s", point, err, out)
				}
				// What was recorded, as it stood in memory too.
				must(t, os.Remove(w.dir))
				must(t, os.Rename(live, w.dir))
				w.look(t)
				must(t, os.Rename(w.dir, live))
				must(t, disk.Write(w.dir))
				must(t, os.Rename(live, lost))
				w.look(t)
				w.goesOn(t)
			})
		}
	})
}
