package plot

import (
	"image/color"
	"io"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Comparison is a picture of what strategies came to.
type Comparison struct {
	Title  string
	YLabel string
	Curves []Curve
}

// Curve is a mean after each trial, from the first on, with what is within its
// interval.
type Curve struct {
	Name string
	Mean []float64
	Half []float64 // half of the interval; NaN: unknown
}

// Okabe and Ito's palette, and the dashes of a second round.
var curveInks = []color.NRGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x22, 0x22, 0x22, 0xff},
}

func curveLine(i int) draw.LineStyle {
	l := line(curveInks[i%len(curveInks)], 1.6)
	if i >= len(curveInks) {
		l.Dashes = []vg.Length{4, 2.5}
	}
	return l
}

// Curves writes a PNG of a comparison: a line for each strategy over the number
// of trials, its interval in the same colour, on a logarithmic scale.
func Curves(w io.Writer, c Comparison) error {
	v := &curves{Comparison: c, low: math.Inf(1), high: math.Inf(-1)}
	for _, curve := range c.Curves {
		v.last = max(v.last, len(curve.Mean))
		for _, y := range curve.Mean {
			if finite(y) && y > 0 {
				v.low, v.high = math.Min(v.low, y), math.Max(v.high, y)
			}
		}
	}
	if !(v.low <= v.high) {
		v.low, v.high = 0.1, 1
	}
	v.low, v.high = v.low*0.85, v.high*1.12
	p := plot.New()
	p.X.Min, p.X.Max = 1, float64(max(v.last, 2))
	p.Y.Min, p.Y.Max, p.Y.Scale = v.low, v.high, plot.LogScale{}
	p.X.Label.Text, p.Y.Label.Text = "trial", c.YLabel
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{whole: true, most: 11}, logTicks{}
	dress(p, light)
	p.Add(v)
	return picture(w, PNG, light, p, v.header)
}

type curves struct {
	Comparison
	last      int
	low, high float64
}

// header writes the title and, below it, the legend.
func (v *curves) header(c draw.Canvas) {
	bold := style(13.5, light.ink)
	bold.Font.Weight = font.WeightBold
	bold.YAlign = text.YTop
	c.FillText(bold, vg.Point{X: c.Min.X + 4, Y: c.Max.Y}, clean(v.Title, 110))
	x, y := c.Min.X+8, c.Min.Y+7
	words := style(10, light.soft)
	words.YAlign = -0.4
	for i, curve := range v.Curves {
		name := clean(curve.Name, 24)
		c.StrokeLine2(curveLine(i), x, y, x+22, y)
		c.FillText(words, vg.Point{X: x + 26, Y: y}, name)
		x += 26 + words.Width(name) + 14
	}
}

// Plot draws the intervals below all lines.
func (v *curves) Plot(c draw.Canvas, p *plot.Plot) {
	gridlines(c, p, light.grid)
	toX, toY := p.Transforms(&c)
	at := func(i int, y float64) vg.Point {
		return vg.Point{X: toX(float64(i + 1)), Y: toY(math.Min(v.high, math.Max(v.low, y)))}
	}
	for n, curve := range v.Curves {
		tint := curveInks[n%len(curveInks)]
		tint.A = 0x28
		var upper, lower []vg.Point
		for i, y := range curve.Mean {
			if i < len(curve.Half) && finite(curve.Half[i]) && finite(y) {
				upper = append(upper, at(i, y+curve.Half[i]))
				lower = append(lower, at(i, y-curve.Half[i]))
			}
		}
		for i := len(lower) - 1; i >= 0; i-- {
			upper = append(upper, lower[i])
		}
		if len(upper) > 2 {
			c.FillPolygon(tint, upper)
		}
	}
	for n, curve := range v.Curves {
		var points []vg.Point
		for i, y := range curve.Mean {
			if finite(y) {
				points = append(points, at(i, y))
			}
		}
		if len(points) > 1 {
			c.StrokeLines(curveLine(n), points)
		}
	}
}

// logTicks are 1, 2 and 5 of each decade.
type logTicks struct{}

func (logTicks) Ticks(lo, hi float64) []plot.Tick {
	var all []plot.Tick
	few := math.Log10(hi/lo) > 3
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
		for _, f := range []float64{1, 2, 5} {
			y := f * math.Pow(10, e)
			if y >= lo && y <= hi && (f == 1 || !few) {
				all = append(all, plot.Tick{Value: y, Label: strconv.FormatFloat(y, 'g', 3, 64)})
			}
		}
	}
	return all
}
