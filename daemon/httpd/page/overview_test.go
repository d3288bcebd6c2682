package page_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
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
	b.until(`document.querySelector("#gain-note").textContent.startsWith("9 trials") && document.querySelector("#now").textContent === "Between trials"`)
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
	b.until(`document.querySelectorAll("tbody a").length === 1`)
}

func TestFilterAndSort(t *testing.T) {
	study := study(t, 1000, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(`document.querySelector(".count")?.textContent === "1,000"`)
	choose := func(label, value string) {
		ask[bool](b, `(() => { const s = document.querySelector('select[aria-label="`+label+`"]'); s.value = "`+value+`"; s.dispatchEvent(new Event("change")); return true; })()`)
	}

	choose("Decision", "keep")
	kept := study.Loop.Now().Trials.Keep
	b.until(`[...document.querySelectorAll("td.c-decision")].length === ` + strconv.Itoa(kept) + ` && [...document.querySelectorAll("td.c-decision")].every((d) => d.textContent === "keep")`)
	choose("Decision", "")
	choose("Strategy", "tpe")
	b.until(`document.querySelectorAll("td.c-strategy").length > 5 && [...document.querySelectorAll("td.c-strategy")].every((d) => d.textContent === "tpe")`)
	choose("Strategy", "")
	b.press("/")
	b.until(`document.activeElement.type === "search"`)
	ask[string](b, `document.activeElement.value = ""`) // the driver types the key that the page took
	b.press("b", "a", "s", "e")
	b.until(`/^\d+ of 1,000$/.test(document.querySelector(".count").textContent)`)
	b.until(`[...document.querySelectorAll("tbody tr:not(.gap)")].every((r) => r.textContent.toLowerCase().includes("base"))`)
	b.press(strings.Repeat(kb.Backspace, 4))
	b.until(`document.querySelector(".count").textContent === "1,000"`)

	ask[bool](b, `document.querySelector("th.c-score button").click() ?? true`)
	b.until(`document.querySelector("th.c-score").getAttribute("aria-sort") === "ascending"`)
	scores := ask[[]string](b, `[...document.querySelectorAll("td.c-score")].map((d) => d.textContent)`)
	for i := 1; i < len(scores); i++ {
		if scores[i] < scores[i-1] {
			t.Fatalf("not sorted by score: %v", scores)
		}
	}
}

func TestManyRowsAreFew(t *testing.T) {
	study := study(t, 2000, false)
	b := open(t, serve(t, study.API), desktop)
	b.until(`document.querySelector(".count")?.textContent === "2,000"`)
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
	b.until(`Number(document.querySelector("tbody a").textContent) < 1100 && Number(document.querySelector("tbody a").textContent) > 900`)
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
	b.until(`document.querySelector(".tip:not([hidden]) b").textContent === "Trial 998"`)
	if got := ask[string](b, `document.querySelector(".staircase").getAttribute("aria-valuetext")`); !strings.HasPrefix(got, "Trial 998, ") {
		t.Errorf("told in words: %q", got)
	}
	b.press(kb.Enter)
	b.until(`document.querySelector("#view").dataset.at === "/trial/998"`)
	b.press(kb.Escape)
	b.until(`document.querySelector("#view").dataset.at === "/" && document.querySelector("tbody a")`)
	ask[bool](b, `document.querySelector("tbody a").focus() ?? true`)
	b.press(kb.ArrowDown, kb.ArrowDown, kb.PageDown, kb.PageDown, kb.PageDown)
	b.until(`document.activeElement.closest("tbody") && Number(document.activeElement.textContent) < 970`)
	b.press(kb.End)
	b.until(`document.activeElement.textContent === "1"`)
	b.press(kb.Enter)
	b.until(`location.hash === "#/trial/1"`)
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
	b.until(`location.hash === "#/trial/1"`)
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
