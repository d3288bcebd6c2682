// Package plot draws a study as its users know it from upstream: the staircase
// of best scores over the trials.
package plot

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"autoresearchd/search"
)

// Study is what the picture shows.
type Study struct {
	Tag      string
	Baseline float64 // val_bpb; 0: none
	Trials   []Trial
	Steps    []Step // of the champions' line; none: it follows the lowest kept score
}

// Step is where the line goes on at another height.
type Step struct {
	ID     int64   // of the trial after whose end it does
	Hours  float64 // from the study's beginning to that
	ValBPB float64
}

// Trial is one mark of the picture: a candidate where it was decided.
type Trial struct {
	ID          int64   // of the trial whose end decided it
	Hours       float64 // from the study's beginning to that trial's end
	ValBPB      float64
	Runs        []float64 // whose mean ValBPB is
	Scored      bool      // ValBPB means something
	Pending     bool      // it runs again before it is decided
	Below       bool      // it lies below the line without being a gain: it is drawn as a tick
	Verdict     search.Verdict
	Description string // from anywhere: nothing in it is believed
}

// Format is how a picture is written.
type Format string

// The formats.
const (
	PNG Format = "png"
	SVG Format = "svg"
)

// FormatOf tells the format by a file's ending.
func FormatOf(file string) (Format, error) {
	switch f := Format(strings.ToLower(strings.TrimPrefix(filepath.Ext(file), "."))); f {
	case PNG, SVG:
		return f, nil
	}
	return "", fmt.Errorf("draw into %s: pictures are PNG or SVG: let the name end in .png or .svg", file)
}

// Axis is what a study runs along.
type Axis string

// The axes.
const (
	Trials Axis = "trials"
	Hours  Axis = "hours"
)

// Style says how a study is drawn.
type Style struct {
	Format Format // "": PNG
	By     Axis   // "": Trials
	Dark   bool   // light ink on dark paper
}

// The size of a picture: 1600 x 900 pixels.
const (
	width, height = 10 * vg.Inch, 5.625 * vg.Inch
	dpi           = 160
)

// palette is Okabe and Ito's: told apart with any kind of colour vision, and by
// shape where there is no colour at all.
type palette struct {
	paper, veil      color.NRGBA // veil: what labels lie on
	ink, soft, grid  color.NRGBA
	kept, discarded  color.NRGBA
	beyond, unscored color.NRGBA
}

var (
	light = palette{
		paper: color.NRGBA{0xff, 0xff, 0xff, 0xff}, veil: color.NRGBA{0xff, 0xff, 0xff, 0xd0},
		ink: color.NRGBA{0x22, 0x22, 0x22, 0xff}, soft: color.NRGBA{0x66, 0x66, 0x66, 0xff}, grid: color.NRGBA{0xe9, 0xe9, 0xe9, 0xff},
		kept: color.NRGBA{0x00, 0x72, 0xb2, 0xff}, discarded: color.NRGBA{0x8c, 0x8c, 0x8c, 0xa0},
		beyond: color.NRGBA{0x8c, 0x8c, 0x8c, 0xc0}, unscored: color.NRGBA{0xd5, 0x5e, 0x00, 0xff},
	}
	dark = palette{
		paper: color.NRGBA{0x16, 0x18, 0x1c, 0xff}, veil: color.NRGBA{0x16, 0x18, 0x1c, 0xd0},
		ink: color.NRGBA{0xe8, 0xe8, 0xe8, 0xff}, soft: color.NRGBA{0xa8, 0xa8, 0xa8, 0xff}, grid: color.NRGBA{0x30, 0x33, 0x38, 0xff},
		kept: color.NRGBA{0x56, 0xb4, 0xe9, 0xff}, discarded: color.NRGBA{0x8c, 0x8c, 0x8c, 0xa0},
		beyond: color.NRGBA{0x8c, 0x8c, 0x8c, 0xc0}, unscored: color.NRGBA{0xe6, 0x9f, 0x00, 0xff},
	}
)

// Staircase writes a picture of the study: every trial by its number (or the
// time of its end) and score, the champions' means as a line, the kept ones with
// their descriptions.
func Staircase(w io.Writer, s Study, as Style) error {
	v := newView(s, as)
	return picture(w, as.Format, v.palette, frame(v), func(c draw.Canvas) { header(c, v) })
}

