package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"

	"autoresearchd/metrics"
	"autoresearchd/metrics/gpu"
)

const operator = "../../configs/" // what an operator installs

// TestPrometheus has a real Prometheus scrape a daemon that runs trials, asks
// it every question of the dashboard and of the alerts, and has an alert go
// through a real Alertmanager to a receiver. A second target serves the golden
// page of package metrics, for what a machine without a GPU and a model server
// does not have.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	bin := os.Getenv("AUTORESEARCH_TEST_PROMETHEUS")
	if bin == "" {
		t.Skip("AUTORESEARCH_TEST_PROMETHEUS names no folder with prometheus, promtool, prometheus-alertmanager and amtool: scripts/test.sh prometheus does")
	}
	tool := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(bin, name), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
	rules, err := filepath.Glob(operator + "prometheus/rules/*.yml")
	must(t, err)
	tests, err := filepath.Glob(operator + "prometheus/tests/*.yml")
	must(t, err)
	tool("promtool", append([]string{"check", "rules", "--lint-fatal"}, rules...)...)
	tool("promtool", "check", "config", operator+"prometheus/prometheus.yml")
	t.Log(tool("promtool", append([]string{"test", "rules"}, tests...)...))
	tool("amtool", "check-config", operator+"alertmanager/alertmanager.yml")

	// A daemon whose first trial waits, so that Prometheus sees one that trains,
	// and then the record grow.
	s := newStudy(t)
	settings := "\n[search]\nstrategy = \"portfolio\"\n[http]\nlisten = \"127.0.0.1:0\"\n"
	s.configure(settings)
	s.hold()
	d := s.start("--set", "judge.rule=confirm")
	daemon := regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1]
	golden := httptest.NewServer(http.FileServer(http.Dir("../../metrics/testdata")))
	defer golden.Close()
	other := strings.TrimPrefix(golden.URL, "http://")

	received := make(chan notice, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n struct{ Alerts []notice }
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			t.Errorf("what came from Alertmanager: %v", err)
		}
		for _, a := range n.Alerts {
			received <- a
		}
	}))
	defer receiver.Close()
	alertmanager := s.server(filepath.Join(bin, "prometheus-alertmanager"), "alertmanager/alertmanager.yml", "/-/ready", map[string]string{
		"http://127.0.0.1:9095/": receiver.URL, "group_wait: 30s": "group_wait: 0s", "group_interval: 5m": "group_interval: 1s",
	}, "--cluster.listen-address=", "--storage.path="+s.path("alertmanager"))
	folder, err := filepath.Abs(operator + "prometheus")
	must(t, err)
	prometheus := s.server(filepath.Join(bin, "prometheus"), "prometheus/prometheus.yml", "/-/ready", map[string]string{
		"scrape_interval: 15s": "scrape_interval: 500ms", "evaluation_interval: 15s": "evaluation_interval: 500ms",
		"rules/*.yml": folder + "/rules/*.yml", "127.0.0.1:9093": alertmanager,
		`- targets: ["127.0.0.1:9797"]`: fmt.Sprintf("- targets: [%q]\n      - targets: [%q]\n        labels: {__metrics_path__: /metrics.txt}", daemon, other),
	}, "--storage.tsdb.path="+s.path("prometheus"))
	p := prometheusAPI{s, "http://" + prometheus + "/api/v1/"}

	live := `{job="autoresearchd",instance="` + daemon + `"}`
	begin := time.Now().Add(-time.Minute)
	training := "autoresearch_train_loss" + live + " and autoresearch_throughput_tokens_per_second" + live + " and autoresearch_mfu_ratio" + live
	s.poll("scrapes of the running trial that a graph shows", func() bool {
		n, err := p.graph(training, begin)
		must(t, err)
		return n > 0
	})
	s.lint(filepath.Join(bin, "promtool"), daemon)
	s.open()

	t.Run("dashboard", func(t *testing.T) { checkDashboard(t, p, daemon, begin) })
	t.Run("rules", func(t *testing.T) { checkRules(t, p, live) })
	t.Run("record", func(t *testing.T) { checkRecord(t, filepath.Join(bin, "promtool")) })

	// A configuration that is refused, and then one that is taken.
	await := func(status, alert, instance string) notice {
		t.Helper()
		limit := time.After(patience)
		for {
			select {
			case n := <-received:
				if n.Status == status && n.Labels["alertname"] == alert && n.Labels["instance"] == instance {
					return n
				}
			case <-limit:
				t.Fatalf("%s of %s never came to the receiver as %s", alert, instance, status)
			}
		}
	}
	s.configure("\n[search]\nstrategy = \"nobody\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	must(t, d.Process.Signal(syscall.SIGHUP))
	n := await("firing", "AutoresearchReloadFailed", daemon)
	if n.Labels["severity"] != "warning" || n.Annotations["summary"] != daemon+" refused the configuration that it was to reload." || n.Annotations["runbook"] != "configs/prometheus/RUNBOOK.md#autoresearchreloadfailed" {
		t.Errorf("received %+v", n)
	}
	s.configure(settings)
	must(t, d.Process.Signal(syscall.SIGHUP))
	await("resolved", "AutoresearchReloadFailed", daemon)
}

