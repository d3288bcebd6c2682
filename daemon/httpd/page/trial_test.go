package page_test

import (
	"strings"
	"testing"
)

func TestTrial(t *testing.T) {
	b := open(t, serve(t, study(t, 120, false).API), desktop)
	b.until(drawn)
	ask[bool](b, `[...document.querySelectorAll("tbody a")].find((a) => a.textContent === "105").click() ?? true`)
	b.until(`document.querySelector(".diff .added") && document.querySelector(".diff .removed") && document.querySelector(".trial path.line.now")`)
	if got := ask[string](b, `document.querySelector(".diff .added").textContent`); got != "7+EMBEDDING_LR = 0.921" {
		t.Errorf("the first added line is %q", got)
	}
	if got := ask[string](b, `[...document.querySelector(".diff .added").querySelectorAll("span")].map((s) => s.className).join(" ")`); !strings.Contains(got, "py-constant py-number") {
		t.Errorf("it is coloured %q", got)
	}
	text := ask[string](b, `document.querySelector(".trial").innerText`)
	for _, want := range []string{"Trial 105", "keep: val_bpb 0.991739 is", "EMBEDDING_LR\t0.656\t0.921", "startup", "evaluate", "950 steps", "trial 89", "step 00950"} {
		if !strings.Contains(text, want) {
			t.Errorf("the trial's view lacks %q:\n%s", want, text)
		}
	}

	b.visit("/trial/89")
	ask[bool](b, `[...document.querySelectorAll("summary")].find((s) => s.textContent.includes("prompt")).click() ?? true`)
	b.until(`document.querySelector("details[open] pre").textContent.includes("You improve train.py.")`)
	b.visit("/trial/100000")
	b.until(`document.querySelector("#view").textContent.includes("Cannot show this: ")`)
	b.forgive("404")
}

func TestConstantsAndLedger(t *testing.T) {
	b := open(t, serve(t, study(t, 120, false).API), desktop)
	b.visit("/constants")
	b.until(`document.querySelectorAll(".slices .plot path.keep[d^=M]").length >= 5`)
	b.visit("/strategies")
	text := ask[string](b, `document.querySelector("#view").innerText`)
	for _, want := range []string{"evolution", "some-model", "Weight now"} {
		if !strings.Contains(text, want) {
			t.Errorf("the ledger lacks %q:\n%s", want, text)
		}
	}
}

// TestHostileTextIsInert looks at every view of a study whose descriptions,
// logs and replies hold markup, escapes, 10 kB and changes of direction.
func TestHostileTextIsInert(t *testing.T) {
	study := study(t, 120, true)
	b := open(t, serve(t, study.API), desktop)
	ask[bool](b, `(window.alert = () => { window.fooled = true; }, true)`)
	seen := ""
	for _, view := range append([]string{"/trial/3", "/trial/4", "/trial/5", "/trial/6", "/trial/7", "/trial/8", "/trial/9"}, views...) {
		b.visit(view)
		if view == "/" {
			b.until(drawn)
			b.shot("hostile")
		}
		if got := ask[int](b, `document.querySelectorAll("#view img, #view script, #facts img, #facts script").length`); got != 0 {
			t.Errorf("%s: markup of a description became %d elements", view, got)
		}
		text := ask[string](b, `document.body.textContent`)
		for _, bad := range []string{"\x1b", "\x00", "\u202e", "\u2066"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s shows %q as it is", view, bad)
			}
		}
		seen += text
		if wide := ask[int](b, `document.documentElement.scrollWidth`); wide > 1280 {
			t.Errorf("%s is %d pixels wide", view, wide)
		}
	}
	if !strings.Contains(seen, "<script>alert(1)</script>") {
		t.Error("no view shows the hostile markup as text")
	}
	if ask[bool](b, `Boolean(window.fooled)`) {
		t.Error("a description was executed")
	}
}