// picture writes a plot with its header.
func picture(w io.Writer, as Format, colours palette, p *plot.Plot, header func(draw.Canvas)) error {
	p.BackgroundColor = colours.paper
	var canvas vg.CanvasSizer
	var write func() error
	switch as {
	case PNG, "":
		c := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dpi), vgimg.UseBackgroundColor(colours.paper))
		canvas, write = c, func() error { _, err := (vgimg.PngCanvas{Canvas: c}).WriteTo(w); return err }
	case SVG:
		c := vgsvg.New(width, height)
		canvas, write = c, func() error { return writeSVG(w, c) }
	default:
		return fmt.Errorf("write picture: unknown format %q", as)
	}
	all := draw.New(canvas)
	all.SetColor(colours.paper)
	all.Fill(all.Rectangle.Path())
	whole := draw.Crop(all, 10, -14, 6, -10)
	header(draw.Crop(whole, 0, 0, whole.Max.Y-whole.Min.Y-36, 0))
	p.Draw(draw.Crop(whole, 0, 0, 0, -40))
	if err := write(); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

// writeSVG names fonts of the same widths beside the one that was measured, as
// few machines have that one. A quote within a text is escaped, so what is
// replaced is an attribute.
func writeSVG(w io.Writer, c *vgsvg.Canvas) error {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(b.Bytes(), []byte(`style="font-family:Liberation Sans;`), []byte(`style="font-family:'Liberation Sans',Arial,Helvetica,sans-serif;`)))
	return err
}

// view is a study reduced to what is drawn.
type view struct {
	palette
	by         Axis
	unit       string  // of the horizontal axis
	scaleX     float64 // units in an hour
	last       float64 // the last trial's place on it
	tag        string
	total      int
	baseline   float64 // NaN: none
	best       float64 // NaN: none
	kept       []Trial // in order
	discarded  []Trial
	pending    []Trial
	beyond     []Trial // scored above the visible range
	crashed    []Trial
	stairs     []Trial // kept trials that lowered the best
	levels     []level // the champion's mean, where it changes
	ymin, ymax float64
}

// level is a val_bpb from some place on the horizontal axis on.
type level struct{ x, y float64 }

func newView(s Study, as Style) *view {
	v := &view{palette: light, by: as.By, unit: "trial", scaleX: 1, tag: clean(s.Tag, 24), total: len(s.Trials), baseline: math.NaN(), best: math.NaN()}
	if as.Dark {
		v.palette = dark
	}
	if finite(s.Baseline) && s.Baseline > 0 {
		v.baseline = s.Baseline
	}
	trials := slices.Clone(s.Trials)
	slices.SortStableFunc(trials, func(a, b Trial) int { return cmp.Compare(a.ID, b.ID) })
	if v.by == Hours {
		longest := 0.0
		for i := range trials {
			if !finite(trials[i].Hours) || trials[i].Hours < 0 {
				trials[i].Hours = 0
			}
			longest = max(longest, trials[i].Hours)
		}
		if v.unit = "hours since the study began"; longest < 1.5 {
			v.unit, v.scaleX = "minutes since the study began", 60
		}
	}
	var scores []float64
	for _, t := range trials {
		v.last = max(v.last, v.x(t))
		switch {
		case !t.Scored || !finite(t.ValBPB):
			v.crashed = append(v.crashed, t)
			continue
		case t.Pending:
			v.pending = append(v.pending, t)
		case t.Verdict == search.Keep:
			v.kept = append(v.kept, t)
			if !(t.ValBPB >= v.best) {
				v.best = t.ValBPB
				v.stairs = append(v.stairs, t)
			}
		default:
			v.discarded = append(v.discarded, t)
		}
		scores = append(scores, t.ValBPB)
	}
	for _, x := range s.Steps {
		if n := len(v.levels); finite(x.ValBPB) && (n == 0 || v.levels[n-1].y != x.ValBPB) {
			v.levels = append(v.levels, level{v.x(Trial{ID: x.ID, Hours: x.Hours}), x.ValBPB})
			v.best = x.ValBPB
		}
	}
	if len(v.levels) == 0 {
		for _, t := range v.stairs {
			v.levels = append(v.levels, level{v.x(t), t.ValBPB})
		}
	}
	v.scale(scores)
	hidden := func(t Trial) bool {
		if t.ValBPB <= v.ymax {
			return false
		}
		v.beyond = append(v.beyond, t)
		return true
	}
	v.discarded, v.pending = slices.DeleteFunc(v.discarded, hidden), slices.DeleteFunc(v.pending, hidden)
	return v
}

// whiskers are the candidates in sight that ran more than once.
func (v *view) whiskers() []Trial {
	return slices.DeleteFunc(slices.Concat(v.kept, v.discarded, v.pending), func(t Trial) bool { return len(t.Runs) < 2 })
}

