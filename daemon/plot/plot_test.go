package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"autoresearchd/search"
)

var out = flag.String("out", "", "folder that the pictures are written into, to look at them")

var ideas = []string{
	"MATRIX_LR 0.04 -> 0.052", "DEPTH 2 -> 3", "halve the batch", "longer warmdown, smaller floor", "EMBEDDING_LR 0.9 -> 0.7",
	"ADAM_BETAS (0.8, 0.95) -> (0.82, 0.96)", "value embeddings decay a little", "init scale times 0.68", "rotary base 200000, short windows throughout",
}

// simulated is a study of n trials with crashes, plateaus and terrible scores.
func simulated(n int) Study {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	s := Study{Tag: "nov23", Baseline: 0.9979}
	best := s.Baseline
	for i := range n {
		t := Trial{ID: int64(i + 1), Hours: 0.1 * float64(i+1), Scored: true, Verdict: search.Discard, Description: ideas[r.IntN(len(ideas))]}
		switch {
		case i == 0:
			t.ValBPB, t.Verdict, t.Description = best, search.Keep, "baseline"
		case r.Float64() < 0.06:
			t.Scored, t.Verdict = false, search.Crash
		case r.Float64() < 0.03:
			t.ValBPB = 1.4 + r.Float64()
		default:
			t.ValBPB = best - 0.004*math.Exp(-float64(i)/60) + 0.006*math.Abs(r.NormFloat64()) - 0.0002
			if t.ValBPB < best {
				best, t.Verdict = t.ValBPB, search.Keep
			}
		}
		s.Trials = append(s.Trials, t)
	}
	return s
}

func draws(t *testing.T, name string, s Study) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := Staircase(&b, s, Style{}); err != nil {
		t.Fatal(err)
	}
	if *out != "" {
		if err := os.WriteFile(filepath.Join(*out, name+".png"), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size != (image.Point{1600, 900}) {
		t.Fatalf("size %v", size)
	}
	return img
}

// count tells how many pixels have nearly this colour.
func count(img image.Image, c color.NRGBA) int {
	n := 0
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			near := func(a uint32, b uint8) bool { return math.Abs(float64(a>>8)-float64(b)) < 8 }
			if near(r, c.R) && near(g, c.G) && near(b, c.B) {
				n++
			}
		}
	}
	return n
}

func TestStudies(t *testing.T) {
	for _, n := range []int{1, 2, 8, 30, 100, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := simulated(n)
			img := draws(t, fmt.Sprint(n), s)
			if count(img, light.kept) < 100 {
				t.Error("no kept trial is visible")
			}
			crashes := 0
			for _, tr := range s.Trials {
				if !tr.Scored {
					crashes++
				}
			}
			if got := count(img, light.unscored); (got > 0) != (crashes > 0) {
				t.Errorf("%d crashes, %d pixels of their colour", crashes, got)
			}
		})
	}
}

