package page_test

import (
	"fmt"
	"testing"
)

var wide = look{width: 1920, height: 1080}

// TestShots keeps pictures for a person to look at.
func TestShots(t *testing.T) {
	for _, n := range []int{0, 8, 100, 1000} {
		var url string
		if n > 0 {
			url = serve(t, confirmed(t, n).API)
		} else {
			url = serve(t, own(t, 0, false).API)
		}
		for _, dark := range []bool{false, true} {
			for name, l := range map[string]look{"desktop": desktop, "phone": phone, "wide": wide} {
				l.dark = dark
				theme := map[bool]string{false: "light", true: "dark"}[dark]
				if name == "wide" && (n != 100 || dark) {
					continue
				}
				t.Run(fmt.Sprintf("%d-%s-%s", n, theme, name), func(t *testing.T) {
					b := open(t, url, l)
					if n > 0 {
						b.until(`document.querySelector("path.stairs") !== null && document.querySelector("path.line.now") !== null`)
					} else {
						b.until(`document.querySelector(".overview") !== null && document.querySelector("#now").textContent !== "–"`)
					}
					b.shot(fmt.Sprintf("overview-%d-%s-%s", n, theme, name))
				})
			}
		}
	}
}

// TestSeatShots keeps pictures of studies on several seats, and of one whose next
// trial gets ready.
func TestSeatShots(t *testing.T) {
	study := own(t, 40, false)
	url := serve(t, study.API)
	for _, n := range []int{1, 2, 8, 64} {
		seated(study, 40, n)
		if n == 1 {
			ready(study)
		}
		for _, theme := range []string{"light", "dark"} {
			for size, l := range map[string]look{"desktop": desktop, "phone": phone} {
				l.dark = theme == "dark"
				b := open(t, url, l)
				b.until(drawn + fmt.Sprintf(` && document.querySelectorAll(".seat").length === %d && document.querySelector("path.line.now") !== null`, map[bool]int{false: n}[n == 1]))
				b.shot(fmt.Sprintf("seats-%d-%s-%s", n, theme, size))
			}
		}
	}
}

// TestViews keeps pictures of the other views.
func TestViews(t *testing.T) {
	study := underWay(t, 119, 0.62)
	lonely := own(t, 3, false)
	show(lonely, 3, 0)
	wide := look{width: 1920, height: 1080}
	for _, theme := range []string{"light", "dark"} {
		for size, l := range map[string]look{"desktop": desktop, "wide": wide, "phone": phone} {
			l.dark = theme == "dark"
			b := open(t, serve(t, study.API), l)
			for view, name := range map[string]string{
				"/candidate/105": "candidate", "/candidate/50": "candidate-several-runs", "/candidate/1": "candidate-baseline", "/candidate/6": "candidate-that-failed", "/candidate/13": "candidate-diverged",
				"/trial/89": "run-of-a-model", "/trial/120": "run-under-way", "/compare/50,105,9,3": "compare",
				"/lineage": "lineage", "/constants": "constants", "/timeline": "timeline", "/strategies": "strategies",
			} {
				b.visit(view)
				b.shot(fmt.Sprintf("%s-%s-%s", name, theme, size))
			}
			b = open(t, serve(t, lonely.API), l)
			b.visit("/constants")
			b.shot(fmt.Sprintf("constants-of-few-%s-%s", theme, size))
		}
	}
	plain := desktop
	plain.plain = true
	open(t, serve(t, study.API), plain).shot("without-javascript")
}
