package page_test

import (
	"testing"

	"autoresearchd/daemon/httpd/api/apitest"
	"autoresearchd/daemon/supervisor"
	"autoresearchd/search"
)

// ready has the only seat's trial evaluated, and its next one get ready beside it.
func ready(s *apitest.Study) {
	s.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Seats = "running", apitest.Seats(1, 41, 308)
		now.Seats[0].Next.Phase = search.Gate
	})
}

// TestSeats follows a study that has one seat, then eight, then two, without a
// reload.
func TestSeats(t *testing.T) {
	study := own(t, 40, false)
	study.Loop.Show(40)
	ready(study)
	b := open(t, serve(t, study.API), desktop)
	b.until(drawn + ` && document.querySelector("#now").textContent.startsWith("Evaluating")`)
	b.until(`document.querySelector("#now-note").textContent.includes("trial 42 gets ready beside it") && document.querySelector(".seats").closest("section").hidden`)
	ask[bool](b, `window.same = true`)

	seated(study, 40, 8)
	b.until(`document.querySelectorAll(".seat").length === 8 && document.querySelector("#now").textContent.startsWith("6 of 8 seats")`)
	b.until(`document.querySelector("#now-what").textContent === "1 waiting \u00b7 1 quarantined"`)
	const block = `[...document.querySelectorAll(".seat")]`
	b.until(block + `[2].textContent.includes("trial 51 gets ready beside it: compiling")`)
	b.until(block + `[5].textContent.includes("were not given back within 30s") && ` + block + `[5].dataset.state === "quarantined"`)
	ask[bool](b, block+`[0].querySelector("a").focus() ?? true`)

	if ask[int](b, `document.querySelectorAll(".seat .at:not(:empty)").length`) != 0 {
		t.Error("seats of one host and class say where they are")
	}
	study.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Seats = "running", apitest.Seats(8, 41, 180)
		now.Seats[0].Class, now.Seats[7].Class, now.Seats[7].Host = "NVIDIA H200", "NVIDIA A100", "node1"
		now.Confirm = &supervisor.ConfirmStatus{On: "NVIDIA L40S", Waiting: 2, Why: "no seat is of that class"}
	})
	b.until(block + `[0].querySelector(".at").textContent === "this machine \u00b7 NVIDIA H200"`)
	b.until(block + `[7].querySelector(".at").textContent === "node1 \u00b7 NVIDIA A100"`)
	b.until(`document.querySelector("#now-what").textContent.startsWith("2 to be confirmed on NVIDIA L40S: no seat is of that class \u00b7 ")`)

	study.Loop.Edit(func(now *supervisor.Status) {
		now.State, now.Seats, now.Confirm = "running", apitest.Seats(8, 41, 210), nil
	})
	b.until(block + `[0].querySelector("progress").value === 0.7`)
	if !ask[bool](b, `document.activeElement.closest(".seat") === `+block+`[0]`) {
		t.Error("the focus is lost when a seat gets on")
	}
	seated(study, 40, 2)
	b.until(block + `.length === 2`)
	if !ask[bool](b, `window.same`) {
		t.Error("the page was loaded again")
	}
}
