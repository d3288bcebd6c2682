package page_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/report"
	"autoresearchd/search"
)

// TestReportFits opens the report on a phone and on a desktop: what is too wide
// scrolls within its own box, and is no wider than the page.
func TestReportFits(t *testing.T) {
	for _, hostile := range []bool{false, true} {
		s := own(t, 60, hostile)
		show(s, 60, 0)
		claim := search.Claim{Words: "unconfirmed (1 of 3 paired seeds) against trial 1"}
		var b bytes.Buffer
		err := report.Write(t.Context(), &b, report.Options{
			Journal: s.Reader, Folder: func(id int64) string { return filepath.Join(t.TempDir(), strconv.FormatInt(id, 10)) },
			Start: func(context.Context, journal.Study) ([]byte, error) { return s.Reader.Source(1) },
			Claim: &claim, Command: "autoresearchd --config /etc/autoresearch/a/rather/long/path/to/autoresearch.toml", Version: "test", Now: time.Date(2026, 1, 6, 8, 0, 0, 0, time.UTC),
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write(b.Bytes())
		}))
		t.Cleanup(server.Close)
		for _, l := range []look{phone, {width: 320, height: 640}, desktop} {
			tab := open(t, server.URL, l)
			tab.until(`document.readyState === "complete"`)
			if wide := ask[int64](tab, `document.documentElement.scrollWidth`); wide > l.width {
				t.Errorf("hostile %v: the report is %d pixels wide on a screen of %d", hostile, wide, l.width)
			}
			over := ask[[]string](tab, `[...document.querySelectorAll("body *")].filter((e) => {
				const scrolls = e.closest(".wide, pre");
				return (!scrolls || scrolls === e) && e.getBoundingClientRect().right > innerWidth + 0.5;
			}).slice(0, 5).map((e) => e.outerHTML.slice(0, 120))`)
			for _, o := range over {
				t.Errorf("hostile %v: on a screen of %d this goes beyond it: %s", hostile, l.width, o)
			}
			tab.shot(fmt.Sprintf("report-%d-%v", l.width, hostile))
		}
	}
}
