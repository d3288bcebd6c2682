package terminal

import (
	"math"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestInert(t *testing.T) {
	for in, want := range map[string]string{
		"plain text":                            "plain text",
		" a\t\r\n b ":                           "a b",
		"\x1b[31mred\x1b]0;title\x07":           "\ufffd[31mred\ufffd]0;title\ufffd",
		"\u202egnp.exe\u2066\u200f\u200b":       "\ufffdgnp.exe\ufffd\ufffd\ufffd",
		"\xff\xfe":                              "\ufffd\ufffd",
		"e\u0301" + strings.Repeat("\u0302", 9): "e\u0301\u0302",
		"\u009b31m\u2028x":                      "\ufffd31m x",
		"学习率 🚀":                                 "学习率 🚀",
	} {
		if got := Inert(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzInert(f *testing.F) {
	f.Add("a\u0301\x00\u202e\xff\x1b[1m🚀学", 7)
	f.Fuzz(func(t *testing.T, in string, width int) {
		width &= 0xff
		got := Inert(in)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\x00\n\r\t\x1b\u009b\u202e\u2066\u200f") {
			t.Errorf("%q became %q", in, got)
		}
		for _, cut := range []string{Cut(got, width), (&Terminal{}).Render(Line{{got, Red}, {"tail", Plain}}.Cut(width))} {
			if Width(cut) > width || !utf8.ValidString(cut) {
				t.Errorf("%q at %d: %q takes %d", got, width, cut, Width(cut))
			}
		}
	})
}

func TestLines(t *testing.T) {
	l := Line{{"keep ", Green}, {"学习率 up", Plain}}
	if l.Width() != 14 {
		t.Errorf("width %d", l.Width())
	}
	plain, coloured := &Terminal{}, &Terminal{Colour: true}
	for width, want := range map[int]string{20: "keep 学习率 up", 14: "keep 学习率 up", 13: "keep 学习率 …", 9: "keep 学…", 5: "keep…", 1: "…", 0: ""} {
		if got := plain.Render(l.Cut(width)); got != want {
			t.Errorf("at %d: %q, want %q", width, got, want)
		}
	}
	if got := coloured.Render(l); got != "\x1b[32mkeep \x1b[m学习率 up" {
		t.Errorf("in colours: %q", got)
	}
	if got := plain.Render(Text("a").Join(6, Text(" bcd"), Text(" too long"), Text("!"))); got != "a bcd!" {
		t.Errorf("joined %q", got)
	}
}

func TestDrawings(t *testing.T) {
	nan := math.NaN()
	ascii, wide := &Terminal{}, &Terminal{Unicode: true}
	for want, got := range map[string]string{
		"█████░░░░░": wide.Bar(0.5, 10), "....": ascii.Bar(-1, 4), "####": ascii.Bar(7, 4), "###.": ascii.Bar(0.7, 4), "": ascii.Bar(0.5, 0), "...": ascii.Bar(nan, 3),
		"█▅▁ ▁": wide.Spark([]float64{9, 7, 5, nan, 5}), "_=#": ascii.Spark([]float64{1, 2, 3}), "   ": ascii.Spark([]float64{nan, nan, math.Inf(1)}), "__": ascii.Spark([]float64{4, 4}),
		"▁▂▃▅▁▂▃▅█": wide.Spark([]float64{1, 2, 3, 4, 1, 2, 3, 4, 1e6}),
	} {
		if got != want {
			t.Errorf("drew %q, want %q", got, want)
		}
	}
}

func TestTable(t *testing.T) {
	columns := []Column{{"ID", true, 0}, {"COMMIT", false, 1}, {"DECISION", false, 0}, {"TIME", true, 2}, {"DESCRIPTION", false, 0}}
	rows := []Line{
		{{"1", Plain}, {"abcdef0", Dim}, {"keep", Green}, {"5m52s", Plain}, {"baseline", Plain}},
		{{"12", Plain}, {"abcdef1", Dim}, {"crash", Red}, {"4s", Plain}, {"学习率 -> 0.05, and then some more words", Plain}},
	}
	for width, want := range map[int]string{
		0:  "ID  COMMIT   DECISION   TIME  DESCRIPTION\n 1  abcdef0  keep      5m52s  baseline\n12  abcdef1  crash        4s  学习率 -> 0.05, and then some more words\n",
		48: "ID  COMMIT   DECISION   TIME  DESCRIPTION\n 1  abcdef0  keep      5m52s  baseline\n12  abcdef1  crash        4s  学习率 -> 0.05, a…\n",
		40: "ID  DECISION   TIME  DESCRIPTION\n 1  keep      5m52s  baseline\n12  crash        4s  学习率 -> 0.05, an…\n",
		30: "ID  DECISION  DESCRIPTION\n 1  keep      baseline\n12  crash     学习率 -> 0.05,…\n",
		12: "ID  DECISIO…\n 1  keep   …\n12  crash  …\n",
	} {
		got := ""
		for _, l := range Table(columns, rows, width, 16) {
			got += strings.TrimRight((&Terminal{}).Render(l), " ") + "\n"
		}
		if got != want {
			t.Errorf("at %d:\n%swant\n%s", width, got, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct {
		all, ctype, lang string
		want             bool
	}{{"", "", "", false}, {"", "", "C.UTF-8", true}, {"C", "", "en_US.UTF-8", false}, {"", "de_DE.utf8", "C", true}, {"POSIX", "C.UTF-8", "", false}} {
		vars := map[string]string{"LC_ALL": c.all, "LC_CTYPE": c.ctype, "LANG": c.lang}
		if got := unicodeLocale(func(name string) string { return vars[name] }); got != c.want {
			t.Errorf("%v: %v", vars, got)
		}
	}
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := Open(f)
	if w, h := out.Size(); out.Live || out.Colour || w != 80 || h != 24 {
		t.Errorf("a file is %+v of %d x %d", out, w, h)
	}
	block := out.Block()
	block.Draw([]Line{Text("a line")})
	block.Clear()
	if err := out.Print(Line{{strings.Repeat("x", 200), Red}}); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(f.Name()); string(data) != strings.Repeat("x", 200)+"\n" {
		t.Errorf("a file holds %q", data)
	}
}
