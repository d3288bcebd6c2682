package search

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Override replaces what NewSpace would read out of train.py for one constant,
// or for one element of a tuple ("ADAM_BETAS[0]"). It is one entry of
// [search.space].
type Override struct {
	Low, High *float64 // both ends belong to the range; nil: as without an override
	Log       bool     // a range is searched by ratios instead of differences
	Integer   bool     // every whole number, also where only powers of two would be tried
	Choices   []Value  // these values and no others
	Fixed     bool     // never changed
}

// Scale says how a dimension's values lie between 0 and 1.
type Scale uint8

// The scales. Grid is a list of values; the others are ranges of numbers.
const (
	Linear Scale = iota
	Log          // by ratios
	Logit        // numbers between 0 and 1 that crowd towards both: 0.95, 0.98, 0.99
	Grid
)

func (s Scale) String() string { return [...]string{"linear", "log", "logit", "grid"}[s] }

// Dimension is one axis of a Space: a constant, or one element of a tuple.
type Dimension struct {
	Name     string  // "MATRIX_LR", "ADAM_BETAS[0]"
	Constant string  // the constant's name
	Element  int     // index in the tuple, -1 for a constant that is set whole
	Start    Value   // what the champion has
	Scale    Scale   // how values lie between 0 and 1
	Low      float64 // smallest number; 0 on a Grid
	High     float64 // largest number; 0 on a Grid
	Step     float64 // numbers are whole multiples of it; 0: any, rounded to three digits
	Choices  []Value // the values of a Grid
	Ordered  bool    // neighbours on the Grid are alike (always true of a range)

	position int     // of the constant in the champion's list, to find it fast in others
	from, to float64 // ends of the range on the scale
	start    float64 // Start in [0, 1]
}

// Space is what a study searches: the constants of the champion's train.py
// that can be changed sensibly. A point is a vector in [0,1]^d, one number a
// dimension, in the order of Dimensions. The zero Space has no dimension.
type Space struct {
	dims   []Dimension
	consts []Constant
	left   []Unsearched
}

// Unsearched is a constant, or an element of a tuple, that is not searched.
type Unsearched struct {
	Name   string   // "SEED", "ADAM_BETAS[0]"
	Value  Value    // what the champion has
	Line   int      // of train.py
	Why    string   // in words
	TakeIn Override // by which it would be searched; a text's choices have "..." for those to be named
}