// x is a trial's place on the horizontal axis.
func (v *view) x(t Trial) float64 {
	if v.by == Hours {
		return t.Hours * v.scaleX
	}
	return float64(t.ID)
}

// scale fits the vertical range to the kept trials, the baseline and whatever
// lies within Tukey's upper fence, so that one terrible trial flattens nothing.
func (v *view) scale(scores []float64) {
	if len(scores) == 0 {
		v.ymin, v.ymax = 0, 1
		if finite(v.baseline) {
			v.ymin, v.ymax = v.baseline-0.01, v.baseline+0.01
		}
		return
	}
	slices.Sort(scores)
	q1, q3 := scores[len(scores)/4], scores[len(scores)*3/4]
	fence := q3 + 1.5*(q3-q1)
	lo, hi := scores[0], scores[0]
	for _, y := range scores {
		if y <= fence {
			hi = y
		}
	}
	for _, t := range v.kept {
		hi = max(hi, t.ValBPB)
	}
	if finite(v.baseline) {
		lo, hi = min(lo, v.baseline), max(hi, v.baseline)
	}
	spread := hi - lo
	if least := 1e-6 + 1e-3*math.Abs(hi); spread < least {
		spread = least
	}
	// Room for labels below and for the marks at the top edge.
	v.ymin, v.ymax = lo-0.22*spread, hi+0.16*spread
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// frame makes the axes; the marks are drawn by view.
func frame(v *view) *plot.Plot {
	p := plot.New()
	switch n := v.last; {
	case v.by == Hours:
		n = max(n, 1e-3)
		p.X.Min, p.X.Max = -0.02*n, 1.03*n
	case n > 1:
		p.X.Min, p.X.Max = 1-0.02*n, 1.03*n
	default:
		p.X.Min, p.X.Max = 0.5, 1.5
	}
	p.Y.Min, p.Y.Max = v.ymin, v.ymax
	p.X.Label.Text, p.Y.Label.Text = v.unit, "val_bpb (lower is better)"
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{whole: v.by != Hours, most: 11}, ticks{most: 7}
	dress(p, v.palette)
	if v.last == 0 { // nothing to count
		p.X.Tick.Marker = plot.ConstantTicks{}
	}
	if len(v.kept)+len(v.discarded)+len(v.pending)+len(v.beyond) == 0 && !finite(v.baseline) {
		p.Y.Tick.Marker = plot.ConstantTicks{}
	}
	p.Add(v)
	return p
}

// dress gives the axes the house's look.
func dress(p *plot.Plot, in palette) {
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle = style(11, in.ink)
		a.Label.TextStyle.XAlign, a.Label.TextStyle.YAlign = text.XCenter, text.YBottom
		a.Label.Padding = 5
		x, y := a.Tick.Label.XAlign, a.Tick.Label.YAlign
		a.Tick.Label = style(10, in.soft)
		a.Tick.Label.XAlign, a.Tick.Label.YAlign = x, y
		a.LineStyle = line(in.soft, 0.6)
		a.Tick.LineStyle = line(in.soft, 0.6)
		a.Tick.Length = 3
		a.Padding = 0
	}
}

func style(size vg.Length, c color.Color) text.Style {
	f := plot.DefaultFont
	f.Variant = "Sans"
	f.Size = size
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}

func line(c color.Color, w vg.Length, dashes ...vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: w, Dashes: dashes}
}

