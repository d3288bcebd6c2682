package page_test

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp"
)

// BenchmarkOpen measures, in Chromium, from the start of the navigation: the
// first paint with content, and until the staircase and the table show every
// trial; then the longest frame while the table is scrolled from end to end.
// Milliseconds, medians of the runs.
func BenchmarkOpen(b *testing.B) {
	if os.Getenv("AUTORESEARCH_TEST_CHROMIUM") == "" {
		b.Skip("AUTORESEARCH_TEST_CHROMIUM names no browser: scripts/bench.sh page sets it")
	}
	for _, n := range []int{1000, 10000} {
		url := serve(b, study(b, n, false).API)
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var paint, whole, frame []float64
			for range b.N {
				t := open(b, url, desktop)
				t.until(drawn + ` && document.querySelector("tbody a")?.textContent === "` + strconv.Itoa(n) + `"`)
				whole = append(whole, ask[float64](t, `performance.now()`))
				paint = append(paint, ask[float64](t, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
				frame = append(frame, ask[float64](t, scrolled))
				if err := chromedp.Cancel(t.ctx); err != nil {
					b.Fatal(err)
				}
			}
			for name, times := range map[string][]float64{"paint-ms": paint, "whole-ms": whole, "frame-ms": frame} {
				slices.Sort(times)
				b.ReportMetric(times[len(times)/2], name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

const scrolled = `new Promise((done) => {
	const box = document.querySelector(".scroll");
	let last = performance.now(), longest = 0, i = 0;
	requestAnimationFrame(function next(now) {
		if (i > 0) longest = Math.max(longest, now - last);
		last = now;
		box.scrollTop = (box.scrollHeight * i) / 60;
		if (i++ < 60) requestAnimationFrame(next);
		else done(longest);
	});
})`
