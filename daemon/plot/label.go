package plot

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	labelChars = 34
	mostLabels = 24
)

// place is a way to put a label beside its mark.
type place struct {
	angle  float64 // of the writing, radians
	toward float64 // where the label lies from the mark, radians
	anchor float64 // what of the label is nearest: 1 its beginning, 0 its middle, -1 its end
	away   float64 // from the mark's edge
	cost   float64 // what the place costs by itself: far or steep is harder to read
}

const (
	degree = math.Pi / 180
	far    = 25 // at this distance a label is tied to its mark by a line
)

var places = []place{
	{0, 0, 1, 5, 0},
	{0, -50 * degree, 1, 5, 0.2},
	{0, 225 * degree, -1, 5, 0.3},
	{0, 45 * degree, 1, 5, 0.4},
	{0, 180 * degree, -1, 5, 0.6},
	{0, -90 * degree, 0, 12, 0.7},
	{0, -90 * degree, -0.7, 12, 0.8},
	{0, -90 * degree, 0.7, 12, 0.8},
	{30 * degree, 35 * degree, 1, 6, 1},
	{30 * degree, 205 * degree, -1, 6, 1},
	{30 * degree, 70 * degree, 1, 7, 1.2},
	{0, -90 * degree, -0.85, far, 1.8},
	{0, -90 * degree, 0.85, far, 1.8},
	{0, -90 * degree, -0.85, far + 13, 2.4},
	{-30 * degree, -30 * degree, 1, 5, 3},
}

// box is a rectangle at an angle: a centre, half its sizes, and its own axes.
type box struct {
	cx, cy, w, h float64
	cos, sin     float64
}

// local gives a point in the box's own axes.
func (b box) local(p vg.Point) (x, y float64) {
	dx, dy := float64(p.X)-b.cx, float64(p.Y)-b.cy
	return dx*b.cos + dy*b.sin, -dx*b.sin + dy*b.cos
}

func (b box) corners() [4]vg.Point {
	var out [4]vg.Point
	for i, s := range [4][2]float64{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}} {
		x, y := s[0]*b.w, s[1]*b.h
		out[i] = vg.Point{X: vg.Length(b.cx + x*b.cos - y*b.sin), Y: vg.Length(b.cy + x*b.sin + y*b.cos)}
	}
	return out
}

// holds reports whether a disc of this radius touches the box.
func (b box) holds(p vg.Point, radius float64) bool {
	x, y := b.local(p)
	return math.Abs(x) <= b.w+radius && math.Abs(y) <= b.h+radius
}

// touches is the separating axis test of two boxes.
func (b box) touches(o box) bool {
	apart := func(p, q box) bool {
		loX, hiX, loY, hiY := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
		for _, c := range q.corners() {
			x, y := p.local(c)
			loX, hiX, loY, hiY = min(loX, x), max(hiX, x), min(loY, y), max(hiY, y)
		}
		return loX > p.w || hiX < -p.w || loY > p.h || hiY < -p.h
	}
	return !apart(b, o) && !apart(o, b)
}

// label is a name at its place.
type label struct {
	name  string
	mark  vg.Point
	place place
	box   box
}

