package trainer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"autoresearchd/search"
)

// FuzzFrames: whatever a trainer says, line by line here, its trial's outcome can
// be recorded and shown, and a score is one that could be.
func FuzzFrames(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"hello","hello":{"protocol":2,"python":"3.12.1","pid":7}}` + "\n" + `{"kind":"phase","phase":"train","at":1}` + "\n" + `{"kind":"step","step":1,"tokens":32,"counted":-1e308,"batches":1,"stand_in":true}` + "\n" +
			`{"kind":"step","step":12,"tokens":384,"counted":1e308}` + "\n" + `{"kind":"score","val_bpb":"1.5","step":12}` + "\n" + `{"kind":"exit","exit":{"code":0}}`,
		`{"kind":"score","val_bpb":"nan"}`, `{"kind":"audit","audit":"-inf\u001b[1m"}`, `{"kind":"fault","fault":"\u0000\n"}`, `{"kind":"exit","exit":{"code":1,"exception":"x.OutOfMemoryError","message":"\u001b","traceback":"a\r\nb"}}`,
		`{"kind":"step","step":9223372036854775807,"tokens":-9223372036854775808}` + "\n" + `{"kind":"step","step":1,"tokens":9223372036854775807}`, `{"kind":"inspection","inspection":{}}`, "{", "null",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, said string, steps bool) {
		var wire []byte
		for line := range strings.SplitSeq(said, "\n") {
			wire = append(binary.BigEndian.AppendUint32(wire, uint32(len(line))), line...)
		}
		budget := search.Budget{Seconds: 10}
		if steps {
			budget = search.Budget{Steps: 10}
		}
		c := &collector{budget: budget}
		now := time.Unix(1e9, 0)
		for r := bytes.NewReader(wire); ; now = now.Add(time.Second) {
			var e event
			if readFrame(r, &e) != nil {
				break
			}
			c.note(e, now)
			c.print(e.Step)
			c.progress(Progress{Step: e.Step, Loss: e.Counted})
		}
		var raw event
		_ = readFrame(strings.NewReader(said), &raw)
		o := c.outcome(ending{}, &runLog{summary: map[string]string{}})
		if _, err := json.Marshal(o); err != nil {
			t.Errorf("%q cannot be recorded: %v", said, err)
		}
		if o.Status == search.Completed && !(o.ValBPB > 0 && o.ValBPB < absurd) {
			t.Errorf("%q has the score %v", said, o.ValBPB)
		}
		if text := o.Detail + strings.Join(o.Flags, " "); strings.ContainsAny(text, "\r\x00\x1b") {
			t.Errorf("%q is told as %q", said, text)
		}
	})
}

// FuzzInspection: whatever an inspection answers of a source, a space comes of
// it or words, and no value is written beyond its literal.
func FuzzInspection(f *testing.F) {
	const source = "DEPTH = 8\nMATRIX_LR = 0.04\nADAM_BETAS = (0.8, 0.95)\n"
	f.Add(`{"constants": [{"name": "DEPTH", "value": 8, "text": "8", "line": 1, "start": 8, "end": 9}], "evaluates": true}`, source)
	f.Add(`{"constants": [{"name": "ADAM_BETAS", "value": [0.8, 0.95], "text": "(0.8, 0.95)", "start": 40, "end": 51}, {"name": "DEPTH", "value": 1e308, "text": "8", "start": -8, "end": 9223372036854775807}]}`, source)
	f.Add(`{"constants": [{"name": "", "value": null}, {"name": "A", "value": [[1]]}, {"name": "A", "value": true}], "others": [{"name": "A"}], "claims": [{"name": "evaluate_bpb"}]}`, "")
	f.Fuzz(func(t *testing.T, answer, source string) {
		var i Inspection
		if json.Unmarshal([]byte(answer), &i) != nil {
			return
		}
		_ = i.Fault(search.Budget{Seconds: 1})
		space, err := i.Space(nil)
		if err != nil || space.Len() == 0 {
			return
		}
		u := space.Start()
		for k := range u {
			u[k] = 1 - u[k]
		}
		values := space.Changes(space.Snap(u))
		got, err := search.Patch([]byte(source), i.Constants, values)
		if err != nil {
			return
		}
		for _, c := range i.Constants {
			if _, ok := values[c.Name]; ok && !strings.HasPrefix(string(got), source[:min(c.Start, firstOf(i.Constants, values))]) {
				t.Errorf("%s: %q became %q", answer, source, got)
			}
		}
	})
}

// firstOf is where the first of the constants begins that are set.
func firstOf(consts []search.Constant, values map[string]search.Value) int {
	first := int(^uint(0) >> 1)
	for _, c := range consts {
		if _, ok := values[c.Name]; ok {
			first = min(first, c.Start)
		}
	}
	return first
}

// FuzzRunLog: what a trial prints is read the same however it arrives.
func FuzzRunLog(f *testing.F) {
	f.Add("\rstep 00071 (96.0%) | loss: 2.5 | tok/sec: 57,000 \rstep 00072 (97.0%) | loss: nan\n---\nval_bpb: 1.5\nFAIL\n", 7)
	f.Add("[Step 7/2000] train loss 3\r\n---\n---\nx:\ny: \x00\xff\n", 1)
	f.Add(strings.Repeat("a", 5000)+"\nstep 1 | loss: 1", 4096)
	f.Fuzz(func(t *testing.T, text string, size int) {
		if size < 1 {
			size = 1
		}
		read := func(size int) (string, map[string]string) {
			var said strings.Builder
			l, err := newRunLog(filepath.Join(t.TempDir(), "run.log"), 1000, func(step int, p *Progress) { fmt.Fprintln(&said, step, p) })
			if err != nil {
				t.Fatal(err)
			}
			for rest := []byte(text); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				l.add(rest[:min(size, len(rest))])
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(&said, l.failed, l.closing)
			return said.String(), l.summary
		}
		a, x := read(len(text) + 1)
		b, y := read(size)
		if a != b || !maps.Equal(x, y) {
			t.Errorf("%q in pieces of %d: %s %v, not %s %v", text, size, b, y, a, x)
		}
	})
}