// lint has promtool look at a daemon's page.
func (s *fixture) lint(promtool, daemon string) {
	s.t.Helper()
	page, err := http.Get("http://" + daemon + "/metrics")
	must(s.t, err)
	defer page.Body.Close()
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = page.Body
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		s.t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// pending are questions that have no answer yet, by the fault that this is.
// Whether a rate or a rise has one is a matter of which trials ended between
// which scrapes, so the study runs on until all of them have been answered.
type pending map[string]func() bool

// settle asks again and again, and reports what never gets an answer.
func (p pending) settle(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); len(p) > 0; time.Sleep(100 * time.Millisecond) {
		late := time.Now().After(end)
		maps.DeleteFunc(p, func(_ string, answered func() bool) bool { return answered() })
		if late {
			break
		}
	}
	for fault := range p {
		t.Error(fault)
	}
}

// notice is an alert as a receiver gets it.
type notice struct {
	Status              string
	Labels, Annotations map[string]string
}

// server starts one of Prometheus's servers on a free port, with one of the
// shipped files in which so much is replaced, and returns its address when it
// is ready.
func (s *fixture) server(program, config, ready string, replace map[string]string, args ...string) string {
	s.t.Helper()
	data, err := os.ReadFile(operator + config)
	must(s.t, err)
	text := string(data)
	for old, now := range replace {
		if !strings.Contains(text, old) {
			s.t.Fatalf("%s has no %q", config, old)
		}
		text = strings.ReplaceAll(text, old, now)
	}
	name := filepath.Base(program)
	s.write(name+".yml", text)
	args = append([]string{"--config.file=" + s.path(name+".yml")}, args...)
	for {
		if address := s.serve(program, ready, args); address != "" {
			return address
		}
	}
}