// TestStyles draws one study in every way; an SVG is well-formed XML whose text
// is text.
func TestStyles(t *testing.T) {
	for _, name := range []string{"study.png", "dark.PNG", "hours.png", "study.svg", "dark.svg"} {
		s := simulated(40)
		for i := range s.Trials {
			s.Trials[i].Description = `</text><script>alert("1")</script>`
		}
		format, err := FormatOf(name)
		if err != nil {
			t.Fatal(err)
		}
		as := Style{Format: format, By: Trials, Dark: strings.HasPrefix(name, "dark")}
		if strings.HasPrefix(name, "hours") {
			as.By = Hours
		}
		var b bytes.Buffer
		if err := Staircase(&b, s, as); err != nil {
			t.Fatal(err)
		}
		if *out != "" {
			if err := os.WriteFile(filepath.Join(*out, "style-"+name), b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if format == PNG {
			img, err := png.Decode(&b)
			if err != nil {
				t.Fatal(err)
			}
			paper := light.paper
			if as.Dark {
				paper = dark.paper
			}
			if n := count(img, paper); n < 1600*900/2 {
				t.Errorf("%s: %d pixels of paper", name, n)
			}
			continue
		}
		said := ""
		d := xml.NewDecoder(&b)
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				if e.Name.Local == "script" || e.Name.Local == "image" {
					t.Errorf("%s has an element %s", name, e.Name.Local)
				}
			case xml.CharData:
				said += string(e)
			}
		}
		if !strings.Contains(said, `</text><script>alert("1")`) || !strings.Contains(said, "nov23: 40 candidates") {
			t.Errorf("%s says %q", name, strings.Fields(said))
		}
	}
	for _, name := range []string{"study.jpg", "png", "study.svg.gz", ""} {
		if _, err := FormatOf(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	if err := Staircase(io.Discard, Study{}, Style{Format: "gif"}); err == nil {
		t.Error("a GIF was drawn")
	}
}

func TestLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	made := func(name string, end float64) Line {
		l := Line{Name: name}
		for i := range 300 {
			l.Seconds = append(l.Seconds, float64(i))
			l.Loss = append(l.Loss, end+7*math.Exp(-float64(i)/12)+0.05*r.NormFloat64())
		}
		return l
	}
	for name, lines := range map[string][]Line{
		"two":      {made("champion, trial 31", 2.5), made("trial 1\x1b[31m", 2.8)},
		"none":     nil,
		"empty":    {{Name: "champion"}, {Name: "one point", Seconds: []float64{3}, Loss: []float64{2}}},
		"nonsense": {{Name: "x", Seconds: []float64{0, math.NaN(), 2, -1, 5}, Loss: []float64{math.Inf(1), 1, 2, 3}}},
	} {
		for _, as := range []Style{{Format: PNG, Dark: true}, {Format: SVG}} {
			var b bytes.Buffer
			if err := Losses(&b, lines, as); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if *out != "" {
				if err := os.WriteFile(filepath.Join(*out, "losses-"+name+"."+string(as.Format)), b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if as.Format == SVG && (!strings.Contains(b.String(), ">training loss<") || strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "\x1b")) {
				t.Errorf("%s: %s", name, b.String())
			}
			if as.Format == PNG && name == "two" {
				img, err := png.Decode(&b)
				if err != nil {
					t.Fatal(err)
				}
				if count(img, dark.kept) < 1000 || count(img, dark.soft) < 1000 {
					t.Error("a line is not to be seen")
				}
			}
		}
	}
}

func TestHoursStart(t *testing.T) {
	s := simulated(3)
	s.Trials[0].Hours, s.Trials[1].Hours = math.NaN(), -4
	v := newView(s, Style{By: Hours})
	if v.x(v.kept[0]) != 0 || v.unit != "minutes since the study began" || math.Abs(v.last-18) > 1e-9 {
		t.Errorf("from %g to %g %s", v.x(v.kept[0]), v.last, v.unit)
	}
	s.Trials[2].Hours = 9
	if v := newView(s, Style{By: Hours}); v.last != 9 || v.unit != "hours since the study began" {
		t.Errorf("to %g %s", v.last, v.unit)
	}
}

// TestLevels follows what is known of the champion, which is not its luckiest
// run.
func TestLevels(t *testing.T) {
	s := simulated(3)
	for i, y := range []float64{0.9979, 0.98, 0.984} {
		s.Trials[i].Scored, s.Trials[i].ValBPB, s.Trials[i].Verdict = true, y, search.Keep
		s.Steps = append(s.Steps, Step{ID: int64(i + 1), ValBPB: []float64{0.9979, 0.985, 0.985}[i]})
	}
	v := newView(s, Style{})
	if len(v.levels) != 2 || v.levels[1] != (level{2, 0.985}) || v.best != 0.985 {
		t.Errorf("levels %v, best %g", v.levels, v.best)
	}
	s.Steps = nil
	if v = newView(s, Style{}); len(v.levels) != 2 || v.levels[1] != (level{2, 0.98}) || v.best != 0.98 {
		t.Errorf("levels %v, best %g", v.levels, v.best)
	}
}

// TestLabelsDoNotOverlap looks at the labels of studies that keep much.
// TestRunsAndPending has a whisker for what ran more than once, a ring for what is
// to run again, and says so in the legend; a study without them has neither.
func TestRunsAndPending(t *testing.T) {
	s := Study{Baseline: 1, Trials: []Trial{
		{ID: 1, ValBPB: 1, Scored: true, Verdict: search.Keep, Runs: []float64{1}},
		{ID: 3, ValBPB: 0.98, Scored: true, Verdict: search.Keep, Runs: []float64{0.97, 0.99}},
		{ID: 4, ValBPB: 0.975, Scored: true, Pending: true, Runs: []float64{0.975}},
	}}
	v := newView(s, Style{})
	if w := v.whiskers(); len(w) != 1 || w[0].ID != 3 || len(v.pending) != 1 || v.pending[0].ID != 4 || len(v.kept) != 2 || v.best != 0.98 {
		t.Errorf("whiskers %v, pending %v, kept %v, best %v", w, v.pending, v.kept, v.best)
	}
	words := func(s Study) string {
		var b bytes.Buffer
		if err := Staircase(&b, s, Style{Format: SVG}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	draws(t, "runs", s)
	for _, word := range []string{"single run", "pending"} {
		if with, without := words(s), words(Study{Baseline: 1, Trials: s.Trials[:1]}); !strings.Contains(with, word) || strings.Contains(without, word) {
			t.Errorf("the legend on %q is wrong", word)
		}
	}
}

func TestLabelsDoNotOverlap(t *testing.T) {
	for _, n := range []int{8, 30, 100, 300} {
		s := simulated(n)
		for i := range s.Trials {
			if i%3 == 0 {
				s.Trials[i].Scored, s.Trials[i].Verdict, s.Trials[i].ValBPB = true, search.Keep, 1-0.05*math.Log(float64(i+1))
			}
		}
		for _, by := range []Axis{Trials, Hours} {
			v := newView(s, Style{By: by})
			p := frame(v)
			c := draw.Crop(draw.New(vgimg.New(width, height)), 40, -14, 30, -40)
			toX, toY := p.Transforms(&c)
			all := v.labels(c, func(t Trial) vg.Point { return vg.Point{X: toX(v.x(t)), Y: toY(t.ValBPB)} }, 4, nil)
			if len(all) < min(3, n/4) {
				t.Errorf("%d trials by %s: %d labels", n, by, len(all))
			}
			for i := range all {
				for j := range i {
					if all[i].box.touches(all[j].box) {
						t.Errorf("%d trials by %s: %q lies on %q", n, by, all[i].name, all[j].name)
					}
				}
			}
		}
	}
}

func TestNothingScored(t *testing.T) {
	for name, s := range map[string]Study{
		"empty":    {},
		"started":  {Tag: "nov23", Baseline: 0.9979},
		"crashes":  {Tag: "nov23", Trials: []Trial{{ID: 1, Verdict: search.Crash}, {ID: 2, Verdict: search.Crash}}},
		"nonsense": {Baseline: math.Inf(1), Trials: []Trial{{ID: 1, Scored: true, ValBPB: math.NaN(), Verdict: search.Keep}, {ID: 2, Scored: true, ValBPB: math.Inf(1)}}},
	} {
		if img := draws(t, name, s); count(img, light.soft) < 500 {
			t.Errorf("%s: the frame does not say that it is empty", name)
		}
	}
}

func TestEqualScores(t *testing.T) {
	s := Study{Baseline: 1}
	for i := range 5 {
		s.Trials = append(s.Trials, Trial{ID: int64(i + 1), ValBPB: 1, Scored: true, Verdict: search.Keep, Description: "the same"})
	}
	draws(t, "equal", s)
}

func TestOneTerribleTrialFlattensNothing(t *testing.T) {
	s := simulated(30)
	s.Trials = append(s.Trials, Trial{ID: 31, ValBPB: 1e6, Scored: true, Verdict: search.Discard})
	v := newView(s, Style{})
	if v.ymax > 1.2 {
		t.Errorf("the range goes up to %g", v.ymax)
	}
	if n := len(v.beyond); n == 0 || v.beyond[n-1].ID != 31 {
		t.Errorf("beyond the scale: %v", v.beyond)
	}
}

func TestDescriptionsAreInert(t *testing.T) {
	s := simulated(8)
	hostile := []string{
		"<b>bold</b> & $x^2$ \\frac{1}{2} `code` **strong**", "\x1b[31mred\x1b[0m\x00\r\nnew line\ttab", "\u202egnirts desrever\u202c \u200f\u2066x",
		strings.Repeat("ten kB ", 1500), strings.Repeat("a\u0301\u0302\u0303", 40), "\xff\xfe\x80broken", "", "Größe → 学习率 🚀",
	}
	for i := range s.Trials {
		s.Trials[i].Description = hostile[i]
		s.Trials[i].Scored, s.Trials[i].Verdict, s.Trials[i].ValBPB = true, search.Keep, 1-0.01*float64(i)
	}
	s.Tag = strings.Repeat("\u202etag\n", 3000)
	draws(t, "hostile", s)
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                      "",
		" a \t\n b ":            "a b",
		"\x1b[31mred\x00":       "[31mred",
		"\u202eabc\u2066\u200b": "abc",
		"e\u0301\u0302x":        "ex",
		"\xff\xfex":             "x",
		"twelve chars":          "twelve chars",
		"thirteen char":         "thirteen ch…",
		"eleven, and, more":     "eleven, and…",
	} {
		if got := clean(in, 12); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\u0301\x00\u202e\xff", 5)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		limit = 2 + limit&0xff
		got := clean(in, limit)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > limit || strings.ContainsAny(got, "\x00\n\r\x1b\u202e\u2066") {
			t.Errorf("%q at %d: %q", in, limit, got)
		}
	})
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		whole  bool
		lo, hi float64
		want   string
	}{
		{true, 0.5, 1.5, "1"},
		{true, 0.9, 8.2, "1 2 3 4 5 6 7 8"},
		{true, -19, 1030, "1 100 200 300 400 500 600 700 800 900 1000"},
		{false, 0.9687, 1.0012, "0.970 0.975 0.980 0.985 0.990 0.995 1.000"},
		{false, 0.99781, 0.99799, "0.99782 0.99784 0.99786 0.99788 0.99790 0.99792 0.99794 0.99796 0.99798"},
		{false, 1, 1, ""},
	} {
		var got []string
		for _, tick := range (ticks{c.whole, 11}).Ticks(c.lo, c.hi) {
			got = append(got, tick.Label)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%g to %g: %s, want %s", c.lo, c.hi, s, c.want)
		}
	}
}

func TestBoxes(t *testing.T) {
	flat := boxAt(place{anchor: 1}, vg.Point{X: 10, Y: 10}, 9, 40, 6)
	if !flat.holds(vg.Point{X: 30, Y: 10}, 0) || flat.holds(vg.Point{X: 10, Y: 10}, 0) {
		t.Error("a label to the right covers its own mark or nothing")
	}
	up := boxAt(place{anchor: 1, angle: math.Pi / 2, toward: math.Pi / 2}, vg.Point{X: 10, Y: 10}, 9, 40, 6)
	if !up.holds(vg.Point{X: 10, Y: 30}, 0) || up.holds(vg.Point{X: 30, Y: 10}, 0) {
		t.Error("a label that goes up lies elsewhere")
	}
	if flat.touches(up) || !flat.touches(flat) || !flat.touches(boxAt(place{anchor: 1, angle: 30 * degree}, vg.Point{X: 10, Y: 10}, 5, 40, 6)) {
		t.Error("touching boxes are not told from others")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWriteError(t *testing.T) {
	err := Staircase(full{}, simulated(2), Style{})
	if err == nil || err.Error() != "write picture: no space left on device" {
		t.Error(err)
	}
}

func BenchmarkStaircase(b *testing.B) {
	s := simulated(1000)
	for b.Loop() {
		if err := Staircase(new(bytes.Buffer), s, Style{}); err != nil {
			b.Fatal(err)
		}
	}
}
