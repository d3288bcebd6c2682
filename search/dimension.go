package search

import (
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"sort"
	"strings"
)

var (
	patternText = regexp.MustCompile(`^[A-Z]{1,8}$`)
	loneCapital = regexp.MustCompile(`\b[A-Z]\b`)
	powerText   = regexp.MustCompile(`^(2\s*\*\*|1\s*<<)\s*\d+$`)
)

const maxPatterns = 64 // strings on a pattern's grid

// natural reads a dimension out of a constant as it stands in train.py; nil
// for what cannot be searched sensibly. Names are hints, no more: they tell
// shares from sizes, and identities (seeds, vocabularies) from knobs.
func natural(name string, v Value, c Constant) *Dimension {
	parts := words(c.Name)
	has := func(words ...string) bool {
		return slices.ContainsFunc(parts, func(w string) bool { return slices.Contains(words, strings.TrimRight(w, "0123456789")) })
	}
	if has("SEED", "SEEDS", "VOCAB", "FLOPS", "BUDGET", "EVAL", "PORT", "VERSION") {
		return nil
	}
	switch v.Kind() {
	case Bool:
		return &Dimension{Name: name, Start: v, Scale: Grid, Choices: []Value{BoolValue(false), BoolValue(true)}}
	case String:
		if t := v.Text(); !has("PATTERN") && !repeatsLetter(t) { // "FP", "CPU" and the like
			return nil
		}
		return pattern(name, v, c.Comment)
	case Int:
		return naturalInt(name, v, c, has("STEPS"))
	case Float:
	default:
		return nil
	}
	d := &Dimension{Name: name, Start: v, Ordered: true}
	share := has("RATIO", "FRAC", "FRACTION", "SHARE", "DROPOUT", "PROB")
	switch x := v.Number(); {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return nil
	case x > 0 && x < 1 && has("BETA", "BETAS", "MOMENTUM", "EMA"):
		// a decade of 1-x each way, near 1
		odds := x / (1 - x)
		d.Scale, d.Low, d.High = Logit, digits(odds/10/(1+odds/10), 3), 1-digits(1/(1+10*odds), 3)
	case x >= 0 && x <= 1 && share:
		d.Low, d.High = 0, min(1, max(0.3, digits(4*x, 3)))
	case x == 0 && has("DECAY"):
		d.Low, d.High = 0, 0.2
	case x == 0:
		d.Low, d.High = 0, 0.5
	case x < 0:
		d.Low, d.High = digits(3*x, 3), digits(-x, 3)
	case x < 1e-300 || x > 1e300:
		return nil
	default:
		d.Scale, d.Low, d.High = Log, digits(x/10, 3), digits(x*10, 3)
	}
	return d.ready()
}

// words are the parts of a name, in capitals: MATRIX and LR of "MATRIX_LR", of
// "--matrix-lr" and of "Settings.matrix_lr", whose class is none.
func words(name string) []string {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.FieldsFunc(strings.ToUpper(name), func(r rune) bool { return strings.ContainsRune(apart, r) })
}

// apart is what stands between the words of a name.
const apart = "_-"

func naturalInt(name string, v Value, c Constant, steps bool) *Dimension {
	n := v.Whole()
	power := n > 0 && n&(n-1) == 0
	switch {
	case n == 0 && steps:
		return (&Dimension{Name: name, Start: v, Ordered: true, Low: 0, High: 200, Step: 1}).ready()
	case n <= 0: // a flag, an index or "none": no scale to search it on
		return nil
	case power && (n >= 16 || powerText.MatchString(c.Text)):
		return powers(name, v, float64(n)/8, math.Min(float64(n)*8, 1<<62))
	case n > 1e9:
		return nil
	}
	d := &Dimension{Name: name, Start: v, Ordered: true, Scale: Log, Step: 1, Low: max(1, math.Round(float64(n)/3)), High: float64(3 * n)}
	if n >= 128 { // 640 is five times 128, and its neighbours are six and four times
		d.Step = float64(n & -n)
		for d.Step > float64(n)/4 {
			d.Step /= 2
		}
		d.Low = d.Step * math.Ceil(float64(n)/4/d.Step)
		d.High = float64(4 * n)
	}
	return d.ready()
}

// powers returns the powers of two within [low, high]; v is among them or added.
func powers(name string, v Value, low, high float64) *Dimension {
	d := &Dimension{Name: name, Start: v, Scale: Grid, Ordered: true}
	for e := range 63 {
		n := int64(1) << e
		if x := float64(n); x >= low && x <= high || n == v.Whole() {
			d.Choices = append(d.Choices, IntValue(n))
		}
	}
	if len(d.Choices) < 2 {
		return nil
	}
	return d
}

