package page_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"autoresearchd/daemon/httpd/page"
	"autoresearchd/daemon/supervisor"
)

// several serves a list of studies: one that runs, one that does not, one that
// has not begun and one that cannot be read.
func several(t testing.TB) string {
	t.Helper()
	runs, rests, begins := own(t, 40, true), own(t, 12, false), own(t, 0, false)
	seated(runs, 40, 8)
	seated(rests, 12, 0)
	rests.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Seats = "finished", []supervisor.SeatStatus{}
		now.Card.Gain = "\u22120.0036 (\u22120.36 %), unconfirmed (1 of 3 paired seeds)"
		at := time.Now().Add(-9 * time.Hour)
		now.Study.ActiveAt = &at
	})
	begins.Loop.Edit(func(now *supervisor.Status) { now.State = "not begun" })
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error": "read the journal: it is busy"}`, http.StatusServiceUnavailable)
	})
	mux := http.NewServeMux()
	var entries []page.Entry
	for _, e := range []page.Entry{{Tag: "nov23", API: runs.API}, {Tag: "a-night.with_a-long-name-2026", API: rests.API}, {Tag: "next", API: begins.API}, {Tag: "broken", API: broken}} {
		e.At = "s/" + e.Tag + "/"
		p, err := page.New(e.API, page.Site{List: "../../"})
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
		mux.Handle("/"+e.At, http.StripPrefix("/s/"+e.Tag, p))
		mux.Handle("/"+e.At+"api/v1/", http.StripPrefix("/s/"+e.Tag, e.API))
	}
	list, err := page.NewList(entries)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/", list)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

func TestList(t *testing.T) {
	_, body := get(t, several(t)+"/")
	for _, want := range []string{
		`<a href="s/nov23/">nov23</a>`, "4 studies", "Running", "Finished", "Not begun", "9 h ago", "now",
		"\u22120.0036 (\u22120.36 %), unconfirmed (1 of 3 paired seeds)", "It could not be read: read the journal: it is busy.",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the list lacks %q:\n%s", want, body)
		}
	}
	for _, bad := range []string{"<script>alert", "<img", "\x1b", "\u202e", "style=", "javascript:"} {
		if strings.Contains(body, bad) {
			t.Errorf("the list holds %q", bad)
		}
	}
}

// TestListInBrowser goes from the list to a study and back, in both themes, at a
// phone's width too: nothing is wider than the window, and axe-core finds no fault.
func TestListInBrowser(t *testing.T) {
	url := several(t)
	axe := ""
	if dir := os.Getenv("AUTORESEARCH_TEST_PAGE"); dir != "" {
		text, err := os.ReadFile(filepath.Join(dir, "axe.min.js"))
		if err != nil {
			t.Fatal(err)
		}
		axe = string(text)
	}
	for _, theme := range []string{"light", "dark"} {
		for size, l := range map[string]look{"desktop": desktop, "phone": phone} {
			l.dark = theme == "dark"
			b := open(t, url+"/", l)
			b.until(`document.querySelectorAll("tbody tr").length === 4 && document.querySelector("#theme").textContent.includes("auto")`)
			if wide := ask[float64](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
				t.Errorf("%s: the list is %g pixels wider than the window", size, wide)
			}
			if low := ask[float64](b, `Math.min(...[...document.querySelectorAll("tbody a")].map((a) => a.getBoundingClientRect().height))`); size == "phone" && low < 24 {
				t.Errorf("a link is %g pixels high", low)
			}
			if axe != "" {
				ask[bool](b, axe+"; true")
				if found := ask[json.RawMessage](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + " " + n.failureSummary)})))`); string(found) != "[]" {
					t.Errorf("%s, %s: %s", theme, size, found)
				}
			}
			b.shot("list-" + theme + "-" + size)
			b.do(chromedp.Navigate(ask[string](b, `document.querySelector("tbody a").href`)))
			b.until(`location.pathname === "/s/nov23/" && ` + drawn)
			b.shot("one-of-several-" + theme + "-" + size)
			b.do(chromedp.Navigate(ask[string](b, `[...document.querySelectorAll("a")].find((a) => a.textContent === "All studies").href`)))
			b.until(`location.pathname === "/" && document.querySelectorAll("tbody tr").length === 4`)
		}
	}
}

// TestNobodyRunsIt shows a study that is over as one: nothing of it looks alive,
// and what is next is said.
func TestNobodyRunsIt(t *testing.T) {
	study := own(t, 12, false)
	show(study, 12, 0)
	study.Loop.Edit(nil)
	for size, l := range map[string]look{"desktop": desktop, "phone": phone} {
		b := open(t, serve(t, study.API), l)
		b.until(drawn + ` && document.body.dataset.mood === "over"`)
		for id, want := range map[string]string{"state": "Finished", "now": "Nothing runs", "now-note": "nothing until", "card": "46 min\u00a0\u00b7 12 candidates in 12 runs"} {
			if got := ask[string](b, `document.querySelector("#`+id+`").textContent`); !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
				t.Errorf("#%s says %q, want %q", id, got, want)
			}
		}
		if lamp, well := ask[string](b, `getComputedStyle(document.querySelector(".lamp")).backgroundColor`), ask[string](b, `(document.body.dataset.mood = "well", getComputedStyle(document.querySelector(".lamp")).backgroundColor)`); lamp == well {
			t.Errorf("the lamp is %s, as of a study that runs", lamp)
		}
		ask[bool](b, `(document.body.dataset.mood = "over", true)`)
		b.shot("finished-" + size)
	}
}

// TestListRenews shows what has become of the studies while somebody looks.
func TestListRenews(t *testing.T) {
	study := own(t, 12, false)
	show(study, 3, 0)
	study.Loop.Edit(func(now *supervisor.Status) { now.State = "finished" })
	list, err := page.NewList([]page.Entry{{At: "s/a/", Tag: "a", API: study.API}, {At: "s/b/", Tag: "b", API: study.API}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(list)
	t.Cleanup(server.Close)
	b := open(t, server.URL+"/", desktop)
	b.until(`document.querySelector("tbody td").textContent === "Finished"`)
	study.Loop.Edit(func(now *supervisor.Status) { now.State = "stopped" })
	ask[bool](b, `(document.querySelectorAll("tbody a")[1].focus(), document.dispatchEvent(new Event("visibilitychange")), true)`)
	b.until(`document.querySelector("tbody td").textContent === "Stopped"`)
	if at := ask[string](b, `document.activeElement.textContent`); at != "b" {
		t.Errorf("the focus went to %q", at)
	}
}
