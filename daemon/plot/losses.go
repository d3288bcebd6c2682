package plot

import (
	"io"
	"math"
	"slices"

	"golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Line is a trial's training: its loss after so many counted seconds, in order.
type Line struct {
	Name    string // from anywhere: nothing in it is believed
	Seconds []float64
	Loss    []float64
}

// Losses writes a picture of the training of trials side by side. The first
// line is the one to look at.
func Losses(w io.Writer, lines []Line, as Style) error {
	v := &losses{palette: light}
	if as.Dark {
		v.palette = dark
	}
	low, high, last := math.Inf(1), math.Inf(-1), 0.0
	for _, l := range lines {
		var y []float64
		keep := Line{Name: clean(l.Name, 60)}
		for i := range min(len(l.Seconds), len(l.Loss)) {
			if finite(l.Seconds[i]) && finite(l.Loss[i]) && l.Seconds[i] >= 0 {
				keep.Seconds, keep.Loss = append(keep.Seconds, l.Seconds[i]), append(keep.Loss, l.Loss[i])
				y = append(y, l.Loss[i])
				last = max(last, l.Seconds[i])
			}
		}
		v.lines = append(v.lines, keep)
		if len(y) == 0 {
			continue
		}
		// The first steps' losses are far above all others: what lies above
		// nineteen twentieths of them is cut off.
		slices.Sort(y)
		low, high = min(low, y[0]), max(high, y[len(y)*19/20])
	}
	if !(low <= high) {
		low, high = 0, 1
	}
	spread := max(high-low, 1e-3*math.Abs(high), 1e-6)
	v.low, v.high = low-0.06*spread, high+0.1*spread
	p := plot.New()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, max(last, 1e-3), v.low, v.high
	p.X.Label.Text, p.Y.Label.Text = "counted training seconds", "training loss, as the script printed it"
	p.X.Tick.Marker, p.Y.Tick.Marker = ticks{most: 11}, ticks{most: 7}
	dress(p, v.palette)
	p.Add(v)
	return picture(w, as.Format, v.palette, p, v.header)
}

type losses struct {
	palette
	lines     []Line
	low, high float64
}

func (v *losses) stroke(i int) draw.LineStyle {
	if i == 0 {
		return line(v.kept, 1.6)
	}
	return line(v.soft, 1.1)
}

func (v *losses) header(c draw.Canvas) {
	bold := style(13.5, v.ink)
	bold.Font.Weight = font.WeightBold
	bold.YAlign = text.YTop
	c.FillText(bold, vg.Point{X: c.Min.X + 4, Y: c.Max.Y}, "training loss")
	x, y := c.Min.X+8, c.Min.Y+7
	words := style(10, v.soft)
	words.YAlign = -0.4
	for i, l := range v.lines {
		c.StrokeLine2(v.stroke(i), x, y, x+22, y)
		c.FillText(words, vg.Point{X: x + 26, Y: y}, l.Name)
		x += 26 + words.Width(l.Name) + 14
	}
}

// Plot draws the first line above the others.
func (v *losses) Plot(c draw.Canvas, p *plot.Plot) {
	gridlines(c, p, v.grid)
	toX, toY := p.Transforms(&c)
	for i := len(v.lines) - 1; i >= 0; i-- {
		var points []vg.Point
		for j, y := range v.lines[i].Loss {
			points = append(points, vg.Point{X: toX(v.lines[i].Seconds[j]), Y: toY(y)})
		}
		if len(points) > 1 {
			c.StrokeLines(v.stroke(i), c.ClipLinesXY(points)...)
		}
	}
}
