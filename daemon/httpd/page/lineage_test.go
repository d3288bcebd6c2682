package page_test

import (
	"fmt"
	"testing"

	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// TestLineage shows candidates, as deep as the address asks for, and compares
// each with its parent at the means of both.
func TestLineage(t *testing.T) {
	study := confirmed(t, 100)
	marks := record.NewStaircase(study.Loop.History().Done).Marks
	scores, kept := map[int64]float64{}, 0
	for _, m := range marks {
		scores[m.ID], _ = m.Score()
		if m.Standing == search.StandingKept {
			kept++
		}
	}
	b := open(t, serve(t, study.API), desktop)
	b.visit("/lineage")
	rows := `document.querySelectorAll(".tree li").length`
	shown := ask[int](b, rows)
	if shown < kept || shown >= len(marks) {
		t.Errorf("%d candidates in the tree of those kept, which are %d", shown, kept)
	}
	for _, m := range marks {
		if m.Standing != search.StandingKept || scores[m.Parent] == 0 {
			continue
		}
		want := fmt.Sprintf("%+.6f", scores[m.ID]-scores[m.Parent])
		got := ask[string](b, fmt.Sprintf(`document.querySelector('.tree a[href="#/candidate/%d"]').closest("li").querySelector(".delta").textContent.replace("−", "-")`, m.ID))
		if got != want {
			t.Errorf("candidate %d is %s against its parent, want %s", m.ID, got, want)
		}
	}
	ask[bool](b, `[...document.querySelectorAll(".choice button")].find((b) => b.textContent === "all").click() ?? true`)
	b.until(fmt.Sprintf(`%s === %d && location.hash === "#/lineage?depth=all"`, rows, len(marks)))
	b.shot("lineage-of-all")
	b.reload()
	b.until(fmt.Sprintf(`%s === %d`, rows, len(marks)))
	ask[bool](b, `history.back() ?? true`)
	b.until(fmt.Sprintf(`%s === %d`, rows, shown))
}
