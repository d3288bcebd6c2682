package modelserver

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/faultpoint"
)

const childVariable = "MODELSERVER_TEST_LEDGER" // the state directory: reserve and settle there

func TestMain(m *testing.M) {
	if state := os.Getenv(childVariable); state != "" {
		l := NewLedger(state)
		if err := errors.Join(l.Reserve(0.4, 0), l.Settle("m", 0.4, 0.1, 10, 2)); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestKilledLedger kills a daemon at every point of its ledger: what was
// reserved is never forgotten, and what was settled neither.
func TestKilledLedger(t *testing.T) {
	want := map[string]float64{ // after the kill
		"models.ledger.written": 0, "models.ledger.after": 0.4, "models.ledger.written#2": 0.4, "models.ledger.after#2": 0.1,
	}
	for _, point := range faultpoint.Names("models.") {
		for _, armed := range []string{point, point + "#2"} {
			state := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+state, faultpoint.Variable+"="+armed)
			err := cmd.Run()
			if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
				t.Fatalf("%s: the child was to be killed: %v", armed, err)
			}
			sums, err := Read(state)
			if spent, known := want[armed]; err != nil || !known || math.Abs(sums.Dollars+sums.Reserved-spent) > 1e-9 {
				t.Errorf("%s: %+v, want $%g: %v", armed, sums, spent, err)
			}
			if err := NewLedger(state).Reserve(1, 0); err != nil {
				t.Errorf("%s: %v", armed, err)
			}
			entries, err := os.ReadDir(state)
			for _, e := range entries {
				if strings.HasSuffix(e.Name(), ".new") {
					t.Errorf("%s: %s is left over: %v", armed, e.Name(), err)
				}
			}
		}
	}
}
