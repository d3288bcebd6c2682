package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"autoresearchd/daemon/device"
	"autoresearchd/metrics/gpu"
)

// Each kind of bad input gets one message that says what, where and what to do.

func TestWrongKey(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.configure("\n[watchdog]\nstal = \"60s\"\n")
	s.refused(2, "run")
	s.refused(2, "check")
}

func TestNoConfiguration(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	must(t, os.Remove(s.path("autoresearch.toml")))
	_, fault, code := s.cli("run")
	if code != 2 || !strings.Contains(fault, "autoresearch.toml") || !strings.Contains(fault, "no such file") {
		t.Errorf("%d %s", code, fault)
	}
}

func TestMissingVenv(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), filepath.Join(venv, "bin", "python"), ".venv/bin/python", 1))
	s.refused(1, "run", "--trials", "1")
}

// TestForeignVenv has a venv of another Python than the one that is linked.
func TestForeignVenv(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("old/pyvenv.cfg", "home = /usr/bin\nversion = 2.7.18\n")
	s.write("old/bin/python", "#!/bin/sh\n")
	must(t, os.Chmod(s.path("old/bin/python"), 0o755))
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), filepath.Join(venv, "bin", "python"), s.path("old/bin/python"), 1))
	s.refused(1, "run", "--trials", "1")
}

func TestNoData(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/prepare.py", s.read("workspace/prepare.py")+"\n# data and tokenizer.pkl lie in upstream's layout\n")
	s.commit()
	s.refused(1, "run", "--trials", "1")
}

func TestBrokenScripts(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{
		"syntax":        "x = (\n" + script,
		"no evaluation": "DEPTH = 4\nprint('val_bpb: 0.1')\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudy(t)
			s.write("workspace/train.py", broken)
			s.commit()
			s.refused(1, "run", "--trials", "1")
		})
	}
}

// TestFakeScore prints a val_bpb that it never had.
func TestFakeScore(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", script+"print('val_bpb: 0.000001')\n")
	s.commit()
	s.ok("run", "--trials", "1")
	if rows := s.trials(); len(rows) != 1 || rows[0].ValBPB != 2.03 {
		t.Errorf("recorded %+v", rows)
	}
}

func TestNoWorkTree(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	must(t, os.RemoveAll(s.path("workspace/.git")))
	s.refused(1, "run", "--trials", "1")
}

func TestDirtyWorkTree(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("workspace/train.py", script+"# an experiment by hand\n")
	s.refused(1, "run", "--trials", "1")
}

// TestStateThatCannotBe has a file where the state directory is to be, which
// stops root too.
func TestStateThatCannotBe(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("state", "a file\n")
	s.refused(1, "run", "--trials", "1")
	if s.read("state") != "a file\n" {
		t.Error("the file was touched")
	}
}

// TestReadOnlyState keeps what was recorded, and says what to do.
func TestReadOnlyState(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.ok("run", "--trials", "1")
	before := s.read("state/results.tsv")
	s.readOnly("state")
	s.refused(1, "run", "--trials", "1")
	if got := s.trials(); len(got) != 1 || s.read("state/results.tsv") != before {
		t.Errorf("recorded %+v", got)
	}
}

func TestOneDeviceTwice(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.write("autoresearch.toml", strings.Replace(s.read("autoresearch.toml"), `"cpu"`, `["cpu:0", "cpu:0"]`, 1))
	s.refused(2, "run", "--trials", "1")
}

// TestNoSuchDevice is told what there is instead, which is another on each machine.
func TestNoSuchDevice(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	_, fault, code := s.cli("run", "--trials", "1", "--set", `trial.devices=["cuda:99"]`)
	if code != 1 || !strings.Contains(fault, "trial.devices: cuda:99 is not on this machine, which has ") {
		t.Errorf("%d %s", code, fault)
	}
}

// TestMoreSeatsThanCores names a share of the CPU more than there are cores.
func TestMoreSeatsThanCores(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	m, err := device.Here(gpu.Open(t.Context()))
	must(t, err)
	n := len(m.Cores)
	if n > 63 { // a study has at most 64 seats: it runs on the last cores alone
		n = 2
		s.under = []string{"taskset", "-c", device.List(m.Cores[:n])}
	}
	var shares []string
	for i := range n + 1 {
		shares = append(shares, fmt.Sprintf(`"cpu:%d"`, i))
	}
	_, fault, code := s.cli("run", "--trials", "1", "--set", "trial.devices=["+strings.Join(shares, ", ")+"]")
	want := fmt.Sprintf("trial.devices: %d shares of the CPU, but this process may use ", n+1)
	if code != 1 || !strings.Contains(fault, want) {
		t.Errorf("%d %s", code, fault)
	}
}