// serve starts a server on a port that was free a moment ago, and returns no
// address if somebody else has taken that since.
func (s *fixture) serve(program, ready string, args []string) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, append(args, "--web.listen-address="+address)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(s.t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if s.t.Failed() {
			s.t.Logf("%s said\n%s", filepath.Base(program), &said)
		}
	})
	taken := false
	s.poll(filepath.Base(program), func() bool {
		select {
		case <-ended:
			if taken = strings.Contains(said.String(), "address already in use"); !taken {
				s.t.Fatalf("%s ended: %v", filepath.Base(program), cmd.ProcessState)
			}
			return true
		default:
		}
		answer, err := http.Get("http://" + address + ready)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if taken {
		return ""
	}
	return address
}

// prometheusAPI asks a Prometheus.
type prometheusAPI struct {
	s    *fixture
	base string
}

type series struct {
	Metric map[string]string
}

// ask returns the data of an answer, or the error that it holds.
func (p prometheusAPI) ask(path string, form url.Values, data any) error {
	answer, err := http.Get(p.base + path + "?" + form.Encode())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var all struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(body, &all); err != nil || all.Status != "success" {
		return fmt.Errorf("%s: %v %.500s", answer.Status, err, body)
	}
	return json.Unmarshal(all.Data, data)
}

// query returns the number of series that a query has now.
func (p prometheusAPI) query(expr string) int {
	p.s.t.Helper()
	var data struct{ Result []series }
	if err := p.ask("query", url.Values{"query": {expr}}, &data); err != nil {
		p.s.t.Fatalf("%s: %v", expr, err)
	}
	return len(data.Result)
}

// graph returns the number of series that a graph shows of a query: what there
// was at some whole second since the beginning.
func (p prometheusAPI) graph(expr string, begin time.Time) (int, error) {
	var data struct{ Result []series }
	err := p.ask("query_range", url.Values{"query": {expr}, "step": {"1"}, "start": {strconv.FormatInt(begin.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)}}, &data)
	return len(data.Result), err
}

// checkDashboard asks every query of every panel, as Grafana would.
func checkDashboard(t *testing.T, p prometheusAPI, daemon string, begin time.Time) {
	type target struct {
		Expr    string
		Instant bool
	}
	var board struct {
		Annotations struct{ List []struct{ Target target } }
		Templating  struct {
			List []struct{ Type, Definition string }
		}
		Panels []struct {
			Title   string
			Targets []target
		}
	}
	data, err := os.ReadFile(operator + "grafana/dashboards/autoresearchd.json")
	must(t, err)
	must(t, json.Unmarshal(data, &board))
	wanted := pending{}
	ask := func(title, instance string, q target) bool {
		t.Helper()
		expr := strings.NewReplacer("$instance", instance, "$seat", ".*", "$gpu", ".*", "$__rate_interval", "5s", "$__interval", "1s").Replace(q.Expr)
		if strings.Contains(expr, "$") {
			t.Errorf("%s: a variable is left in %s", title, expr)
		}
		if q.Instant {
			return p.query(expr) > 0
		}
		n, err := p.graph(expr, begin)
		if err != nil {
			t.Fatalf("%s: %s: %v", title, expr, err)
		}
		return n > 0
	}
	// What a machine without a GPU and a model server cannot have.
	foreign := regexp.MustCompile(`autoresearch_(gpu|llm_(?:cap|cost|req|tok)|trial_gpu|trial_peak|watchdog_kills)`)
	for _, panel := range board.Panels {
		for _, q := range panel.Targets {
			wanted[panel.Title+" has no data for "+q.Expr] = func() bool { return ask(panel.Title, ".*", q) }
			if !foreign.MatchString(q.Expr) {
				wanted[panel.Title+" has no data of the daemon for "+q.Expr] = func() bool { return ask(panel.Title, strings.ReplaceAll(daemon, ".", "[.]"), q) }
			}
		}
	}
	for _, a := range board.Annotations.List {
		wanted["no keep is marked by "+a.Target.Expr] = func() bool { return ask("annotation", ".*", a.Target) }
	}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("%s is no list of a label's values", v.Definition)
			continue
		}
		wanted[v.Definition+" has no values"] = func() bool {
			return p.query("count by ("+m[2]+") ("+strings.ReplaceAll(m[1], "$instance", ".*")+")") > 0
		}
	}
	t.Logf("%d queries of %d panels", len(wanted), len(board.Panels))
	wanted.settle(t)
}