// pattern returns the strings over the letters that are seen: in the value, or
// standing alone in its comment ("S short window, L all before"). A string
// that only repeats a shorter one is left out, as such patterns are repeated
// over the layers anyway. They are ordered by the share of the last letter.
func pattern(name string, v Value, comment string) *Dimension {
	text := v.Text()
	if !patternText.MatchString(text) {
		return nil
	}
	var letters []byte
	for _, s := range append(strings.Split(text, ""), loneCapital.FindAllString(comment, -1)...) {
		if !slices.Contains(letters, s[0]) && (strings.Contains(text, s) || s != "A" && s != "I") {
			letters = append(letters, s[0])
		}
	}
	slices.Sort(letters)
	if len(letters) < 2 || len(letters) > 3 {
		return nil
	}
	words := []string{text}
	level := []string{""}
	for range max(4, len(text)) {
		var next []string
		for _, w := range level {
			for _, l := range letters {
				next = append(next, w+string(l))
			}
		}
		level = next
		for _, w := range level {
			if w != text && len(words) < maxPatterns && !repeats(w) {
				words = append(words, w)
			}
		}
	}
	last := string(letters[len(letters)-1])
	if strings.Contains(string(letters), "L") {
		last = "L"
	}
	share := func(w string) float64 { return float64(strings.Count(w, last)) / float64(len(w)) }
	sort.Slice(words, func(i, j int) bool {
		a, b := words[i], words[j]
		if share(a) != share(b) {
			return share(a) < share(b)
		}
		if len(a) != len(b) {
			return len(a) < len(b)
		}
		return a < b
	})
	d := &Dimension{Name: name, Start: v, Scale: Grid}
	for _, w := range words {
		d.Choices = append(d.Choices, StringValue(w))
	}
	return d
}

func repeatsLetter(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(s[i+1:], s[i]) >= 0 {
			return true
		}
	}
	return false
}

func repeats(w string) bool { return len(w) > 1 && strings.Contains((w + w)[1:2*len(w)-1], w) }

// ready computes the ends on the scale. Whole numbers get half a step more on
// either side, so that each has its share of [0, 1].
func (d *Dimension) ready() *Dimension {
	margin := d.Step / 2
	if d.Scale == Log && margin >= d.Low {
		margin = d.Low / 2
	}
	d.from, d.to = d.scale(d.Low-margin), d.scale(d.High+margin)
	if !(d.from < d.to) {
		return nil
	}
	return d
}

func (d *Dimension) ends() (low, high float64) {
	if d.Scale == Grid {
		return d.Choices[0].Number(), d.Choices[len(d.Choices)-1].Number()
	}
	return d.Low, d.High
}

func (d *Dimension) scale(x float64) float64 {
	switch d.Scale {
	case Log:
		return math.Log(x)
	case Logit:
		return math.Log(x / (1 - x))
	}
	return x
}

func (d *Dimension) unscale(y float64) float64 {
	switch d.Scale {
	case Log:
		return math.Exp(y)
	case Logit:
		return 1 / (1 + math.Exp(-y))
	}
	return y
}

// of finds the dimension's value in a trial's constants, if its type fits.
func (d *Dimension) of(consts []Constant) (Value, bool) {
	at := d.position
	if at >= len(consts) || consts[at].Name != d.Constant {
		at = slices.IndexFunc(consts, func(c Constant) bool { return c.Name == d.Constant })
	}
	if at < 0 {
		return Value{}, false
	}
	v := consts[at].Value
	if d.Element >= 0 {
		if d.Element >= len(v.items) {
			return Value{}, false
		}
		v = v.items[d.Element]
	}
	v, err := convert(v, d.Start)
	return v, err == nil
}

// encode returns a value of the dimension's kind as a number in [0, 1].
func (d *Dimension) encode(v Value) float64 {
	if d.Scale == Grid {
		return d.encodeChoice(v)
	}
	x := v.Number()
	switch {
	case x <= d.Low:
		x = d.Low
	case x >= d.High:
		x = d.High
	case math.IsNaN(x):
		return d.start
	}
	return min(1, max(0, (d.scale(x)-d.from)/(d.to-d.from)))
}