// header writes the title and, below it, the legend.
func header(c draw.Canvas, v *view) {
	bold := style(13.5, v.ink)
	bold.Font.Weight = font.WeightBold
	bold.YAlign = text.YTop
	title := plural(v.total, "candidate")
	if v.tag != "" {
		title = v.tag + ": " + title
	}
	title += fmt.Sprintf(", %d kept", len(v.kept))
	if finite(v.best) {
		title += fmt.Sprintf(", best %.6f", v.best)
		if gain := v.baseline - v.best; finite(gain) && gain != 0 {
			title += fmt.Sprintf(" (%+.6f, %+.1f %% against the baseline)", -gain, -100*gain/v.baseline)
		}
	}
	c.FillText(bold, vg.Point{X: c.Min.X + 4, Y: c.Max.Y}, strings.ReplaceAll(title, "-", "\u2212"))

	x, y := c.Min.X+8, c.Min.Y+7
	words := style(10, v.soft)
	words.YAlign = -0.4
	entry := func(show bool, mark func(vg.Point), wide vg.Length, label string) {
		if !show {
			return
		}
		mark(vg.Point{X: x + wide/2, Y: y})
		c.FillText(words, vg.Point{X: x + wide + 4, Y: y}, label)
		x += wide + 4 + words.Width(label) + 20
	}
	stroke := func(s draw.LineStyle) func(vg.Point) {
		return func(at vg.Point) { c.StrokeLine2(s, at.X-12.5, at.Y, at.X+12.5, at.Y) }
	}
	glyph := func(g draw.GlyphStyle) func(vg.Point) {
		return func(at vg.Point) { c.DrawGlyphNoClip(g, at) }
	}
	entry(len(v.levels) > 0, stroke(v.stairLine()), 25, "champion, mean of its runs")
	entry(finite(v.baseline), stroke(v.baseLine()), 25, fmt.Sprintf("baseline %.6f", v.baseline))
	entry(len(v.kept) > 0, glyph(v.keptDot(4)), 6, "kept")
	entry(len(v.discarded) > 0, glyph(v.discardDot(3.2)), 6, "discarded")
	below := slices.ContainsFunc(v.discarded, func(t Trial) bool { return t.Below })
	entry(below, func(at vg.Point) { c.StrokeLine2(v.lucky(), at.X-3, at.Y, at.X+3, at.Y) }, 6, "discarded, below by luck")
	entry(len(v.pending) > 0, glyph(v.pendingRing(3.4)), 6, "pending")
	entry(len(v.whiskers()) > 0, func(at vg.Point) { v.whisker(c, at.X, at.Y-4, at.Y+4) }, 6, "single run")
	entry(len(v.beyond) > 0, glyph(v.beyondMark(3.4)), 6, plural(len(v.beyond), "score")+" beyond the scale")
	entry(len(v.crashed) > 0, glyph(v.crashMark(3.4)), 6, plural(len(v.crashed), "candidate")+" without a score")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func (p palette) stairLine() draw.LineStyle { return line(p.kept, 1.6) }
func (p palette) lucky() draw.LineStyle     { return line(p.discarded, 1) }
func (p palette) baseLine() draw.LineStyle  { return line(p.soft, 0.9, 4, 3) }

func (p palette) keptDot(r vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: p.kept, Radius: r, Shape: draw.CircleGlyph{}}
}

func (p palette) discardDot(r vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: p.discarded, Radius: r, Shape: draw.CircleGlyph{}}
}

func (p palette) pendingRing(r vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: p.soft, Radius: r, Shape: draw.RingGlyph{}}
}

// whisker joins single runs, a tick each.
func (p palette) whisker(c draw.Canvas, x vg.Length, runs ...vg.Length) {
	faint := line(p.discarded, 0.8)
	c.StrokeLine2(faint, x, slices.Min(runs), x, slices.Max(runs))
	for _, y := range runs {
		c.StrokeLine2(faint, x-2.5, y, x+2.5, y)
	}
}

func (p palette) beyondMark(r vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: p.beyond, Radius: r, Shape: draw.PyramidGlyph{}}
}

func (p palette) crashMark(r vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: p.unscored, Radius: r, Shape: crossGlyph{}}
}

// crossGlyph is a cross of strokes that stay visible when the picture is scaled down.
type crossGlyph struct{}

func (crossGlyph) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	r := s.Radius * 0.8
	l := line(s.Color, max(0.6, s.Radius*0.36))
	c.StrokeLine2(l, at.X-r, at.Y-r, at.X+r, at.Y+r)
	c.StrokeLine2(l, at.X-r, at.Y+r, at.X+r, at.Y-r)
}