// checkRules looks at how Prometheus gets on with every rule, and that each
// metric that a rule asks for is there.
func checkRules(t *testing.T, p prometheusAPI, live string) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Type, Query, Health, LastError string }
		}
	}
	healthy := func() bool {
		must(t, p.ask("rules", nil, &data))
		for _, g := range data.Groups {
			for _, r := range g.Rules {
				if r.Health == "unknown" {
					return false
				}
			}
		}
		return len(data.Groups) == 2
	}
	p.s.poll("an evaluation of every rule", healthy)
	count, wanted := map[string]int{}, pending{}
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			count[r.Type]++
			if r.Health != "ok" || r.LastError != "" {
				t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
			}
			p.query(r.Query)
			if r.Type == "recording" {
				wanted[r.Name+" has no data of the daemon"] = func() bool { return p.query(r.Name+live) > 0 }
			}
			names := regexp.MustCompile(`(?:\w+:)?autoresearch_\w+(?::\w+)?`).FindAllString(r.Query, -1)
			for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
				wanted[r.Name+" asks for "+name+", which has no data"] = func() bool { return p.query("{__name__=\""+name+"\"}") > 0 }
			}
		}
	}
	t.Logf("rules: %v", count)
	wanted.settle(t)
}

// checkRecord proves what can be proven without a GPU of `scripts/gpu.sh
// scrape`: with NVML's mock behind the page and a program of the same name for
// nvidia-smi, the two are compared, and Prometheus takes the record.
func checkRecord(t *testing.T, promtool string) {
	dgx := dgxh200.New()
	dgx.LookupSymbolFunc = func(symbol string) error { return errors.New(symbol + " is not there") }
	for i, device := range dgx.Devices {
		d := device.(*server.Device)
		d.MemoryInfo.Used = uint64(i+1) << 30
		d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: 97}, nvml.SUCCESS }
		d.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 650500, nvml.SUCCESS }
		d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 61, nvml.SUCCESS }
	}
	gpus := gpu.OpenLibrary(t.Context(), dgx)
	web := httptest.NewServer(metrics.New(nothing{}, gpus, metrics.Build{}).Handler())
	defer web.Close()
	dir := t.TempDir()
	record := filepath.Join(dir, "record.om")
	compare := func(watts string) (string, error) {
		table := ""
		for _, d := range gpus.Devices() {
			table += fmt.Sprintf("%d, %d, %d, 97, %s, 61\n", d.Index, (d.Index+1)<<10, d.MemoryTotal>>20, watts)
		}
		must(t, os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte("#!/bin/sh\ncat <<'EOF'\n"+table+"EOF\n"), 0o755))
		cmd := exec.Command(os.Getenv("AUTORESEARCH_PYTHON"), "../../scripts/gpu/scrape.py", web.URL, record, "--count", "3", "--interval", "0.01")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := compare("420.00"); err == nil || strings.Count(out, "DIFFERS") != 8 || !strings.Contains(out, "DIFFERS: gpu 3 autoresearch_gpu_power_watts and power.draw: 0 of 3 samples within bounds, at most 230.5 apart, 0 missing") {
		t.Errorf("other watts: %v\n%s", err, out)
	}
	if out, err := compare("650.50"); err != nil || strings.Count(out, "agrees: ") != 8*5 {
		t.Errorf("the same figures: %v\n%s", err, out)
	}
	blocks := filepath.Join(dir, "blocks")
	if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", record, blocks).CombinedOutput(); err != nil {
		t.Fatalf("promtool takes no record: %v\n%s", err, out)
	}
	must(t, os.Mkdir(filepath.Join(blocks, "wal"), 0o755)) // dump asks for it
	dump, err := exec.Command(promtool, "tsdb", "dump", blocks).CombinedOutput()
	if err != nil || strings.Count(string(dump), `{__name__="autoresearch_gpu_power_watts", gpu="7"} 650.5 `) != 3 {
		t.Errorf("the blocks do not have the record: %v\n%.2000s", err, dump)
	}
}

// nothing is a study that nobody knows anything of.
type nothing struct{}

func (nothing) Snapshot() metrics.Snapshot { return metrics.Snapshot{} }
