package page_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"

	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// holds wants words in what a view shows.
func (b *tab) holds(what string, want ...string) {
	b.t.Helper()
	text := ask[string](b, `document.querySelector("#view").innerText`)
	for _, w := range want {
		if !strings.Contains(text, w) {
			b.t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}

// severalRuns are the candidates that have run more than once.
func severalRuns(s *apitest.Study) []*search.Candidate {
	var all []*search.Candidate
	for _, c := range search.Candidates(s.Loop.History()) {
		if len(c.Runs) > 1 {
			all = append(all, c)
		}
	}
	return all
}

func TestCandidate(t *testing.T) {
	study := study(t, 120, false)
	b := open(t, serve(t, study.API), desktop)
	b.visit("/candidate/105")
	b.until(`document.querySelector(".diff .added") && document.querySelector(".diff .removed") && document.querySelector(".trial path.line.now")`)
	if got := ask[string](b, `document.querySelector(".diff .added").textContent`); got != "7+EMBEDDING_LR = 0.921" {
		t.Errorf("the first added line is %q", got)
	}
	if got := ask[string](b, `[...document.querySelector(".diff .added").querySelectorAll("span")].map((s) => s.className).join(" ")`); !strings.Contains(got, "py-constant py-number") {
		t.Errorf("it is coloured %q", got)
	}
	b.holds("a candidate's view", "Candidate 105", "by evolution from candidate 89", "kept", "EMBEDDING_LR\t0.656\t0.921", "trial 105\t42\tcompleted\t0.991739", "950 steps", "step 00950")

	several := severalRuns(study)
	c := several[len(several)-1]
	b.visit(fmt.Sprintf("/candidate/%d", c.ID))
	mean, n := c.Score()
	want := []string{fmt.Sprintf("Its %d runs", len(c.Runs)), fmt.Sprintf("%.6f", mean), fmt.Sprintf("mean of %d runs", n)}
	for _, id := range c.Runs {
		want = append(want, fmt.Sprintf("trial %d\t", id))
	}
	b.holds("a candidate with several runs", want...)
	b.visit(fmt.Sprintf("/trial/%d", c.Runs[1]))
	b.holds("its second run", fmt.Sprintf("Trial %d a run of candidate %d", c.Runs[1], c.ID), fmt.Sprintf("seed\n%d", c.Runs[1]))

	champion := study.Loop.Now().Champion
	b.visit(fmt.Sprintf("/candidate/%d", champion.ID))
	b.holds("the champion's view", fmt.Sprintf("%.6f", champion.ValBPB), "the champion now", "Its gain is "+champion.Claim)
	if ask[int](b, `document.querySelectorAll(".diff .added").length`) == 0 {
		t.Error("the champion's view shows nothing that it changed")
	}

	b.visit("/candidate/6")
	b.holds("a candidate that failed", "crashed: out of memory", "Tried to allocate 2.00 GiB")
	b.visit("/candidate/1")
	b.holds("the baseline", "It is train.py as the study found it.")
	b.visit("/candidate/89")
	ask[bool](b, `[...document.querySelectorAll("summary")].find((s) => s.textContent.includes("prompt")).click() ?? true`)
	b.until(`document.querySelector("details[open] pre").textContent.includes("You improve train.py.")`)
	b.visit("/candidate/100000")
	b.until(`document.querySelector("#view").textContent.includes("Cannot show this: ")`)
	b.forgive("404")
}

// TestProof shows how a run's score is proven, and its audit.
func TestProof(t *testing.T) {
	b := open(t, serve(t, study(t, 12, false).API), desktop)
	b.visit("/trial/9")
	b.holds("how a score is proven", "How its score is proven", "verdict\nproven", "challenged at\n3,204 of 20,971,520 tokens", "logits above losses by\n−0.0001 ± 0.0002", "largest difference\n0.081",
		"than on text not shown by\n−0.0054 ± 0.0071", "weights unchanged\n84, as it says itself", "in a process that had only its weights, in 18 s")
}

// TestNoEmptyQuarter measures that both columns of a candidate's view end at
// the same height, and that no panel is more than half empty.
func TestNoEmptyQuarter(t *testing.T) {
	url := serve(t, underWay(t, 40, 0.4).API)
	for _, l := range []look{{width: 1280, height: 800}, {width: 1920, height: 1080}} {
		b := open(t, url, l)
		for _, view := range []string{"/candidate/1", "/candidate/9", "/candidate/6", "/candidate/13", "/candidate/41", "/trial/9", "/trial/41", "/compare/3,9"} {
			b.visit(view)
			empty := ask[[]string](b, `(() => {
				const [a, b] = [...document.querySelectorAll(".trial > .columns > div")].map((d) => d.getBoundingClientRect());
				if (!b || Math.abs(a.bottom - b.bottom) > 1) return ["the columns end at " + a?.bottom + " and " + b?.bottom];
				return [...document.querySelectorAll(".trial > .columns .panel")].map((p) => {
					const box = p.getBoundingClientRect();
					const low = Math.max(...[...p.querySelectorAll("*")].map((e) => e.getBoundingClientRect().bottom));
					return box.bottom - low > 0.5 * box.height ? p.querySelector("h2").textContent + " ends " + Math.round(box.bottom - low) + " of " + Math.round(box.height) + " pixels before its end" : "";
				}).filter(Boolean);
			})()`)
			for _, e := range empty {
				t.Errorf("%s, %d pixels wide: %s", view, l.width, e)
			}
		}
	}
}

// TestRunUnderWay follows a run without a reload.
func TestRunUnderWay(t *testing.T) {
	study := underWay(t, 12, 0.25)
	b := open(t, serve(t, study.API), desktop)
	for i, view := range []string{"/candidate/13", "/trial/13"} {
		from, to := []float64{0.25, 0.5}[i], []float64{0.4, 0.65}[i]
		show(study, 12, from)
		b.visit(view)
		b.until(fmt.Sprintf(`document.querySelector(".under-way progress").value === %g && document.querySelector(".curve path.line.now")?.getAttribute("d").length > 20`, from))
		b.holds("the view of a run", "Trial 13 is under way", fmt.Sprintf("%.0f\u202f%% of the budget", 100*from), "tokens a second\n1.66 M", "MFU\n39.8\u202f%", "GPU 0")
		b.until(`document.querySelector(".gpu-history .plot path.line.now")`)
		ask[bool](b, `(window.same = document.querySelector(".under-way"), true)`)
		before := ask[string](b, `document.querySelector(".curve path.line.now").getAttribute("d")`)
		show(study, 12, to)
		b.until(fmt.Sprintf(`document.querySelector(".under-way progress").value === %g && document.querySelector(".under-way .value").textContent.includes("%.0f")`, to, 100*to))
		b.until(`document.querySelector(".curve path.line.now").getAttribute("d") !== "` + before + `"`)
		if !ask[bool](b, `window.same === document.querySelector(".under-way")`) {
			t.Errorf("%s was drawn anew", view)
		}
	}
}

// TestLossOffTheAxis has a run leave the axis, and one whose loss is no number.
func TestLossOffTheAxis(t *testing.T) {
	study := underWay(t, 12, 0.3)
	run := func(curve [][2]float64, nan *float64) {
		study.Loop.Edit(func(now *supervisor.Status) {
			now.State = "running"
			now.Seats = []supervisor.SeatStatus{{Name: "cpu", Device: "cpu", State: supervisor.SeatRunning, Trial: &supervisor.RunningStatus{
				ID: 13, Candidate: 13, Run: 1, Phase: search.Train, Progress: curve[len(curve)-1][0], Loss: curve[len(curve)-1][1], Budget: search.Budget{Seconds: 300}, Curve: curve, NaNAt: nan,
			}}}
		})
	}
	var gone [][2]float64
	for p := 0.02; p < 0.5; p += 0.02 {
		loss := 3 + 5*math.Exp(-20*p)
		if p > 0.4 {
			loss = 3000 * p
		}
		gone = append(gone, [2]float64{p, loss})
	}
	run(gone, nil)
	b := open(t, serve(t, study.API), desktop)
	b.visit("/trial/13")
	b.until(`document.querySelectorAll(".trial path.wedge.now").length === 1 && /^1440 ↑$/.test(document.querySelector(".trial text.off")?.textContent)`)
	b.shot("loss-off-the-axis")
	top := ask[float64](b, `Math.max(...[...document.querySelectorAll(".trial .curve text.tick")].map((t) => parseFloat(t.textContent)).filter((v) => v < 50))`)
	if n := ask[int](b, `[...document.querySelectorAll(".trial .curve text.tick")].filter((t) => t.getAttribute("text-anchor") === "end").length`); n < 3 || top > 9 {
		t.Errorf("the axis has %d ticks up to %g", n, top)
	}
	at := 0.3
	run(gone[:15], &at)
	b.until(`document.querySelector(".trial path.nan") && document.querySelector(".trial text.off").textContent === "NaN"`)
	b.holds("a run without a loss", "loss\nnot a number")
	if ask[bool](b, `Boolean(document.querySelector(".gpu-history:not([hidden])"))`) {
		t.Error("a run on the CPU has a GPU's history")
	}
	b.visit("/candidate/11") // out of memory, before its first step
	b.visit("/candidate/12")
	b.until(`document.querySelector(".trial path.line.now")`)
}

func TestCompare(t *testing.T) {
	study := study(t, 120, false)
	b := open(t, serve(t, study.API), desktop)
	b.visit("/candidate/105")
	champion := study.Loop.Now().Champion.ID
	ask[bool](b, `[...document.querySelectorAll(".actions a")].find((a) => a.textContent.includes("champion")).click() ?? true`)
	b.until(fmt.Sprintf(`location.hash === "#/compare/105,%d" && document.querySelectorAll(".beside").length === 2`, champion))
	b.until(`document.querySelectorAll(".curve path.line").length === 2 || document.querySelectorAll(".curve path.line").length > 2`)
	b.holds("a comparison", "Candidates 105 and", "0.991739", "against 105", "ADAM_BETAS", "train.py of candidate")
	if ask[bool](b, `[...document.querySelectorAll(".beside")].at(-1).innerText.includes("WARMUP_RATIO") && [...document.querySelectorAll(".beside")].at(-1).innerText.includes("HEAD_DIM")`) {
		t.Error("constants that are the same are listed")
	}
	b.visit("/compare/105,9")
	ask[bool](b, `(() => { document.querySelector(".adder input").value = "3"; document.querySelector(".adder button").click(); return true; })()`)
	b.until(`location.hash === "#/compare/105,9,3" && document.querySelectorAll(".diff").length === 2`)
	ask[bool](b, `document.querySelector(".off-button").click() ?? true`)
	b.until(`location.hash === "#/compare/9,3" && document.querySelectorAll(".diff").length === 1`)
	b.visit("/compare/1,100000")
	b.until(`document.querySelector("#view").textContent.includes("Cannot show this: there is no candidate 100000")`)
	b.forgive("404")
}

func TestConstants(t *testing.T) {
	study := study(t, 120, false)
	b := open(t, serve(t, study.API), desktop)
	b.visit("/constants")
	b.until(`document.querySelectorAll(".slices .plot path.keep[d^=M]").length >= 5 && document.querySelector(".parallel path.champion[d^=M]")`)
	slices := ask[int](b, `document.querySelectorAll(".slices > .panel").length`)
	if n := ask[int](b, `document.querySelectorAll(".slices .ring.champion").length`); n != slices {
		t.Errorf("the champion is marked in %d of %d slices", n, slices)
	}
	if n := ask[int](b, `document.querySelectorAll(".slices path.wedge[d^=M]").length`); n == 0 {
		t.Error("no outlier is marked")
	}
	few := own(t, 3, false)
	show(few, 3, 0)
	b = open(t, serve(t, few.API), desktop)
	b.visit("/constants")
	b.holds("the constants of few", "Not enough trials yet to rank constants.")
	if n := ask[int](b, `document.querySelectorAll(".slices > .panel").length`); n != 3 {
		t.Errorf("%d constants are shown, and three varied", n)
	}
}

func TestTimeline(t *testing.T) {
	b := open(t, serve(t, underWay(t, 40, 0.4).API), desktop)
	b.visit("/timeline")
	b.until(`document.querySelector(".timeline path.span-train[d^=M]") && document.querySelector(".timeline path.span-ask[d^=M]") && document.querySelector(".timeline path.span-gate[d^=M]")`)
	b.holds("the timeline", "cuda:0", "41 runs", "waiting at the gate", "proposing")
	spans := ask[int](b, `document.querySelector(".timeline path.span-train").getAttribute("d").split("M").length`)
	ask[bool](b, `[...document.querySelectorAll(".choice button")].find((b) => b.textContent === "all").click() ?? true`)
	b.until(fmt.Sprintf(`document.querySelector(".timeline path.span-train").getAttribute("d").split("M").length > %d`, spans))
	ask[bool](b, `document.querySelector(".timeline").focus() ?? true`)
	b.press(kb.End, kb.ArrowLeft)
	b.until(`document.querySelector(".said-run a").textContent === "trial 40"`)
	b.holds("a run", "on cuda:0", "training 5 min")
	b.press(kb.Home)
	for range 11 {
		b.press(kb.ArrowRight)
	}
	b.holds("a run that waited", "at the gate it waited for trial 11")
	b.press(kb.Enter)
	b.until(`location.hash === "#/trial/12"`)
	b.visit("/timeline")
	trace := ask[int](b, `fetch(document.querySelector("a[download]").href).then((r) => r.json()).then((t) => t.traceEvents.length)`)
	if trace < 200 {
		t.Errorf("the trace has %d events", trace)
	}
}

func TestLedgerAndLineage(t *testing.T) {
	b := open(t, serve(t, study(t, 120, false).API), desktop)
	b.visit("/strategies")
	b.holds("the ledger", "evolution", "some-model", "Weight now")
	b.visit("/lineage")
	kept := ask[int](b, `document.querySelectorAll(".tree li").length`)
	ask[bool](b, `[...document.querySelectorAll(".choice button")].find((b) => b.textContent === "all").click() ?? true`)
	b.until(`document.querySelectorAll(".tree li").length > 100`)
	b.shot("lineage-of-all")
	if kept < 5 || kept >= 100 {
		t.Errorf("%d kept candidates in the tree", kept)
	}
}

// TestTouchOfViews measures what is pressed on a phone; links within a sentence, a
// list or a table's cell are as high as their line.
func TestTouchOfViews(t *testing.T) {
	b := open(t, serve(t, underWay(t, 40, 0.4).API), phone)
	for _, view := range []string{"/candidate/9", "/candidate/41", "/trial/9", "/compare/3,9,12", "/constants", "/timeline", "/strategies"} {
		b.visit(view)
		small := ask[[]string](b, `[...document.querySelectorAll("button, select, input, summary, a")]
			.filter((e) => e.matches("button, select, input, summary, nav a, .button, .near a, .panel-head > a, footer a, .off-button"))
			.map((e) => [e, e.getBoundingClientRect()])
			.filter(([, r]) => r.width > 0 && (r.height < 44 || r.width < 44))
			.map(([e, r]) => e.outerHTML.slice(0, 80) + " " + Math.round(r.width) + "x" + Math.round(r.height))`)
		for _, s := range small {
			t.Errorf("%s: %s", view, s)
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
	for _, view := range append([]string{"/trial/3", "/trial/4", "/candidate/5", "/candidate/6", "/candidate/7", "/candidate/8", "/candidate/9", "/compare/3,4,5,6,7,8,9"}, views...) {
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
