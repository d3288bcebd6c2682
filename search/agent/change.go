package agent

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"autoresearchd/search"
)

// constantsOnly returns the constants that b sets to other values than a, if
// nothing else is different. A literal that is only written in another way is
// no difference.
func constantsOnly(a []byte, inA []search.Constant, b []byte, inB []search.Constant) (map[string]search.Value, bool) {
	x, okA := skeleton(a, inA)
	y, okB := skeleton(b, inB)
	if !okA || !okB || !bytes.Equal(x, y) {
		return nil, false
	}
	values := map[string]search.Value{}
	for i, c := range inB { // in the same order, as the skeletons are equal
		if !c.Value.Equal(inA[i].Value) {
			values[c.Name] = align(c.Value, inA[i].Value)
		}
	}
	patched, err := search.Patch(a, inA, values)
	if err != nil { // a constant of another type is a change of the code
		return nil, false
	}
	if bytes.Equal(patched, a) {
		return map[string]search.Value{}, true
	}
	return values, true
}

// align returns v as old's kind of number, where Patch would convert it.
func align(v, old search.Value) search.Value {
	switch {
	case v.Kind() == search.Int && old.Kind() == search.Float:
		return search.FloatValue(v.Number())
	case v.Kind() == search.Float && old.Kind() == search.Int && v.Number() == math.Trunc(v.Number()):
		return search.IntValue(v.Whole())
	case v.Kind() == search.Tuple && len(v.Items()) == len(old.Items()):
		items := slices.Clone(v.Items())
		for i := range items {
			items[i] = align(items[i], old.Items()[i])
		}
		return search.TupleValue(items...)
	}
	return v
}

// skeleton is a source with names in place of its constants' literals.
func skeleton(source []byte, consts []search.Constant) ([]byte, bool) {
	consts = slices.Clone(consts)
	slices.SortFunc(consts, func(a, b search.Constant) int { return a.Start - b.Start })
	var out []byte
	last := 0
	for _, c := range consts {
		if c.Start < last || c.End < c.Start || c.End > len(source) {
			return nil, false
		}
		out = append(append(out, source[last:c.Start]...), 0)
		out = append(append(out, c.Name...), 0)
		last = c.End
	}
	return bytes.TrimRight(append(out, source[last:]...), " \t\r\n"), true
}

// rebaseValues carries values over to the champion, where they still say
// something new.
func rebaseValues(p *search.Proposal, h search.History) error {
	if len(p.Values) == 0 {
		return errors.New("it has only rewritten constants, and changed none")
	}
	to := slices.Clone(h.Champion.Constants)
	for name, v := range p.Values {
		at := slices.IndexFunc(to, func(c search.Constant) bool { return c.Name == name })
		if at < 0 || to[at].Value.Kind() != v.Kind() {
			return fmt.Errorf("its constant %s is not in the champion, candidate %d, that came in the meantime", name, h.Champion.ID)
		}
		to[at].Value = v
	}
	if p.Parent != h.Champion.ID {
		p.Parent = h.Champion.ID
		for _, c := range h.Champion.Constants {
			if v, ok := p.Values[c.Name]; ok && v.Equal(c.Value) {
				delete(p.Values, c.Name)
			}
		}
	}
	mark := search.Fingerprint(to)
	if search.SeenIn(h)[mark] {
		for _, r := range h.Done {
			if search.Fingerprint(r.Trial.Constants) == mark {
				return fmt.Errorf("trial %d has its constants already", r.Trial.ID)
			}
		}
		return errors.New("a trial that runs has its constants already")
	}
	return nil
}

// rebaseSource carries an edit of parent over to a champion that has come in
// the meantime, if that differs from parent in constants alone. If not, the
// edit is still a good experiment on its own parent.
func rebaseSource(p *search.Proposal, consts []search.Constant, parent, champion search.Trial) {
	news, same := constantsOnly(parent.Source, parent.Constants, champion.Source, champion.Constants)
	if p.Parent == champion.ID || !same {
		return
	}
	values := map[string]search.Value{}
	for name, v := range news {
		was := slices.IndexFunc(parent.Constants, func(c search.Constant) bool { return c.Name == name })
		is := slices.IndexFunc(consts, func(c search.Constant) bool { return c.Name == name })
		if was >= 0 && is >= 0 && consts[is].Value.Equal(parent.Constants[was].Value) { // the edit has left it alone
			values[name] = v
		}
	}
	if source, err := search.Patch(p.Source, consts, values); err == nil {
		p.Source, p.Parent = source, champion.ID
	}
}

// described says what values change.
func described(h search.History, p search.Proposal) string {
	to := slices.Clone(h.Champion.Constants)
	for i, c := range to {
		if v, ok := p.Values[c.Name]; ok {
			to[i].Value = v
		}
	}
	return search.Describe(h.Champion.Constants, to)
}
