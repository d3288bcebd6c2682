package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestAPI watches a study over HTTP and compares it with what the commands say.
func TestAPI(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	s.configure("\n[search]\nstrategy = \"evolution\"\n[http]\nlisten = \"127.0.0.1:0\"\n")
	s.hold()
	d := s.start()
	base := "http://" + regexp.MustCompile(`listen=(\S+)`).FindStringSubmatch(d.said[len(d.said)-1])[1] + "/api/v1/"
	get := func(path string) map[string]any {
		t.Helper()
		answer, err := http.Get(base + path)
		must(t, err)
		defer answer.Body.Close()
		var v map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&v); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, answer.Status, err)
		}
		return v
	}
	page, err := http.Get(strings.TrimSuffix(base, "api/v1/"))
	must(t, err)
	defer page.Body.Close()
	if body, err := io.ReadAll(page.Body); err != nil || !strings.Contains(string(body), "The first one is the baseline") {
		t.Errorf("the page of a study that begins: %v\n%s", err, body)
	}
	events, err := http.Get(base + "events")
	must(t, err)
	defer events.Body.Close()
	lines := bufio.NewScanner(events.Body)
	trial := func(id int) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), fmt.Sprintf(`data: {"id":%d,`, id)) {
				return
			}
		}
		t.Fatalf("the stream ended before trial %d: %v", id, lines.Err())
	}
	s.open()
	trial(1)
	trial(2)
	trial(3)
	s.hold()
	var listed []map[string]any
	must(t, json.Unmarshal([]byte(s.ok("trials", "--runs", "--json")), &listed))
	shown := get("trials?order=asc&limit=3")["trials"].([]any)
	for i := range 3 {
		if !reflect.DeepEqual(shown[i], any(listed[i])) {
			t.Errorf("trial %d: %v, but trials --json has %v", i+1, shown[i], listed[i])
		}
	}
	for _, id := range []string{"1", "2"} {
		var diff map[string]any
		must(t, json.Unmarshal([]byte(s.ok("diff", id, "--json")), &diff))
		if got := get("trials/" + id)["diff"]; got != diff["diff"] {
			t.Errorf("trial %s differs by %q, but diff says %q", id, got, diff["diff"])
		}
	}
	var now map[string]any
	s.poll("the same in the terminal", func() bool { // one more trial may end in between
		var status map[string]any
		must(t, json.Unmarshal([]byte(s.ok("status", "--json")), &status))
		now = get("status")
		return reflect.DeepEqual(now["study"], status["study"]) && reflect.DeepEqual(now["champion"], status["champion"]) && reflect.DeepEqual(now["trials"], status["trials"])
	})
	if curve := now["champion_curve"].([]any); len(curve) == 0 || now["version"] != version {
		t.Errorf("the champion's curve has %d points, version %v", len(curve), now["version"])
	}

	answer, err := http.Post(base+"trials", "application/json", strings.NewReader("{}"))
	must(t, err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST gets %s", answer.Status)
	}
	s.open()
	must(t, d.Process.Signal(syscall.SIGTERM))
	if _, err := io.Copy(io.Discard, events.Body); err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
	if code := d.end(); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
}
