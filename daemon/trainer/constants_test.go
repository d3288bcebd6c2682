package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"autoresearchd/search"
)

// expected are the comments of testdata/constants: "searched", "no: WORDS of why" and
// "other: WORDS of why", after "as NAME" where the line does not begin with the name.
var expected = regexp.MustCompile(`^\s*(.*?)(?:: [\w.]+)?(?: = .*?)?  # (searched|no|other)(?: as ([\w.,-]+))?(?:: (.*))?$`)

func TestWhatIsSearched(t *testing.T) {
	p := newProcess(t, options(t))
	files, err := filepath.Glob("testdata/constants/*.py")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			i, err := p.Inspect(context.Background(), source)
			if err != nil || i.Error != "" {
				t.Fatal(err, i.Error)
			}
			space, err := i.Space(nil)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, c := range i.Constants {
				got[c.Name] = "searched"
				if c.Why != "" {
					got[c.Name] = "no: " + c.Why
				}
				if string(source[c.Start:c.End]) != c.Text {
					t.Errorf("%s: %q is not at its place", c.Name, c.Text)
				}
				inSpace := slices.ContainsFunc(space.Dimensions(), func(d search.Dimension) bool { return d.Constant == c.Name })
				if inSpace != (c.Why == "") {
					t.Errorf("%s: in the space %t, %q", c.Name, inSpace, c.Why)
				}
			}
			for _, o := range i.Others {
				got[o.Name] = "other: " + o.Why
			}
			want := 0
			for n, line := range strings.Split(string(source), "\n") {
				m := expected.FindStringSubmatch(line)
				if m == nil {
					continue
				}
				names := strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' || r == '=' })
				if m[3] != "" {
					names = strings.Split(m[3], ",")
				}
				for _, name := range names {
					want++
					if g := got[name]; !strings.HasPrefix(g, m[2]) || !strings.Contains(g, m[4]) {
						t.Errorf("line %d: %s is %q, want %s: %s", n+1, name, g, m[2], m[4])
					}
					delete(got, name)
				}
			}
			for name, words := range got {
				t.Errorf("%s is not expected: %s", name, words)
			}
			if want < 3 {
				t.Errorf("%d names are expected", want)
			}
		})
	}
}

// TestMeddling holds that no value is believed that something else may set.
func TestMeddling(t *testing.T) {
	p := newProcess(t, options(t))
	for code, keeps := range map[string]bool{
		`exec(open("more.py").read())`:                                           false,
		`exec(code, {})`:                                                         true,
		`exec(code, globals())`:                                                  false,
		`globals().update(vars(args))`:                                           false,
		`globals().update(OTHER=2)`:                                              true,
		`globals().update(DEPTH=2)`:                                              false,
		"for k in keys:\n    globals()[k] = 2":                                   false,
		"space = globals()\nspace[key] = 1":                                      false,
		`print(globals()["DEPTH"])`:                                              true,
		`config = {k: globals()[k] for k in ("DEPTH",)}`:                         true,
		"import sys\nsetattr(sys.modules[__name__], key, 1)":                     false,
		"import sys\nsys.modules[__name__].DEPTH = 1":                            false,
		"import sys\nvars(sys.modules['__main__']).update(new)":                  false,
		"import __main__ as me\nme.DEPTH = 9":                                    false,
		"vars()['DEPTH'] = 3":                                                    false,
		"update(globals())":                                                      false,
		"from config import *":                                                   false,
		"def change():\n    global DEPTH\n    DEPTH = 5":                         false,
		"def own():\n    DEPTH = 5\n    return DEPTH":                            true,
		"class C:\n    DEPTH = 5":                                                true,
		"class C:\n    global DEPTH\n    DEPTH = 5":                              false,
		"x = [DEPTH := 3 for _ in y]":                                            false,
		"x = [1 for DEPTH in y]":                                                 true,
		"def DEPTH():\n    pass":                                                 false,
		"if __name__ == '__main__':\n    DEPTH = 5":                              false,
		"import DEPTH":                                                           false,
		"try:\n    pass\nexcept ValueError:\n    DEPTH = 1":                      false,
		"async def f():\n    global DEPTH\n    async for DEPTH in x:\n        y": false,
		"lambda DEPTH: DEPTH":                                                    true,
	} {
		source := "DEPTH = 4\n" + code + "\nfrom prepare import evaluate_bpb\nevaluate_bpb(DEPTH, None, 2)\n"
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil || i.Error != "" {
			t.Fatalf("%s: %v %s", code, err, i.Error)
		}
		found := slices.ContainsFunc(i.Constants, func(c search.Constant) bool { return c.Name == "DEPTH" })
		said := slices.ContainsFunc(i.Others, func(o Other) bool { return o.Name == "DEPTH" && o.Why != "" })
		if found != keeps || said == keeps {
			t.Errorf("%s: a constant %t, said %t, want %t", code, found, said, keeps)
		}
		if _, err := i.Space(map[string]search.Override{"DEPTH": {Fixed: true}}); (err == nil) != keeps {
			t.Errorf("%s: fixed in [search.space]: %v", code, err)
		}
	}
}

