package page_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/chromedp/chromedp"
)

// BenchmarkOpen measures, in Chromium, from the start of the navigation: the
// first paint with content, and until the staircase and the table show every
// trial; then the longest frame while the table is scrolled from end to end, and
// while four events come.
// Milliseconds, medians of the runs.
func BenchmarkOpen(b *testing.B) {
	if os.Getenv("AUTORESEARCH_TEST_CHROMIUM") == "" {
		b.Skip("AUTORESEARCH_TEST_CHROMIUM names no browser: scripts/bench.sh page sets it")
	}
	for _, c := range []struct{ trials, seats int }{{1000, 1}, {10000, 1}, {1000, 64}} {
		n, study := c.trials, study(b, c.trials, false)
		if c.seats > 1 { // a study of its own, as those are shared
			study = own(b, n, false)
			seated(study, n, c.seats)
		}
		url := serve(b, study.API)
		b.Run(fmt.Sprintf("%d-trials-%d-seats", n, c.seats), func(b *testing.B) {
			var paint, whole, frame, event []float64
			for range b.N {
				t := open(b, url, desktop)
				t.until(drawn + ` && document.querySelector("tbody a")?.textContent === "` + strconv.Itoa(n) + `"`)
				whole = append(whole, ask[float64](t, `performance.now()`))
				paint = append(paint, ask[float64](t, `performance.getEntriesByName("first-contentful-paint")[0].startTime`))
				frame = append(frame, ask[float64](t, scrolled))
				event = append(event, ask[float64](t, watched))
				if err := chromedp.Cancel(t.ctx); err != nil {
					b.Fatal(err)
				}
			}
			for name, times := range map[string][]float64{"paint-ms": paint, "whole-ms": whole, "frame-ms": frame, "event-ms": event} {
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

const watched = `new Promise((done) => {
	const end = performance.now() + 4200;
	let last = performance.now(), longest = 0;
	requestAnimationFrame(function next(now) {
		longest = Math.max(longest, now - last);
		last = now;
		if (now < end) requestAnimationFrame(next);
		else done(longest);
	});
})`