func (d *Dimension) encodeChoice(v Value) float64 {
	n := float64(len(d.Choices))
	at := slices.IndexFunc(d.Choices, v.Equal)
	if at < 0 && d.Ordered { // the nearest by ratio
		best := math.Inf(1)
		for i, c := range d.Choices {
			if far := math.Abs(math.Asinh(c.Number()) - math.Asinh(v.Number())); far < best {
				best, at = far, i
			}
		}
	}
	if at < 0 {
		return d.start
	}
	return (float64(at) + 0.5) / n
}

// decode returns the value at u, which is first moved into [0, 1].
func (d *Dimension) decode(u float64) Value {
	if math.IsNaN(u) {
		u = d.start
	}
	u = min(1, max(0, u))
	if d.Scale == Grid {
		return d.Choices[d.index(u)]
	}
	if math.Abs(u-d.start) < 1e-12 {
		return d.Start
	}
	x := d.round(d.unscale(d.from + u*(d.to-d.from)))
	x = min(d.High, max(d.Low, x))
	if d.Start.Kind() == Int {
		return IntValue(int64(x))
	}
	return FloatValue(x)
}

// index is the place on the grid at u.
func (d *Dimension) index(u float64) int {
	return min(len(d.Choices)-1, max(0, int(u*float64(len(d.Choices)))))
}

func (d *Dimension) round(x float64) float64 {
	switch {
	case d.Step > 0:
		return d.Step * math.Round(x/d.Step)
	case d.Scale == Log:
		return digits(x, 3)
	case d.Scale == Logit && x > 0.5:
		return digits(1-digits(1-x, 3), 12) // the second only mends 0.9650000000000001
	case d.Scale == Logit:
		return digits(x, 3)
	}
	grain := math.Pow(10, math.Floor(math.Log10(d.High-d.Low))-3)
	return digits(grain*math.Round(x/grain), 12)
}

// digits rounds to n significant digits.
func digits(x float64, n int) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	scale := math.Pow(10, float64(n-1)-math.Floor(math.Log10(math.Abs(x))))
	if math.IsInf(scale, 0) || scale == 0 {
		return x
	}
	if scale >= 1 {
		return math.Round(x*scale) / scale
	}
	unit := math.Round(1 / scale)
	return math.Round(x/unit) * unit
}

// Notch is the smallest move in [0, 1] that changes the value at u: a place on
// a grid, a whole number. It is 0 where any move does.
func (d *Dimension) Notch(u float64) float64 {
	switch {
	case d.Scale == Grid:
		return 1 / float64(len(d.Choices))
	case d.Step > 0:
		x := d.decode(u).Number()
		up := d.encode(FloatValue(min(d.High, x+d.Step))) - d.encode(FloatValue(x))
		down := d.encode(FloatValue(x)) - d.encode(FloatValue(max(d.Low, x-d.Step)))
		return max(up, down)
	}
	return 0
}

// Sample draws a value uniformly on the dimension's scale.
func (d *Dimension) Sample(r *rand.Rand) float64 { return r.Float64() }

// Mutate draws a neighbour of u: by scale, in parts of the whole range, for
// what is ordered; one letter changed, added or taken away for a pattern; any
// other choice for the rest. It always changes the value.
func (d *Dimension) Mutate(r *rand.Rand, u, scale float64) float64 {
	if d.Scale == Grid && !d.Ordered {
		return d.mutateChoice(r, u)
	}
	old := d.decode(u)
	reach := max(scale, 0.75*d.Notch(u))
	for range 30 {
		v := u + reach*r.NormFloat64()
		if v < 0 {
			v = min(1, -v)
		}
		if v > 1 {
			v = max(0, 2-v)
		}
		if !d.decode(v).Equal(old) {
			return v
		}
		reach *= 1.2
	}
	if u < 0.5 {
		return 1
	}
	return 0
}

func (d *Dimension) mutateChoice(r *rand.Rand, u float64) float64 {
	at := d.index(u)
	var near []int
	if d.Start.Kind() == String {
		for i, c := range d.Choices {
			if i != at && EditDistance(d.Choices[at].Text(), c.Text()) == 1 {
				near = append(near, i)
			}
		}
	}
	to := 0
	if len(near) > 0 {
		to = near[r.IntN(len(near))]
	} else if to = r.IntN(len(d.Choices) - 1); to >= at {
		to++
	}
	return (float64(to) + 0.5) / float64(len(d.Choices))
}

// Sample draws a point uniformly.
func (s Space) Sample(r *rand.Rand) []float64 {
	u := make([]float64, len(s.dims))
	for i := range s.dims {
		u[i] = s.dims[i].Sample(r)
	}
	return u
}
