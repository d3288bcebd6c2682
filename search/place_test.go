package search

import (
	"math"
	"testing"
)

func TestPlace(t *testing.T) {
	consts := []Constant{
		{Name: "MATRIX_LR", Value: FloatValue(0.04), Text: "0.04"},
		{Name: "TOTAL_BATCH_SIZE", Value: IntValue(1 << 19), Text: "2**19"},
		{Name: "USE_GATES", Value: BoolValue(false), Text: "False"},
		{Name: "MOMENTUM", Value: FloatValue(0.9), Text: "0.9"},
	}
	space, err := NewSpace(consts, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int, v Value) (float64, bool) {
		return space.dims[i].Place([]Constant{{Name: consts[i].Name, Value: v}})
	}
	for _, c := range []struct {
		dim  int
		v    Value
		want float64
	}{
		{0, FloatValue(0.04), 0.5}, {0, FloatValue(4), 1.5}, {0, FloatValue(4e-4), -0.5}, {0, FloatValue(1e9), 2}, {0, FloatValue(0), -1}, {0, FloatValue(-1), -1},
		{1, IntValue(1 << 19), 0.5}, {1, IntValue(1 << 23), 0.5 + 4.0/7}, {1, IntValue(1 << 15), 0.5 - 4.0/7},
		{2, BoolValue(true), 0.75}, {2, BoolValue(false), 0.25},
		{3, FloatValue(1.5), 2},
	} {
		if u, ok := at(c.dim, c.v); !ok || math.Abs(u-c.want) > 0.01 {
			t.Errorf("%s = %s lies at %g, %v, want %g", consts[c.dim].Name, c.v, u, ok, c.want)
		}
	}
	for i, v := range []Value{StringValue("a"), TupleValue(), StringValue("b"), {}} {
		if u, ok := at(i, v); ok {
			t.Errorf("%s = %s has a place, %g", consts[i].Name, v, u)
		}
	}
	for i := range space.dims {
		if _, ok := space.dims[i].Place(nil); ok {
			t.Errorf("%s has a place without its constant", consts[i].Name)
		}
		if u, ok := space.dims[i].Place(consts); !ok || math.Abs(u-space.Start()[i]) > 1e-12 {
			t.Errorf("the champion's %s lies at %g, want %g", consts[i].Name, u, space.Start()[i])
		}
	}
}

func TestPlaces(t *testing.T) {
	low, high := 3.0, 17.0
	consts := []Constant{
		{Name: "DEPTH", Value: IntValue(8), Text: "8"}, {Name: "MODEL_DIM", Value: IntValue(640), Text: "640"},
		{Name: "HEADS", Value: IntValue(5), Text: "5"}, {Name: "USE_GATES", Value: BoolValue(true), Text: "True"},
		{Name: "TOTAL_BATCH_SIZE", Value: IntValue(1 << 19), Text: "2**19"},
	}
	space, err := NewSpace(consts, map[string]Override{"HEADS": {Low: &low, High: &high}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range space.dims {
		d := &space.dims[i]
		at := d.Places(64)
		if len(at) < 2 {
			t.Fatalf("%s has %d places", d.Name, len(at))
		}
		// Walking along the dimension meets the same values in the same order.
		var met []float64
		for n := range 100001 {
			if u := d.encode(d.decode(float64(n) / 100000)); len(met) == 0 || u > met[len(met)-1]+1e-9 {
				met = append(met, u)
			}
		}
		if len(met) != len(at) {
			t.Fatalf("%s has %d places, and %d on a walk: %v, %v", d.Name, len(at), len(met), at, met)
		}
		for k := range at {
			if math.Abs(at[k]-met[k]) > 1e-9 {
				t.Errorf("%s: place %d is %g, on a walk %g", d.Name, k, at[k], met[k])
			}
		}
		if d.Places(len(at)-1) != nil || d.Places(len(at)) == nil {
			t.Errorf("%s: the limit on places does not hold", d.Name)
		}
	}
}
