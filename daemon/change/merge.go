package change

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aymanbagabas/go-udiff"

	"autoresearchd/search"
)

// Program is a train.py with its constants.
type Program struct {
	Source    []byte
	Constants []search.Constant
}

// Inspect reads the constants of a train.py. A fault says why it cannot be one.
type Inspect func(ctx context.Context, source []byte) (constants []search.Constant, fault string, err error)

// Conflict is the error of two changes that cannot both be made: "both change
// MATRIX_LR".
type Conflict struct{ What string }

func (c Conflict) Error() string { return c.What }

// Merge makes the change from base to theirs in ours as well: constants by their
// values, each as ours writes it, all else by lines. A Conflict says that ours
// has changed there otherwise, or that the result is no train.py.
func Merge(ctx context.Context, inspect Inspect, base, ours, theirs Program) (Program, error) {
	values, err := mergeValues(base.Constants, ours.Constants, theirs.Constants)
	if err != nil {
		return Program{}, err
	}
	var texts [3][]byte // with the same constants, so that lines differ in code alone
	for i, p := range []Program{base, ours, theirs} {
		if texts[i], err = search.Patch(p.Source, p.Constants, values); err != nil {
			return Program{}, fmt.Errorf("put two changes of train.py together: %w", err)
		}
	}
	merged, err := mergeLines(string(texts[0]), string(texts[1]), string(texts[2]))
	if err != nil {
		return Program{}, err
	}
	out := Program{Source: []byte(merged)}
	var fault string
	if out.Constants, fault, err = inspect(ctx, out.Source); err == nil && fault != "" {
		err = Conflict{"together make no train.py: " + fault}
	}
	return out, err
}

// mergeValues are the values of those constants that all three have, of one kind.
func mergeValues(base, ours, theirs []search.Constant) (map[string]search.Value, error) {
	values := map[string]search.Value{}
	for _, b := range base {
		o, t := named(ours, b.Name), named(theirs, b.Name)
		if o == nil || t == nil || o.Value.Kind() != b.Value.Kind() || t.Value.Kind() != b.Value.Kind() {
			continue // a matter of lines
		}
		v, ok := mergeValue(b.Value, o.Value, t.Value)
		if !ok {
			return nil, Conflict{"both change " + b.Name}
		}
		values[b.Name] = v
	}
	return values, nil
}

func named(all []search.Constant, name string) *search.Constant {
	i := slices.IndexFunc(all, func(c search.Constant) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// mergeValue is ours with what changed from base to theirs, a tuple's elements
// each for itself.
func mergeValue(base, ours, theirs search.Value) (search.Value, bool) {
	switch {
	case theirs.Equal(base), theirs.Equal(ours):
		return ours, true
	case ours.Equal(base):
		return theirs, true
	case base.Kind() != search.Tuple || len(ours.Items()) != len(base.Items()) || len(theirs.Items()) != len(base.Items()):
		return ours, false
	}
	items := make([]search.Value, len(base.Items()))
	for i, b := range base.Items() {
		var ok bool
		if items[i], ok = mergeValue(b, ours.Items()[i], theirs.Items()[i]); !ok {
			return ours, false
		}
	}
	return search.TupleValue(items...), true
}

// mergeLines is ours with the lines that changed from base to theirs. Changes of
// both that touch are a Conflict, unless they are the same.
func mergeLines(base, ours, theirs string) (string, error) {
	own, other := udiff.Lines(base, ours), udiff.Lines(base, theirs)
	all := slices.Clone(own)
	for _, t := range other {
		if slices.Contains(own, t) {
			continue
		}
		if slices.ContainsFunc(own, func(o udiff.Edit) bool { return o.Start <= t.End && t.Start <= o.End }) {
			return "", Conflict{"both change the same lines"}
		}
		all = append(all, t)
	}
	udiff.SortEdits(all)
	merged, err := udiff.Apply(base, all)
	if err != nil {
		return "", fmt.Errorf("put two changes of train.py together: %w", err)
	}
	return merged, nil
}

// onlyConstants reports whether two programs differ in nothing but values.
func onlyConstants(from, to Program) bool {
	values := map[string]search.Value{}
	for _, c := range to.Constants {
		values[c.Name] = c.Value
	}
	patched, err := search.Patch(from.Source, from.Constants, values)
	return err == nil && bytes.Equal(patched, to.Source)
}

// conflict takes a Conflict out of an error.
func conflict(err error) (string, error) {
	var c Conflict
	if errors.As(err, &c) {
		return c.What, nil
	}
	return "", err
}
