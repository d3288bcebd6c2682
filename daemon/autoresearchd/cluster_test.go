package main

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
)

// TestSlurmReload adds seats on a cluster to a study that runs here.
func TestSlurmReload(t *testing.T) {
	if os.Getenv("AUTORESEARCH_TEST_SLURM") == "" {
		t.Skip("AUTORESEARCH_TEST_SLURM is not set: scripts/test.sh slurm does, where root can start a Slurm")
	}
	c := newSlurm(t)
	s := newStudy(t)
	s.onSlurm(2, "\n[search]\nstrategy = \"evolution\"\n[watchdog]\nstall = \"10m\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	with := s.read("autoresearch.toml")
	with = strings.Replace(with, `devices = []`, `devices = "cpu"`, 1)
	before, _, _ := strings.Cut(with, "[[seats]]")
	s.write("autoresearch.toml", before)
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start()
	address := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1]
	if on := s.train(1); on["cpu"] != 2 {
		t.Errorf("without the table trials run on %v", on)
	}
	s.write("autoresearch.toml", with)
	must(t, d.Process.Signal(syscall.SIGHUP))
	d.until("more seats")
	on := s.train(3)
	if on["cpu"] != 2 || on["slurm:0"] == 0 || on["slurm:1"] == 0 {
		t.Errorf("with it they run on %v", on)
	}
	log := s.streams(address, on["slurm:0"])
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
	r, err := journal.OpenReader(s.path("state"))
	must(t, err)
	defer r.Close()
	if rec, err := r.Trial(on["slurm:0"]); err != nil || len(rec.Outcome.Curve) == 0 || rec.Outcome.Curve[0].Loss != 2.5 {
		t.Errorf("its curve is %+v, %v", rec.Outcome.Curve, err)
	}
	if text := log(); !strings.Contains(text, "step 00012") || !strings.Contains(text, "val_bpb: 2.0") {
		t.Errorf("log -f printed %q", text)
	}
}

// streams proves that what a held trial prints and how far it is come from its
// node, and that the page of metrics says where that is. It follows the log; log
// waits for its end.
func (s *fixture) streams(address string, id int64) (log func() string) {
	t := s.t
	t.Helper()
	host := ""
	s.until("the trial's loss", func(now supervisor.Status) bool {
		i := slices.IndexFunc(now.Seats, func(seat supervisor.SeatStatus) bool { return seat.Trial != nil && seat.Trial.ID == id })
		if i < 0 {
			return false
		}
		host = now.Seats[i].Host
		r := now.Seats[i].Trial
		return r.Step >= 12 && r.Loss == 2.5
	})
	if text := s.ok("log", strconv.FormatInt(id, 10)); !strings.Contains(text, "step 00012") || strings.Contains(text, "val_bpb") {
		t.Errorf("its log has %q", text)
	}
	s.poll("the seat's host on /metrics", func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		return strings.Contains(string(body), `,device="cpu",host="`+host+`",seat="slurm:0"} 1`) &&
			strings.Contains(string(body), `autoresearch_train_loss{seat="slurm:0"} 2.5`)
	})
	follow := s.command("log", strconv.FormatInt(id, 10), "-f")
	var text bytes.Buffer
	follow.Stdout = &text
	must(t, follow.Start())
	return func() string {
		t.Helper()
		must(t, follow.Wait())
		return text.String()
	}
}
