package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"autoresearchd/daemon/httpd"
	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/supervisor"
)

// onPage finds the champion's number, its gain and its claim wherever the API
// and the page have them, and nothing on the staircase that looks better. The
// page with its scripts is read where scripts/test.sh names a browser.
func onPage(t *testing.T, r *journal.Reader, state string, c *supervisor.TrialStatus, baseline float64) {
	t.Helper()
	a, err := new(globals).recordAPI(state, r)
	must(t, err)
	t.Cleanup(a.Close)
	server, err := httpd.ListenRecords("127.0.0.1:0", []httpd.Record{{Tag: "test", API: a}}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() { server.Close() })
	page := "http://" + server.Addr() + "/"
	get := func(path string, into any) string {
		answer, err := http.Get(page + path)
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		if into != nil {
			must(t, json.Unmarshal(body, into))
		}
		return string(body)
	}

	type scored struct {
		ID      int64
		ValBPB  *float64 `json:"val_bpb"`
		Verdict string
		Claim   string
		Below   bool
	}
	var now struct{ Champion scored }
	var stairs struct {
		Baseline   float64
		Champion   int64
		Candidates []scored
		Steps      []struct {
			Candidate int64
			ValBPB    float64 `json:"val_bpb"`
		}
	}
	var table struct{ Candidates []scored }
	var tree struct{ Nodes []scored }
	get("api/v1/status", &now)
	get("api/v1/staircase", &stairs)
	get("api/v1/candidates", &table)
	get("api/v1/lineage", &tree)
	last := stairs.Steps[len(stairs.Steps)-1]
	if last.ValBPB != c.ValBPB || last.Candidate != c.ID || stairs.Champion != c.ID || stairs.Baseline != baseline {
		t.Errorf("the staircase ends at %+v, with candidate %d, above a baseline of %g", last, stairs.Champion, stairs.Baseline)
	}
	if now.Champion.Claim != c.Claim {
		t.Errorf("/status claims %q, want %q", now.Champion.Claim, c.Claim)
	}
	for where, all := range map[string][]scored{"/status": {now.Champion}, "/staircase": stairs.Candidates, "/candidates": table.Candidates, "/lineage": tree.Nodes} {
		found := false
		for _, x := range all {
			if x.ID == c.ID {
				found = x.ValBPB != nil && *x.ValBPB == c.ValBPB
			} else if where == "/staircase" && x.Verdict != "kept" && x.Verdict != "pending" && !x.Below && x.ValBPB != nil && *x.ValBPB < c.ValBPB {
				t.Errorf("candidate %d, %s at %g, looks better than the champion", x.ID, x.Verdict, *x.ValBPB)
			}
			if where == "/candidates" && x.Claim != map[bool]string{true: c.Claim}[x.ID == c.ID] {
				t.Errorf("candidate %d claims %q", x.ID, x.Claim)
			}
		}
		if !found {
			t.Errorf("%s has another number: %+v", where, all)
		}
	}

	number, gain := fmt.Sprintf("%.6f", c.ValBPB), fmt.Sprintf("−%.6f", baseline-c.ValBPB)
	for what, part := range map[string]string{"number": `id="best">` + number, "gain": `id="gain">` + gain, "claim": `id="gain-note">` + c.Claim, "row": fmt.Sprintf(`<td class="c-id num">%d</td><td class="c-score num">%s</td>`, c.ID, number)} {
		if body := get("", nil); !strings.Contains(body, part) {
			t.Errorf("the page without scripts lacks the %s, %q:\n%s", what, part, body)
		}
	}
	browser := os.Getenv("AUTORESEARCH_TEST_CHROMIUM")
	if browser == "" {
		return
	}
	ctx, end := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, chromedp.WSURLReadTimeout(2*time.Minute))...)
	defer end()
	ctx, end = chromedp.NewContext(ctx)
	defer end()
	ctx, end = context.WithTimeout(ctx, 4*time.Minute)
	defer end()
	must(t, chromedp.Do(ctx, chromedp.Navigate(page)))
	read := fmt.Sprintf(`(async () => {
		const row = () => document.querySelector('tbody a[href="#/candidate/%d"]')?.closest("tr");
		while (!row() || !document.querySelector("path.stairs") || document.querySelector("#gain").textContent === "–") await new Promise((r) => setTimeout(r, 20));
		const stairs = document.querySelector(".staircase");
		stairs.focus();
		stairs.dispatchEvent(new KeyboardEvent("keydown", { key: "End" }));
		for (let i = 0; i < 40 && !stairs.getAttribute("aria-valuetext").startsWith("Candidate %d,"); i++) stairs.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
		return [document.querySelector("#best").firstChild.data, document.querySelector("#gain").firstChild.data, document.querySelector("#gain-note b").textContent, row().querySelector(".c-score").textContent, stairs.getAttribute("aria-valuetext")];
	})()`, c.ID, c.ID)
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](read, chromedp.EvalAwaitPromise))
	must(t, err)
	want := []string{number, gain, c.Claim, number, fmt.Sprintf("Candidate %d, kept, %s, mean of %d runs, by ", c.ID, number, c.Runs)}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("the page says %q, want %q", got[i], want[i])
		}
	}
}
