package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestSlurmReload adds seats on a cluster to a study that runs here.
func TestSlurmReload(t *testing.T) {
	if os.Getenv("AUTORESEARCH_TEST_SLURM") == "" {
		t.Skip("AUTORESEARCH_TEST_SLURM is not set: scripts/test.sh slurm does, where root can start a Slurm")
	}
	c := newSlurm(t)
	s := newStudy(t)
	s.onSlurm(2, "")
	with := s.read("autoresearch.toml")
	with = strings.Replace(with, `devices = []`, `devices = "cpu"`, 1)
	before, _, _ := strings.Cut(with, "[[seats]]")
	s.write("autoresearch.toml", before)
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	if on := s.train(1); on["cpu"] != 2 {
		t.Errorf("without the table trials run on %v", on)
	}
	s.write("autoresearch.toml", with)
	must(t, d.Process.Signal(syscall.SIGHUP))
	d.until("more seats")
	if on := s.train(3); on["cpu"] != 2 || on["slurm:0"] == 0 || on["slurm:1"] == 0 {
		t.Errorf("with it they run on %v", on)
	}
	s.write("autoresearch.toml", before)
	if _, fault, code := s.cli("reload"); code != 1 || !strings.Contains(fault, "reload cannot change seats that are there") {
		t.Errorf("without the seats again: %d %s", code, fault)
	}
	s.write("autoresearch.toml", with)
	s.open()
	for range 6 {
		d.until("trial ends")
	}
	s.ok("stop")
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	c.gone()
	s.once(nil)
}