// TestSpans holds that each literal is found in the very bytes of the file, whatever its
// line ends and encoding, and that a patched file is read as what was set.
func TestSpans(t *testing.T) {
	p := newProcess(t, options(t))
	plain := "# first\nimport os\nDEPTH = 4; WIDTH = \\\n  64  # both\nBETAS = (0.8,  # one\n         0.95)\nNAME: str = 'SSSL'\nü = 'ä'; LAST = 7\n"
	latin := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			b.WriteByte(byte(r))
		}
		return b.String()
	}
	for name, source := range map[string]string{
		"plain":            plain,
		"crlf":             strings.ReplaceAll(plain, "\n", "\r\n"),
		"cr":               strings.ReplaceAll(plain, "\n", "\r"),
		"mixed":            strings.Replace(strings.Replace(plain, "\n", "\r", 1), "\n", "\r\n", 1),
		"bom":              "\ufeff" + plain,
		"bom at once":      "\ufeff" + strings.TrimPrefix(plain, "# first\nimport os\n"),
		"form feeds":       strings.ReplaceAll(plain, "\nBETAS", "\n\f\nBETAS"),
		"a form feed":      strings.ReplaceAll(plain, "\nBETAS", "\n\fBETAS"),
		"line separators":  strings.Replace(plain, "# first", "# first\u2028\u0085\u2029\x1c\x1d\v", 1),
		"in a string":      "s = 'a\u2028b\x1cc\u0085'\n" + plain,
		"latin-1":          latin("# -*- coding: latin-1 -*-\n" + plain),
		"latin-1, cr":      latin("# -*- coding: latin-1 -*-\r" + strings.ReplaceAll(plain, "\n", "\r")),
		"no last line end": strings.TrimSuffix(plain, "\n"),
		"tabs":             strings.ReplaceAll(plain, " = ", "\t=\t"),
	} {
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil || i.Error != "" {
			t.Errorf("%s: %v %s", name, err, i.Error)
			continue
		}
		values := map[string]search.Value{"DEPTH": search.IntValue(5), "WIDTH": search.IntValue(128), "BETAS": search.TupleValue(search.FloatValue(0.7), search.FloatValue(0.9)),
			"NAME": search.StringValue("SL"), "LAST": search.IntValue(8)}
		patched, err := search.Patch([]byte(source), i.Constants, values)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again, err := p.Inspect(context.Background(), patched)
		if err != nil || again.Error != "" {
			t.Errorf("%s: %v %s in %q", name, err, again.Error, patched)
			continue
		}
		for _, c := range again.Constants {
			if want, ok := values[c.Name]; ok && !c.Value.Equal(want) {
				t.Errorf("%s: %s is %s after it was set to %s", name, c.Name, c.Value, want)
			}
			delete(values, c.Name)
		}
		if len(values) != 0 {
			t.Errorf("%s: not found: %v", name, values)
		}
	}
	if i, err := p.Inspect(context.Background(), []byte("DEPTH = 4\nx = 'a\x00b'\n")); err != nil || i.Error != "line 2: a NUL byte: train.py must be text in UTF-8" {
		t.Errorf("a NUL byte: %v %+v", err, i)
	}
}

// TestSpansAgainstAST compares the places with what ast says of random scripts.
func TestSpansAgainstAST(t *testing.T) {
	o := options(t)
	out, err := exec.Command(o.Python, "testdata/spans.py", "2000", "1").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var counts struct{ Scripts, Constants, Encoded int }
	if err := json.Unmarshal(out, &counts); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if counts.Scripts < 1900 || counts.Constants < 4000 || counts.Encoded < 100 {
		t.Errorf("too few were compared: %s", fmt.Sprint(counts))
	}
}

// TestSettingsSetAgain holds that no default is believed that a later line may replace.
func TestSettingsSetAgain(t *testing.T) {
	p := newProcess(t, options(t))
	argument := "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', default=0.04)\nargs = parser.parse_args(%s)\n"
	class := "class Settings:\n    lr: float = 0.04\n%sargs = Settings()\n"
	for _, c := range []struct {
		form, inside, after string
		keeps               bool
	}{
		{argument, "", "", true},
		{argument, "[]", "", true},
		{argument, "args=None", "", true},
		{argument, "['--lr', '0.1']", "", false},
		{argument, "args=['--lr', '0.1']", "", false},
		{argument, "namespace=given", "", false},
		{argument, "", "vars(args).update(given)", false},
		{argument, "", "vars(args).update(other=1)", true},
		{argument, "", "vars(args).update(lr=1)", false},
		{argument, "", "vars(args)['lr'] = 1", false},
		{argument, "", "vars(args)[key] = 1", false},
		{argument, "", "vars(args)['other'] = 1", true},
		{argument, "", "args.__dict__['lr'] = 1", false},
		{argument, "", "setattr(args, key, 1)", false},
		{argument, "", "print(vars(args)['lr'])", true},
		{class, "", "", true},
		{class, "", "args.__dict__.update(given)", false},
		{class, "    def __post_init__(self):\n        object.__setattr__(self, 'lr', 1)\n", "", false},
		{class, "    def __post_init__(self):\n        self.lr = 1\n", "", false},
		{class, "    def __post_init__(self):\n        object.__setattr__(self, 'other', 1)\n", "", true},
	} {
		source := fmt.Sprintf(c.form, c.inside) + c.after + "\nfrom prepare import evaluate_bpb\nevaluate_bpb(args.lr, None, 2)\n"
		i, err := p.Inspect(context.Background(), []byte(source))
		if err != nil || i.Error != "" {
			t.Fatalf("%s: %v %s", source, err, i.Error)
		}
		is := func(name string) bool { return name == "--lr" || name == "Settings.lr" }
		found := slices.ContainsFunc(i.Constants, func(c search.Constant) bool { return is(c.Name) })
		said := slices.ContainsFunc(i.Others, func(o Other) bool { return is(o.Name) && o.Why != "" })
		if found != c.keeps || said == c.keeps {
			t.Errorf("%s: a constant %t, said %t, want %t", source, found, said, c.keeps)
		}
	}
}