// Plot draws grid, lines, marks and labels.
func (v *view) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	at := func(t Trial) vg.Point { return vg.Point{X: toX(v.x(t)), Y: toY(t.ValBPB)} }
	gridlines(c, p, v.grid)

	shrink := vg.Length(1) // marks of long studies are smaller
	if v.total > 60 {
		shrink = vg.Length(max(0.5, math.Sqrt(60/float64(v.total))))
	}
	for _, t := range v.discarded {
		if p := at(t); t.Below {
			c.StrokeLine2(v.lucky(), p.X-3, p.Y, p.X+3, p.Y)
		} else {
			c.DrawGlyphNoClip(v.discardDot(max(1.7, 3.2*shrink)), p)
		}
	}
	for _, t := range v.whiskers() {
		var runs []vg.Length
		for _, y := range t.Runs {
			runs = append(runs, min(max(toY(y), c.Min.Y), c.Max.Y))
		}
		v.whisker(c, toX(v.x(t)), runs...)
	}
	for _, t := range v.pending {
		c.DrawGlyphNoClip(v.pendingRing(max(2, 3.4*shrink)), at(t))
	}
	for _, t := range v.beyond {
		c.DrawGlyphNoClip(v.beyondMark(max(2, 3.4*shrink)), vg.Point{X: toX(v.x(t)), Y: c.Max.Y - 15})
	}
	for _, t := range v.crashed {
		c.DrawGlyphNoClip(v.crashMark(max(2, 3.6*shrink)), vg.Point{X: toX(v.x(t)), Y: c.Max.Y - 6})
	}
	if finite(v.baseline) {
		y := toY(v.baseline)
		c.StrokeLine2(v.baseLine(), c.Min.X, y, c.Max.X, y)
	}
	var stairs []vg.Point
	for _, l := range v.levels {
		next := vg.Point{X: toX(l.x), Y: toY(l.y)}
		if n := len(stairs); n > 0 {
			stairs = append(stairs, vg.Point{X: next.X, Y: stairs[n-1].Y})
		}
		stairs = append(stairs, next)
	}
	if n := len(stairs); n > 0 {
		stairs = append(stairs, vg.Point{X: toX(v.last), Y: stairs[n-1].Y})
		c.StrokeLines(v.stairLine(), stairs)
	}
	radius := max(2.8, 4*shrink)
	ring := draw.GlyphStyle{Color: v.paper, Radius: radius + 1, Shape: draw.CircleGlyph{}}
	for _, t := range v.kept {
		c.DrawGlyphNoClip(ring, at(t))
	}
	for _, t := range v.kept {
		c.DrawGlyphNoClip(v.keptDot(radius), at(t))
	}

	if len(v.kept)+len(v.discarded)+len(v.pending)+len(v.beyond) == 0 {
		words := style(14, v.soft)
		words.XAlign, words.YAlign = text.XCenter, text.YCenter
		c.FillText(words, c.Center(), "no trial has a score yet")
		return
	}
	for _, l := range v.labels(c, at, radius, stairs) {
		v.write(c, l, radius)
	}
}

// gridlines draws a line for each tick of the vertical axis, and the border.
func gridlines(c draw.Canvas, p *plot.Plot, grid color.Color) {
	_, toY := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(line(grid, 0.6), c.Min.X, toY(t.Value), c.Max.X, toY(t.Value))
	}
	border := line(grid, 0.6)
	c.StrokeLine2(border, c.Min.X, c.Max.Y, c.Max.X, c.Max.Y)
	c.StrokeLine2(border, c.Max.X, c.Min.Y, c.Max.X, c.Max.Y)
}

// ticks are round numbers, whole ones for a count.
type ticks struct {
	whole bool
	most  int
}

func (t ticks) Ticks(lo, hi float64) []plot.Tick {
	if !(hi > lo) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(t.most))))
	for _, f := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*f) <= float64(t.most) {
			step *= f
			break
		}
	}
	if t.whole {
		step = max(1, math.Round(step))
	}
	places := max(0, int(-math.Floor(math.Log10(step)+1e-9)))
	var all []plot.Tick
	for i := math.Ceil(lo / step); i*step <= hi; i++ {
		value := i * step
		if t.whole && value < 1 {
			continue
		}
		if value == 0 {
			value = 0 // it may be a negative one
		}
		all = append(all, plot.Tick{Value: value, Label: strconv.FormatFloat(value, 'f', places, 64)})
	}
	if t.whole && step > 1 && len(all) > 0 && all[0].Value > 1 && lo <= 1 { // counting starts at 1
		all = append([]plot.Tick{{Value: 1, Label: "1"}}, all...)
	}
	return all
}

// clean makes foreign text inert: one line of at most limit characters, without
// control, formatting (the marks that turn the writing direction are of these)
// and combining characters. What is cut off is replaced by "…".
func clean(s string, limit int) string {
	var out []rune
	blank := false
	for len(s) > 0 && len(out) <= limit {
		r, n := utf8.DecodeRuneInString(s)
		s = s[n:]
		switch {
		case unicode.IsSpace(r):
			blank = len(out) > 0
		case r == utf8.RuneError, unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.M):
		default:
			if blank {
				out = append(out, ' ')
				blank = false
			}
			out = append(out, r)
		}
	}
	if len(out) > limit {
		return strings.TrimRight(string(out[:limit-1]), " ,.;:") + "…"
	}
	return string(out)
}
