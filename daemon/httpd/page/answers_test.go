package page_test

import (
	"fmt"
	"strings"
	"testing"

	"autoresearchd/daemon/supervisor"
)

// TestFiveQuestions has every question answered without scrolling on a laptop,
// and on a phone's first two screens: is it alive, what is best, what did it buy,
// what was tried and what failed, what now.
func TestFiveQuestions(t *testing.T) {
	for _, n := range []int{8, 100} {
		study := confirmed(t, n)
		now := study.Loop.Now()
		url := serve(t, study.API)
		for name, screen := range map[string]struct {
			look
			bottom int64
		}{"laptop": {desktop, desktop.height}, "phone": {phone, 2 * phone.height}} {
			b := open(t, url, screen.look)
			b.until(drawn + ` && document.querySelector("#tried-note a") !== null`)
			failed := "crashed"
			for status := range now.Tried.Failures {
				failed = string(status)
			}
			for id, want := range map[string]string{
				"state": "Running", "best": fmt.Sprintf("%.6f", now.Champion.ValBPB), "gain": fmt.Sprintf("−%.6f", now.Study.Baseline-now.Champion.ValBPB), "gain-note": now.Champion.Claim,
				"tried": fmt.Sprintf("%d candidates in %d runs", now.Tried.Total, n), "tried-note": failed, "now": "Training", "now-what": "HEAD_DIM 128 to 64",
			} {
				text := strings.ReplaceAll(ask[string](b, `document.querySelector("#`+id+`").textContent`), "\u00a0", " ")
				bottom := ask[float64](b, `document.querySelector("#`+id+`").getBoundingClientRect().bottom`)
				if !strings.Contains(text, want) || bottom > float64(screen.bottom) {
					t.Errorf("%s, %d trials: #%s says %q down to %.0f, want %q", name, n, id, text, bottom, want)
				}
			}
			if bottom := ask[float64](b, `document.querySelector(".staircase").getBoundingClientRect().bottom`); bottom > float64(screen.bottom) {
				t.Errorf("%s, %d trials: the staircase goes down to %.0f", name, n, bottom)
			}
		}
	}
}

// TestStopped has the page say how a study that was stopped goes on.
func TestStopped(t *testing.T) {
	study := own(t, 3, false)
	show(study, 3, 0)
	study.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Next = "ended", "nothing: the study was stopped, and `autoresearchd resume` lets it go on"
		now.Seats = []supervisor.SeatStatus{{Name: "cuda:0", Device: "cuda:0", State: supervisor.SeatResting}}
	})
	url := serve(t, study.API)
	b := open(t, url, desktop)
	const want = "Nothing: the study was stopped, and autoresearchd resume lets it go on"
	b.until(drawn + ` && document.querySelector("#now-note").textContent === "` + want + `" && document.querySelector("#now-note code").textContent === "autoresearchd resume"`)
	if _, body := get(t, url+"/"); !strings.Contains(body, "Nothing: the study was stopped, and `autoresearchd resume` lets it go on") {
		t.Error("the page without scripts does not say it")
	}
	seats := []supervisor.SeatStatus{{Name: "cuda:0", State: supervisor.SeatResting}, {Name: "cuda:1", State: supervisor.SeatResting}}
	study.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Next, now.Seats = "ended", "nothing: the study was stopped, and `autoresearchd resume` lets it go on", seats
	})
	b.until(`document.querySelector("#now-what").textContent.includes("` + want + `")`)
}

// TestTouch has whatever is pressed on a phone be 44 pixels high, and the whole
// row of a candidate lead to it.
func TestTouch(t *testing.T) {
	b := open(t, serve(t, confirmed(t, 100).API), phone)
	b.until(drawn)
	for _, view := range []string{"/", "/lineage", "/strategies"} {
		b.visit(view)
		for _, small := range ask[[]string](b, `[...document.querySelectorAll("button, select, input, nav a, footer a, .trials tbody tr:not(.gap), .tree li")].filter((e) => e.offsetParent && e.getBoundingClientRect().height < 44).map((e) => e.outerHTML.slice(0, 120) + " " + e.getBoundingClientRect().height)`) {
			t.Errorf("%s: too small for a finger: %s", view, small)
		}
	}
	b.visit("/")
	b.until(`document.querySelector("tbody a")`)
	at := ask[[]float64](b, `(() => { const r = document.querySelector("tbody tr:not(.gap)"); r.scrollIntoView({ block: "center" }); const box = r.getBoundingClientRect(); return [box.right - 30, box.top + box.height / 2]; })()`)
	first := ask[string](b, `document.querySelector("tbody a").getAttribute("href")`)
	b.click(at[0], at[1])
	b.until(`location.hash === "` + first + `"`)
}
