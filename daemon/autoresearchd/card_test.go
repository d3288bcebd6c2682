package main

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/journal/journaltest"
)

// TestCard finds the study's sentence in the same words in status, in the report,
// on the page and in the API.
func TestCard(t *testing.T) {
	t.Parallel()
	everywhere := func(s *fixture, want string) {
		t.Helper()
		form := regexp.MustCompile("^" + want + "$")
		_, after, _ := strings.Cut(s.ok(s.of("status")...), "\nsummary   ")
		words, _, _ := strings.Cut(after, "\n")
		if !form.MatchString(words) {
			t.Errorf("status says\n%s\nwant\n%s", words, want)
		}
		s.ok(s.of("report", "-o", s.path("r.html"))...)
		_, page := s.shows(s.of()...)
		for what, text := range map[string]string{"report": s.read("r.html"), "page": fetched(t, page), "API": fetched(t, page+"api/v1/status")} {
			if !strings.Contains(html.UnescapeString(text), words) {
				t.Errorf("the %s lacks %q:\n%.3000s", what, words, text)
			}
		}
	}

	everywhere(recorded(t), `46 min · 12 candidates in 12 runs · 3 gains · −0\.0022 \(−0\.22 %\) · 4 failed: 3 out of memory, 1 crashed · GPU trained 0\.85 of the time`)

	empty := shelved(t)
	must(t, journaltest.Fill(empty.path("state"), journaltest.Options{}))
	everywhere(empty, "nothing tried yet")

	cpu := newStudy(t)
	cpu.ok("run", "--trials", "1")
	everywhere(cpu, `\d+ s · 1 candidate in 1 run · no gain yet · trained 0\.\d\d of the time`)

	imported := past(t)
	base := imported.short("HEAD")
	imported.git("checkout", "-q", "-b", "autoresearch/old")
	one := imported.try("0.041")
	imported.write("workspace/results.tsv", header+base+"\t2.010000\t44.0\tkeep\tbaseline\n"+one+"\t2.009000\t43.9\tkeep\trate up\n")
	imported.ok("import", imported.path("workspace"))
	everywhere(imported, `2 candidates in 2 runs · 1 gain · −0\.0010 \(−0\.05 %\)`)
}

// TestSessions finds in the journal when trials were to run: not while the study
// was paused, nor between two runs of the daemon.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := newStudy(t)
	sessions := func() []journal.Session {
		t.Helper()
		r, err := journal.OpenReader(s.path("state"))
		must(t, err)
		defer r.Close()
		all, err := r.Sessions()
		must(t, err)
		return all
	}
	s.ok("run", "--trials", "1")
	s.hold()
	d := s.start("--trials", "2")
	s.training(2)
	if all := sessions(); len(all) != 2 || all[0].Ended.IsZero() || !all[1].Ended.IsZero() || all[1].Begun.Before(all[0].Ended) || all[1].Seats != 1 {
		t.Errorf("while the second runs: %+v", all)
	}
	s.ok("pause")
	s.open()
	s.poll("the session to end", func() bool { return !sessions()[1].Ended.IsZero() })
	s.hold()
	s.ok("resume")
	s.training(3)
	must(t, d.Process.Kill())
	d.end()
	all := sessions()
	if len(all) != 3 || !all[2].Ended.IsZero() || all[2].Begun.Before(all[1].Ended) {
		t.Errorf("after the daemon was killed: %+v", all)
	}
	if out := s.ok("status"); !strings.Contains(out, "state     interrupted\n") {
		t.Errorf("a study whose daemon was killed:\n%s", out)
	}
}