// NewSpace reads a search space out of train.py's constants, narrowed or
// changed by overrides. A constant that is no hyperparameter is searched only
// where an override names it. Its error joins every fault of the overrides; the
// Space is usable all the same, without the faulty ones, so that a champion
// that has lost an overridden constant need not end a study.
func NewSpace(consts []Constant, overrides map[string]Override) (Space, error) {
	s := Space{consts: slices.Clone(consts)}
	var faults []error
	used := map[string]bool{}
	for i, c := range consts {
		o, given := overrides[c.Name]
		used[c.Name] = true
		add := func(name string, v Value, c Constant, element int, o Override, given bool) {
			why := ""
			d, err := newDimension(name, v, c, o, given)
			if err != nil {
				faults = append(faults, err)
				d = natural(name, v, c)
			}
			switch {
			case given && o.Fixed:
				why = "[search.space] fixes it"
			case given:
				why = "[search.space] leaves it one value"
			case c.Why != "":
				d, why = nil, c.Why
			case isSeed(c.Name):
				d, why = nil, "it is a seed by its name: the host imposes the trial's"
			}
			if d == nil {
				s.left = append(s.left, Unsearched{name, v, c.Line, cmp.Or(why, unnatural(v)), takeIn(name, v, c)})
			}
			s.add(d, i, element)
		}
		if c.Value.Kind() != Tuple || len(o.Choices) > 0 {
			add(c.Name, c.Value, c, -1, o, given)
			continue
		}
		for k, item := range c.Value.Items() {
			name := fmt.Sprintf("%s[%d]", c.Name, k)
			used[name] = true
			element := c
			element.Text = "" // it is the whole tuple's
			if own, ok := overrides[name]; ok {
				add(name, item, element, k, own, true)
			} else {
				add(name, item, element, k, o, given)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		if !used[name] {
			faults = append(faults, unknownConstant(name, consts))
		}
	}
	return s, errors.Join(faults...)
}

// unnatural says why a value has no range of its own.
func unnatural(v Value) string {
	switch v.Kind() {
	case String:
		return "it is a text: give its choices"
	case Int:
		if v.Whole() <= 0 {
			return "a whole number that is not above 0 has no range of its own: give one"
		}
	}
	return "its name or value gives no range: give one"
}

// takeIn is an override that has a constant searched: its natural range, else
// four times more and less.
func takeIn(name string, v Value, c Constant) Override {
	if d := natural(name, v, c); d != nil {
		if d.Scale == Grid && !d.Ordered {
			if len(d.Choices) <= 2 {
				return Override{Choices: d.Choices}
			}
			return Override{Choices: []Value{v, StringValue("...")}}
		}
		low, high := d.ends()
		return Override{Low: &low, High: &high, Log: d.Scale == Log}
	}
	switch v.Kind() {
	case String:
		return Override{Choices: []Value{v, StringValue("...")}}
	case Int, Float:
		x := v.Number()
		low, high := min(x/4, 4*x), max(x/4, 4*x)
		if v.Kind() == Int {
			low, high = math.Floor(low), math.Ceil(high)
		}
		if low == high {
			high = low + 1
		}
		return Override{Low: &low, High: &high}
	}
	return Override{}
}

// Unsearched returns the constants that are not searched, in the order of
// train.py. Do not change them.
func (s Space) Unsearched() []Unsearched { return s.left }

// isSeed reports whether a constant is a seed by its name: the host imposes the
// trial's, and a lucky one is no gain.
func isSeed(name string) bool {
	const seed = "seed"
	for rest := name[strings.LastIndexByte(name, '.')+1:]; len(rest) >= len(seed); {
		end := strings.IndexAny(rest, apart)
		if end < 0 {
			return strings.EqualFold(rest, seed)
		}
		if strings.EqualFold(rest[:end], seed) {
			return true
		}
		rest = rest[end+1:]
	}
	return false
}

func (s *Space) add(d *Dimension, position, element int) {
	if d == nil {
		return
	}
	d.Constant, d.Element, d.position = s.consts[position].Name, element, position
	d.start = d.encode(d.Start)
	s.dims = append(s.dims, *d)
}

func unknownConstant(name string, consts []Constant) error {
	var have []string
	best, distance := "", len(name)
	for _, c := range consts {
		have = append(have, c.Name)
		if n := EditDistance(name, c.Name); n < distance {
			best, distance = c.Name, n
		}
	}
	if best != "" && distance <= 1+len(name)/4 {
		return fmt.Errorf("search.space.%s: train.py has no constant %s; the nearest is %s: correct the name or remove the line", name, name, best)
	}
	return fmt.Errorf("search.space.%s: train.py has no constant %s (it has %s): correct the name or remove the line", name, name, strings.Join(have, ", "))
}

// EditDistance counts the bytes to change, to put in and to take out to make b
// of a (Levenshtein). It takes the product of their lengths.
func EditDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// newDimension returns nil for a constant that is not searched.
func newDimension(name string, start Value, c Constant, o Override, given bool) (*Dimension, error) {
	if given && o.Fixed {
		return nil, nil
	}
	if given && len(o.Choices) > 0 {
		return choiceDimension(name, start, o.Choices)
	}
	d := natural(name, start, c)
	if !given || o.Low == nil && o.High == nil && !o.Log && !o.Integer {
		return d, nil
	}
	return rangeDimension(name, start, d, o)
}

func choiceDimension(name string, start Value, choices []Value) (*Dimension, error) {
	d := &Dimension{Name: name, Start: start, Scale: Grid}
	for _, v := range choices {
		converted, err := convert(v, start)
		if err != nil {
			return nil, fmt.Errorf("search.space.%s: choice %s is %s, but train.py has %s, %s: give choices of train.py's type", name, v, article(v.Kind()), start, article(start.Kind()))
		}
		if !slices.ContainsFunc(d.Choices, converted.Equal) {
			d.Choices = append(d.Choices, converted)
		}
	}
	if !slices.ContainsFunc(d.Choices, start.Equal) {
		return nil, fmt.Errorf("search.space.%s: train.py starts at %s, which is not among the choices %s: add it, or change train.py", name, start, TupleValue(choices...))
	}
	if len(d.Choices) == 1 {
		return nil, nil
	}
	if k := start.Kind(); k == Int || k == Float {
		d.Ordered = true
		slices.SortFunc(d.Choices, func(a, b Value) int {
			if a.Number() < b.Number() {
				return -1
			}
			return 1
		})
	}
	return d, nil
}

func rangeDimension(name string, start Value, d *Dimension, o Override) (*Dimension, error) {
	if k := start.Kind(); k != Int && k != Float {
		return nil, fmt.Errorf("search.space.%s: a range is for numbers, but train.py has %s, %s: give choices, or \"fixed\"", name, start, article(k))
	}
	x := start.Number()
	low, high := min(x, x/4), max(x, 4*x)
	if start.Kind() == Int {
		low, high = math.Trunc(low), math.Trunc(high)
	}
	if x == 0 {
		low, high = 0, 1
	}
	if d != nil {
		low, high = d.ends()
	}
	if o.Low != nil {
		low = *o.Low
		if o.High == nil {
			high = max(high, low)
		}
	}
	if o.High != nil {
		high = *o.High
		if o.Low == nil {
			low = min(low, high)
		}
	}
	whole := start.Kind() == Int || o.Integer
	switch {
	case math.IsNaN(low) || math.IsNaN(high) || math.IsInf(low, 0) || math.IsInf(high, 0):
		return nil, fmt.Errorf("search.space.%s: low = %s and high = %s must be finite numbers", name, number(low), number(high))
	case low > high:
		return nil, fmt.Errorf("search.space.%s: low = %s is above high = %s: swap them", name, number(low), number(high))
	case o.Log && low <= 0:
		return nil, fmt.Errorf("search.space.%s: low = %s with log = true: a logarithmic range must be above 0; raise low, or leave log out", name, number(low))
	case x < low || x > high:
		return nil, fmt.Errorf("search.space.%s: train.py starts at %s, outside low = %s to high = %s: widen the range, or change train.py", name, start, number(low), number(high))
	case whole && (low != math.Trunc(low) || high != math.Trunc(high) || math.Abs(low) > 1<<53 || math.Abs(high) > 1<<53):
		return nil, fmt.Errorf("search.space.%s: low = %s and high = %s must be whole, as train.py's %s is searched in whole numbers", name, number(low), number(high), start)
	case low == high:
		return nil, nil
	}
	if d != nil && d.Scale == Grid && !o.Integer && !o.Log {
		return powers(name, start, low, high), nil
	}
	r := &Dimension{Name: name, Start: start, Scale: Linear, Ordered: true, Low: low, High: high}
	if o.Log {
		r.Scale = Log
	}
	if whole {
		r.Step = 1
	}
	return r.ready(), nil
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func article(k Kind) string {
	if k == Int {
		return "an int"
	}
	return "a " + k.String()
}

// Dimensions returns the axes in the order of train.py. Do not change them.
func (s Space) Dimensions() []Dimension { return s.dims }

// Len is the number of dimensions.
func (s Space) Len() int { return len(s.dims) }

// Constants returns the champion's constants, searched or not. Do not change them.
func (s Space) Constants() []Constant { return s.consts }

// Start returns the champion's point.
func (s Space) Start() []float64 {
	u := make([]float64, len(s.dims))
	for i := range s.dims {
		u[i] = s.dims[i].start
	}
	return u
}

// Encode returns the point of a trial's constants. What lies outside a range
// is moved to its end; a constant that is missing, of another type or not on
// its grid counts as the champion's.
func (s Space) Encode(consts []Constant) []float64 {
	u := make([]float64, len(s.dims))
	for i := range s.dims {
		d := &s.dims[i]
		u[i] = d.start
		if v, ok := d.of(consts); ok {
			u[i] = d.encode(v)
		}
	}
	return u
}

// Decode returns the values at a point: every searched constant, tuples whole.
// Decode(Encode(c)) gives c's own values where they lie on a grid or are
// numbers of at most three digits within their range, and always the champion's.
func (s Space) Decode(u []float64) map[string]Value {
	values := make(map[string]Value, len(s.dims))
	for i := range s.dims {
		d := &s.dims[i]
		v := d.decode(u[i])
		if d.Element < 0 {
			values[d.Constant] = v
			continue
		}
		whole, ok := values[d.Constant]
		if !ok {
			whole = s.consts[d.position].Value
		}
		items := slices.Clone(whole.items)
		items[d.Element] = v
		values[d.Constant] = Value{kind: Tuple, items: items}
	}
	return values
}

// Snap moves a point to the values that it decodes to, so that two points
// that mean the same trial are equal.
func (s Space) Snap(u []float64) []float64 {
	out := make([]float64, len(u))
	for i := range s.dims {
		out[i] = s.dims[i].encode(s.dims[i].decode(u[i]))
	}
	return out
}

// Changes returns the values at a point that differ from the champion's: what
// a Proposal whose parent is the champion sets.
func (s Space) Changes(u []float64) map[string]Value {
	values := s.Decode(u)
	for i := range s.dims {
		d := &s.dims[i]
		if v, ok := values[d.Constant]; ok && v.Equal(s.consts[d.position].Value) {
			delete(values, d.Constant)
		}
	}
	return values
}

// Describe says in one line how a point differs from the champion.
func (s Space) Describe(u []float64) string {
	return Describe(s.consts, s.resolve(s.Decode(u)))
}

func (s Space) resolve(values map[string]Value) []Constant {
	to := slices.Clone(s.consts)
	for i, c := range to {
		if v, ok := values[c.Name]; ok {
			to[i].Value = v
		}
	}
	return to
}

// Fingerprint identifies the constants that a trial at a point would have;
// compare it with Fingerprint of other trials' constants.
func (s Space) Fingerprint(u []float64) uint64 {
	return Fingerprint(s.resolve(s.Decode(u)))
}

// Fingerprint identifies resolved constants by name and value, in any order.
// It is the same in every process.
func Fingerprint(consts []Constant) uint64 {
	return fingerprint(consts, func(string) bool { return true })
}

// fingerprint is Fingerprint of the constants with certain names.
func fingerprint(consts []Constant, counts func(name string) bool) uint64 {
	var sum uint64
	for i := range consts {
		if c := &consts[i]; counts(c.Name) {
			sum += hashValue(hashText(14695981039346656037, c.Name), c.Value)
		}
	}
	return sum
}

const fnvPrime = 1099511628211

func hashText(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return h
}

func hashWord(h, w uint64) uint64 {
	for range 8 {
		h = (h ^ w&0xff) * fnvPrime
		w >>= 8
	}
	return h
}

func hashValue(h uint64, v Value) uint64 {
	h = hashWord(h, uint64(v.kind)<<56|uint64(len(v.items)))
	h = hashWord(h, uint64(v.whole)^math.Float64bits(v.num+0)) // -0 + 0 is 0
	h = hashText(h, v.text)
	for _, item := range v.items {
		h = hashValue(h, item)
	}
	return h
}