// labels names the kept trials, those that gained most first, each at the place
// that hides least; one that would cover another label or leave the frame is
// left out.
func (v *view) labels(c draw.Canvas, at func(Trial) vg.Point, radius vg.Length, stairs []vg.Point) []label {
	gain := map[int64]float64{}
	for i, t := range v.stairs {
		if i > 0 {
			gain[t.ID] = v.stairs[i-1].ValBPB - t.ValBPB
		}
	}
	order := slices.Clone(v.kept)
	if n := len(v.stairs); n > 0 {
		gain[v.stairs[n-1].ID] = math.Inf(1) // the champion
	}
	slices.SortStableFunc(order, func(a, b Trial) int { return cmp.Compare(gain[b.ID], gain[a.ID]) })
	if len(order) > mostLabels {
		order = order[:mostLabels]
	}
	words := style(10, v.ink)
	words.YAlign = text.YCenter
	var taken []box
	var all []label
	for _, t := range order {
		name := clean(t.Description, labelChars)
		if name == "" {
			continue
		}
		mark := at(t)
		wide := float64(words.Width(name))
		bestCost := math.Inf(1)
		var bestBox box
		var bestPlace place
		for _, pl := range places {
			b := boxAt(pl, mark, float64(radius), wide, 6.2)
			if pl.away >= far && slices.ContainsFunc(taken, tie(mark, b).touches) {
				continue
			}
			if cost := pl.cost + v.hides(b, c, at, mark, stairs, taken); cost < bestCost {
				bestCost, bestBox, bestPlace = cost, b, pl
			}
		}
		if math.IsInf(bestCost, 1) {
			continue
		}
		taken = append(taken, bestBox)
		if bestPlace.away >= far {
			taken = append(taken, tie(mark, bestBox))
		}
		all = append(all, label{name, mark, bestPlace, bestBox})
	}
	return all
}

// write writes a label.
func (v *view) write(c draw.Canvas, l label, radius vg.Length) {
	corners := l.box.corners()
	c.FillPolygon(v.veil, corners[:])
	if l.place.away >= far {
		c.StrokeLine2(line(v.soft, 0.5), l.mark.X, l.mark.Y-radius-2, l.mark.X, vg.Length(l.box.cy+l.box.h))
	}
	s := style(10, v.ink)
	s.YAlign = text.YCenter
	s.Rotation = l.place.angle
	s.XAlign = text.XCenter
	c.FillText(s, vg.Point{X: vg.Length(l.box.cx - 1.2*l.box.sin), Y: vg.Length(l.box.cy + 1.2*l.box.cos)}, l.name)
}

// boxAt is where a label of this width would lie.
func boxAt(p place, mark vg.Point, radius, wide, half float64) box {
	b := box{w: wide/2 + 1.5, h: half, cos: math.Cos(p.angle), sin: math.Sin(p.angle)}
	away := radius + p.away
	x := float64(mark.X) + away*math.Cos(p.toward)
	y := float64(mark.Y) + away*math.Sin(p.toward)
	along := p.anchor * b.w
	b.cx, b.cy = x+along*b.cos, y+along*b.sin
	return b
}

// tie is the line from a mark down to its label, as a box.
func tie(mark vg.Point, label box) box {
	half := (float64(mark.Y) - label.cy - label.h) / 2
	return box{cx: float64(mark.X), cy: float64(mark.Y) - half, w: 1, h: half, cos: 1}
}

// hides is what a label in this box would cost: infinite where it leaves the
// frame, covers a label or a kept mark.
func (v *view) hides(b box, c draw.Canvas, at func(Trial) vg.Point, own vg.Point, stairs []vg.Point, taken []box) float64 {
	for _, p := range b.corners() {
		if p.X < c.Min.X+2 || p.X > c.Max.X-2 || p.Y < c.Min.Y+2 || p.Y > c.Max.Y-12 {
			return math.Inf(1)
		}
	}
	for _, o := range taken {
		if b.touches(o) {
			return math.Inf(1)
		}
	}
	cost := 0.0
	for _, t := range v.kept {
		if p := at(t); p != own && b.holds(p, 2.5) {
			return math.Inf(1)
		}
	}
	for _, t := range v.discarded {
		if b.holds(at(t), 1.5) {
			cost += 0.35
		}
	}
	for i := 1; i < len(stairs); i++ {
		p, q := stairs[i-1], stairs[i]
		length := math.Hypot(float64(q.X-p.X), float64(q.Y-p.Y))
		for d := 0.0; d <= length; d += 3 {
			f := vg.Length(d / max(length, 1e-9))
			if b.holds(vg.Point{X: p.X + (q.X-p.X)*f, Y: p.Y + (q.Y-p.Y)*f}, 0.5) {
				cost += 0.3
			}
		}
	}
	return cost
}
