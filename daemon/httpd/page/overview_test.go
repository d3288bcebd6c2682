package page_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

const drawn = `document.querySelector("path.stairs")?.getAttribute("d")?.length > 0`

func TestLiveWithoutReload(t *testing.T) {
	study := own(t, 12, false)
	show(study, 8, 0.25)
	b := open(t, serve(t, study.API), desktop)
	b.until(drawn)
	b.until(`document.querySelector("#now").textContent.includes("25")`)
	ask[bool](b, `window.same = true`)

	show(study, 8, 0.5)
	b.until(`document.querySelector("#now").textContent.includes("50") && document.querySelector("#progress").value === 0.5`)
	show(study, 9, 0)
	b.until(`document.querySelector("tbody a").textContent === "9"`)
	b.until(`document.querySelector(".staircase").getAttribute("aria-valuemax") === "9"`)
	b.until(`document.querySelector("#tried").textContent === "9 candidates in 9 runs" && document.querySelector("#now").textContent === "Nothing runs"`)
	if !ask[bool](b, `window.same`) {
		t.Error("the page was loaded again")
	}
}

func TestFromNothing(t *testing.T) {
	study := own(t, 3, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(`document.querySelector(".overview .empty")?.textContent.includes("baseline")`)
	show(study, 1, 0)
	b.until(drawn)
	b.until(`document.querySelectorAll("tbody a").length === 1 && document.querySelector("#tried").textContent === "1 candidate in 1 run"`)
}

// TestFilterAndSort has the address say what the table shows, and go back.
func TestFilterAndSort(t *testing.T) {
	study := confirmed(t, 300)
	marks := record.NewStaircase(study.Loop.History().Done).Marks
	count := func(lets func(record.Mark) bool) (n int) {
		for _, m := range marks {
			if lets(m) {
				n++
			}
		}
		return n
	}
	b := open(t, serve(t, study.API), desktop)
	all := fmt.Sprintf("%d in 300 runs", len(marks))
	says := func(text string) string { return `document.querySelector(".count")?.textContent === "` + text + `"` }
	b.until(says(all))
	choose := func(label, value string) {
		ask[bool](b, `(() => { const s = document.querySelector('select[aria-label="`+label+`"]'); s.value = "`+value+`"; s.dispatchEvent(new Event("change")); return true; })()`)
	}
	every := func(column, value string) string {
		return `document.querySelectorAll("td.c-` + column + `").length > 0 && [...document.querySelectorAll("td.c-` + column + `")].every((d) => d.textContent === "` + value + `")`
	}
	kept := count(func(m record.Mark) bool { return m.Standing == search.StandingKept })
	choose("Verdict", "kept")
	b.until(says(fmt.Sprintf("%d of %d", kept, len(marks))) + " && " + every("verdict", "kept") + ` && location.hash === "#/?verdict=kept"`)
	if option := ask[string](b, `document.querySelector('select[aria-label="Verdict"]').selectedOptions[0].textContent`); option != fmt.Sprintf("kept (%d)", kept) {
		t.Errorf("the filter counts %q, want %d", option, kept)
	}
	choose("Verdict", "")
	memory := count(func(m record.Mark) bool { return m.Failure == search.OutOfMemory })
	choose("Failure", "out of memory")
	b.until(says(fmt.Sprintf("%d of %d", memory, len(marks))) + " && " + every("verdict", "out of memory"))
	ask[bool](b, `document.querySelector("th.c-strategy button").click() ?? true`)
	b.until(`location.hash === "#/?failure=out+of+memory&sort=strategy" && document.querySelector("th.c-strategy").getAttribute("aria-sort") === "ascending"`)

	// Somebody who is sent the address sees the same; the back button goes back.
	b.reload()
	b.until(says(fmt.Sprintf("%d of %d", memory, len(marks))) + ` && document.querySelector("th.c-strategy").getAttribute("aria-sort") === "ascending"`)
	ask[bool](b, `history.back() ?? true`)
	b.until(`location.hash === "#/?failure=out+of+memory" && document.querySelector("th.c-id").getAttribute("aria-sort") === "descending"`)
	ask[bool](b, `[...document.querySelectorAll(".filters button")].find((e) => e.textContent === "Clear").click() ?? true`)
	b.until(says(all))

	// The whole reason is looked through, also where it is cut in the table.
	interrupted := count(func(m record.Mark) bool { return m.Standing == search.StandingInterrupted })
	ask[bool](b, `(location.hash = "#/?q=the+daemon+ended+while+it+ran", true)`)
	b.until(says(fmt.Sprintf("%d of %d", interrupted, len(marks))) + " && " + every("verdict", "interrupted") + " && " + every("score", "–"))

	ask[bool](b, `(location.hash = "#/", true)`)
	b.until(says(all))
	ask[bool](b, `document.querySelector("th.c-score button").click() ?? true`)
	b.until(`document.querySelector("th.c-score").getAttribute("aria-sort") === "ascending"`)
	scores := ask[[]string](b, `[...document.querySelectorAll("td.c-score")].map((d) => d.textContent)`)
	for i := 1; i < len(scores); i++ {
		if scores[i] < scores[i-1] {
			t.Fatalf("not sorted by score: %v", scores)
		}
	}
}

// TestRowsByKeyboard goes into the rows from the filter, and back.
func TestRowsByKeyboard(t *testing.T) {
	b := open(t, serve(t, confirmed(t, 300).API), desktop)
	b.until(drawn)
	b.press("/")
	b.until(`document.activeElement.type === "search"`)
	ask[string](b, `document.activeElement.value = ""`) // the driver types the key that the page took
	b.press("m", "e", "m", "o", "r", "y")
	b.until(`location.hash === "#/?q=memory" && document.querySelectorAll("tbody tr:not(.gap)").length > 2`)
	b.until(`[...document.querySelectorAll("td.c-verdict")].every((d) => d.textContent === "out of memory")`)
	const row = `Number(document.activeElement.closest("tr")?.dataset.index)`
	b.press(kb.ArrowDown)
	b.until(row + ` === 0`)
	b.press(kb.ArrowDown, kb.ArrowDown)
	b.until(row + ` === 2`)
	b.press(kb.Escape)
	b.until(`document.activeElement.type === "search" && document.activeElement.value === "memory"`)
	b.press(kb.ArrowDown, kb.ArrowUp)
	b.until(`document.activeElement.type === "search"`)
	if keys := ask[string](b, `document.querySelector("#keys").innerText.replace(/\s+/g, " ")`); keys != "/ filter ↓ rows Esc back" {
		t.Errorf("the keys are said as %q", keys)
	}
	b.press(kb.ArrowDown, kb.Enter)
	b.until(`document.querySelector("#view").dataset.at.startsWith("/candidate/")`)
	b.press(kb.Escape) // to the overview, as it was
	b.until(`location.hash === "#/?q=memory" && document.querySelectorAll("td.c-verdict").length > 2`)
}

func TestManyRowsAreFew(t *testing.T) {
	study := study(t, 2000, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(`document.querySelector(".count")?.textContent.endsWith(" in 2,000 runs")`)
	b.until(drawn)
	if n := ask[int](b, `document.querySelectorAll("tbody tr").length`); n < 10 || n > 80 {
		t.Errorf("%d rows exist of 2,000", n)
	}
	if n := ask[int](b, `document.querySelectorAll(".staircase *").length`); n > 400 {
		t.Errorf("the staircase of 2,000 trials has %d elements", n)
	}
	ask[bool](b, `(document.querySelector(".scroll").scrollTop = 1e9, true)`)
	b.until(`[...document.querySelectorAll("tbody a")].at(-1).textContent === "1"`)
	ask[bool](b, `(document.querySelector(".scroll").scrollTop = 34000, true)`)
	b.until(`Number(document.querySelector("tbody a").textContent) < 1100 && Number(document.querySelector("tbody a").textContent) > 800`)
}

func TestKeyboard(t *testing.T) {
	study := study(t, 1000, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(drawn)
	b.press(kb.Tab)
	if got := ask[string](b, `document.activeElement.className`); got != "skip" {
		t.Errorf("the first tab stop is %q", got)
	}
	ask[bool](b, `document.querySelector(".staircase").focus() ?? true`)
	b.press(kb.End, kb.ArrowLeft, kb.ArrowLeft)
	b.until(`document.querySelector(".tip:not([hidden]) b").textContent === "Candidate 998"`)
	if got := ask[string](b, `document.querySelector(".staircase").getAttribute("aria-valuetext")`); !strings.HasPrefix(got, "Candidate 998, ") {
		t.Errorf("told in words: %q", got)
	}
	b.press(kb.Enter)
	b.until(`document.querySelector("#view").dataset.at === "/candidate/998"`)
	b.press(kb.Escape)
	b.until(`document.querySelector("#view").dataset.at === "/" && document.querySelector("tbody a")`)
	ask[bool](b, `document.querySelector("tbody a").focus() ?? true`)
	b.press(kb.ArrowDown, kb.ArrowDown, kb.PageDown, kb.PageDown, kb.PageDown)
	b.until(`document.activeElement.closest("tbody") && Number(document.activeElement.textContent) < 970`)
	b.press(kb.End)
	b.until(`document.activeElement.textContent === "1"`)
	b.press(kb.Enter)
	b.until(`location.hash === "#/candidate/1"`)
}

// TestStaircaseReadsTrue has every champion on the line, nothing that was not
// kept below it, and the line at the means that are known now.
func TestStaircaseReadsTrue(t *testing.T) {
	study := confirmed(t, 300)
	stairs := record.NewStaircase(study.Loop.History().Done)
	below, pending := 0, 0
	for _, m := range stairs.Marks {
		if m.Below {
			below++
		}
		if m.Standing == search.StandingPending {
			pending++
		}
	}
	b := open(t, serve(t, study.API), desktop)
	b.until(drawn)
	places := func(class string) [][]float64 {
		return ask[[][]float64](b, `[...(document.querySelector(".staircase path.`+class+`")?.getAttribute("d") ?? "").matchAll(/M([\d.]+) ([\d.]+)/g)].map((m) => [Number(m[1]), Number(m[2])])`)
	}
	// The corners of the line: where each champion begins, and its height.
	line := ask[[][]float64](b, `(() => { const d = document.querySelector(".staircase path.stairs").getAttribute("d"); const out = []; let at, level; for (const [, c, v, w] of d.matchAll(/([MHV])([\d.]+)(?: ([\d.]+))?/g)) { if (c === "M") { out.push([Number(v), Number(w)]); } else if (c === "H") at = Number(v); else out.push([at, Number(v)]); } return out; })()`)
	if len(line) != len(stairs.Steps) {
		t.Fatalf("the line has %d steps, want %d", len(line), len(stairs.Steps))
	}
	height := func(x float64) float64 {
		y := line[0][1]
		for _, s := range line {
			if s[0] <= x+0.05 {
				y = s[1]
			}
		}
		return y
	}
	kept := places("keep")
	for _, p := range kept {
		if y := height(p[0]); math.Abs(y-p[1]) > 0.15 {
			t.Errorf("a champion at %v is off the line, which is at %.1f", p, y)
		}
	}
	for _, p := range places("discard") {
		if p[1] > height(p[0])+0.15 {
			t.Errorf("a discarded one at %v looks better than the line at %.1f", p, height(p[0]))
		}
	}
	if len(kept) < 5 || len(places("discard")) < 100 || below == 0 || len(places("run")) <= below || len(places("pending")) != pending {
		t.Errorf("%d kept, %d discarded, %d runs, %d of %d pending", len(kept), len(places("discard")), len(places("run")), len(places("pending")), pending)
	}
	if legend := ask[string](b, `document.querySelector(".legend").textContent`); !strings.Contains(legend, "champion, mean of its runs") {
		t.Errorf("the legend says %q", legend)
	}
}

func TestPointer(t *testing.T) {
	study := study(t, 8, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(drawn)
	const at = `(() => { const d = document.querySelector("path.keep:not(.legend *)").getAttribute("d"); const [, x, y] = /M([\d.]+) ([\d.]+)/.exec(d); const r = document.querySelector(".staircase svg").getBoundingClientRect(); return [r.left + Number(x), r.top + Number(y)]; })()`
	var p []float64
	for shown := false; !shown; { // what comes late moves the chart
		p = ask[[]float64](b, at)
		b.move(p[0], p[1])
		shown = ask[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(Boolean(document.querySelector(".tip:not([hidden])")?.textContent.includes("baseline"))))))`)
	}
	b.shot("pointed-at")
	b.click(p[0], p[1])
	b.until(`location.hash === "#/candidate/1"`)
}

func TestPhone(t *testing.T) {
	study := study(t, 120, true)
	b := open(t, serve(t, study.API), phone)
	b.until(drawn)
	for _, view := range append([]string{"/trial/3", "/trial/4", "/trial/5", "/trial/6"}, views...) {
		b.visit(view)
		if wide := ask[int](b, `document.documentElement.scrollWidth`); wide > 390 {
			t.Errorf("%s is %d pixels wide on a phone of 390", view, wide)
		}
	}
	many := own(t, 12, true)
	for _, n := range []int{2, 8, 64} {
		seated(many, 12, n)
		b := open(t, serve(t, many.API), phone)
		b.until(drawn + fmt.Sprintf(` && document.querySelectorAll(".seat").length === %d`, n))
		if wide := ask[int](b, `document.documentElement.scrollWidth`); wide > 390 {
			t.Errorf("%d seats are %d pixels wide on a phone of 390", n, wide)
		}
	}
}

func TestTheme(t *testing.T) {
	ground := `getComputedStyle(document.body).backgroundColor`
	url := serve(t, study(t, 8, false).API)
	dark := desktop
	dark.dark = true
	b := open(t, url, dark)
	b.until(drawn)
	black := ask[string](b, ground)
	ask[bool](b, `document.querySelector("#theme").click() ?? true`)
	b.until(ground + ` !== "` + black + `"`)
	white := ask[string](b, ground)
	b.reload()
	b.until(drawn)
	if got := ask[string](b, ground); got != white {
		t.Errorf("the chosen theme is lost with a reload: %s, want %s", got, white)
	}
	if light := open(t, url, desktop); ask[string](light, ground) != white {
		t.Errorf("the system's light theme is not the chosen one")
	}
}
