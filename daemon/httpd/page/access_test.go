package page_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

var views = []string{"/", "/candidate/2", "/candidate/6", "/trial/2", "/compare/2,3,9", "/lineage", "/constants", "/timeline", "/strategies"}

// TestAccessible runs axe-core over every view: no fault that it calls serious
// or critical.
func TestAccessible(t *testing.T) {
	dir := os.Getenv("AUTORESEARCH_TEST_PAGE")
	if dir == "" {
		t.Skip("AUTORESEARCH_TEST_PAGE names no folder with axe.min.js: scripts/test.sh page sets it")
	}
	axe, err := os.ReadFile(filepath.Join(dir, "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, study(t, 120, false).API)
	several := own(t, 9, false)
	seated(several, 9, 8)
	severalURL := serve(t, several.API)
	for _, dark := range []bool{false, true} {
		l := desktop
		l.dark = dark
		check := func(b *tab, view string) {
			ask[bool](b, string(axe)+"; true")
			b.visit(view)
			found := ask[json.RawMessage](b, `axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + " " + n.failureSummary)})))`)
			if string(found) != "[]" {
				t.Errorf("%s, dark %v: %s", view, dark, found)
			}
		}
		b := open(t, url, l)
		for _, view := range views {
			check(b, view)
		}
		b = open(t, severalURL, l)
		b.until(`document.querySelectorAll(".seat").length === 8`)
		check(b, "/")
	}
}
