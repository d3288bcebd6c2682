package constraint

import (
	"math"
	"slices"

	"autoresearchd/search"
)

const strides = 12 // from a proposal's value to the champion's

// repair moves constants towards the champion's, the one first whose move
// lowers the risk most, until the trial fits. It returns what to set, the
// mended trial, and the names of the constants that still differ from the
// champion's; nil if even the champion's constants would not do.
func (m *model) repair(t search.Trial, doubt float64) (values map[string]search.Value, mended search.Trial, left []string) {
	mended = t
	mended.Constants = slices.Clone(t.Constants)
	values = map[string]search.Value{}
	tried := map[string]bool{}
	for m.risk(mended.Constants).chance > doubt {
		name, least := "", math.Inf(1)
		for _, c := range mended.Constants {
			champion, ok := valueOf(m.h.Champion.Constants, c.Name)
			if !ok || tried[c.Name] || champion.Kind() != c.Value.Kind() || champion.Equal(c.Value) {
				continue
			}
			if r := m.risk(with(mended.Constants, c.Name, champion)).chance; r < least {
				name, least = c.Name, r
			}
		}
		if name == "" || least >= m.risk(mended.Constants).chance-1e-9 {
			return nil, t, nil
		}
		tried[name] = true
		for _, v := range m.path(mended.Constants, name) {
			values[name] = v
			mended.Constants = with(mended.Constants, name, v)
			if m.risk(mended.Constants).chance <= doubt {
				break
			}
		}
	}
	return values, mended, search.Changed(m.h.Champion.Constants, mended.Constants)
}

func valueOf(consts []search.Constant, name string) (search.Value, bool) {
	at := slices.IndexFunc(consts, func(c search.Constant) bool { return c.Name == name })
	if at < 0 {
		return search.Value{}, false
	}
	return consts[at].Value, true
}

func with(consts []search.Constant, name string, v search.Value) []search.Constant {
	out := slices.Clone(consts)
	for i := range out {
		if out[i].Name == name {
			out[i].Value = v
		}
	}
	return out
}

// path lists the values of a constant on its way to the champion's, which is
// the last: those of its grid, where it is searched.
func (m *model) path(consts []search.Constant, name string) []search.Value {
	champion, _ := valueOf(m.h.Champion.Constants, name)
	old, _ := valueOf(consts, name)
	start := m.h.Space.Start()
	from := m.h.Space.Encode(consts)
	var out []search.Value
	dims := m.h.Space.Dimensions()
	ordered := slices.ContainsFunc(dims, func(d search.Dimension) bool { return d.Constant == name && d.Ordered })
	for k := 1; ordered && k < strides; k++ {
		u := slices.Clone(start)
		for i := range dims {
			if dims[i].Constant == name {
				u[i] = from[i] + (start[i]-from[i])*float64(k)/strides
			}
		}
		v := m.h.Space.Decode(u)[name]
		if !v.Equal(old) && !v.Equal(champion) && (len(out) == 0 || !v.Equal(out[len(out)-1])) {
			out = append(out, v)
		}
	}
	return append(out, champion)
}
