package plot

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gonum.org/v1/plot/vg"

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
		t := Trial{ID: int64(i + 1), Scored: true, Verdict: search.Discard, Description: ideas[r.IntN(len(ideas))]}
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
	if err := Staircase(&b, s); err != nil {
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
			if count(img, keptInk) < 100 {
				t.Error("no kept trial is visible")
			}
			crashes := 0
			for _, tr := range s.Trials {
				if !tr.Scored {
					crashes++
				}
			}
			if got := count(img, crashed); (got > 0) != (crashes > 0) {
				t.Errorf("%d crashes, %d pixels of their colour", crashes, got)
			}
		})
	}
}

func TestNothingScored(t *testing.T) {
	for name, s := range map[string]Study{
		"empty":    {},
		"started":  {Tag: "nov23", Baseline: 0.9979},
		"crashes":  {Tag: "nov23", Trials: []Trial{{ID: 1, Verdict: search.Crash}, {ID: 2, Verdict: search.Crash}}},
		"nonsense": {Baseline: math.Inf(1), Trials: []Trial{{ID: 1, Scored: true, ValBPB: math.NaN(), Verdict: search.Keep}, {ID: 2, Scored: true, ValBPB: math.Inf(1)}}},
	} {
		if img := draws(t, name, s); count(img, soft) < 500 {
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
	v := newView(s)
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
	err := Staircase(full{}, simulated(2))
	if err == nil || err.Error() != "write picture: no space left on device" {
		t.Error(err)
	}
}

func BenchmarkStaircase(b *testing.B) {
	s := simulated(1000)
	for b.Loop() {
		if err := Staircase(new(bytes.Buffer), s); err != nil {
			b.Fatal(err)
		}
	}
}
