package constraint_test

import (
	"regexp"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/constraint"
	"autoresearchd/search/simulate"
)

func TestSkeletonIgnoresWhatHasNoEffect(t *testing.T) {
	for name, pair := range map[string][2]string{
		"comments":        {"x = 1  # one\n", "x = 1\n# two\n"},
		"blank lines":     {"a()\n\n\n\nb()\n", "a()\nb()"},
		"blanks":          {"f(a,b)+c\n", "f( a , b ) + c   \n"},
		"indentation":     {"if a:\n  b()\n  if c:\n    d()\ne()\n", "if a:\n\tb()\n\tif c:\n\t\td()\ne()\n"},
		"lines in ()":     {"f(a, b)\n", "f(\n    a,  # first\n    b\n)\n"},
		"a last comma":    {"f(a, b)\n", "f(\n    a,\n    b,\n)\n"},
		"in a list":       {"x = [a]\n", "x = [\n    a,\n]\n"},
		"continued":       {"x = a + b\n", "x = a \\\n    + b\n"},
		"quotes":          {"x = 'a'\n", "x = \"a\"\n"},
		"docstrings":      {"def f():\n    \"\"\"Do.\n\n    Not.\"\"\"\n    g()\n", "def f():\n    'What: # else'\n    g()\n"},
		"figures":         {"x = 1_000 + 0XFF + 1E-3\n", "x = 1000 + 0xff + 1e-3\n"},
		"line ends":       {"a()\r\nb()\r\n", "a()\nb()\n"},
		"a semicolon":     {"a();\n", "a()\n"},
		"constants":       {"LR = 0.1\nf(LR)\n", "LR = 0.2 # higher\nf(LR)\n"},
		"annotated":       {"LR: float = 0.1\nf(LR)\n", "LR: float = 0.2\nf(LR)\n"},
		"a field":         {"class C:\n    lr: float = 0.1\n", "class C:\n    lr: float = 0.2\n"},
		"an argument":     {"p.add_argument('--lr', default=0.1)\n", "p.add_argument('--lr', default=0.2)\n"},
		"a byte order":    {"\ufeffLR = 0.1\n", "LR = 0.1\n"},
		"a long constant": {"BETAS = (0.1, 0.2)\nf()\n", "BETAS = (\n  0.8,\n  0.9)\nf()\n"},
	} {
		if skeleton(pair[0]) != skeleton(pair[1]) {
			t.Errorf("%s: %q and %q differ", name, pair[0], pair[1])
		}
	}
}

var constants = regexp.MustCompile(`(?m)(?:^\x{feff}?(?:LR|BETAS)(?:: \w+)? = |default=|^    lr: float = )(\([^)]*\)|[0-9.]+)`)

// skeleton is a source's, whose constants stand at the top, in a class or in a call.
func skeleton(source string) uint64 {
	var consts []search.Constant
	for _, m := range constants.FindAllStringSubmatchIndex(source, -1) {
		consts = append(consts, search.Constant{Text: source[m[2]:m[3]], Start: m[2], End: m[3]})
	}
	return constraint.Skeleton([]byte(source), consts)
}

func TestSkeletonSeesWhatHas(t *testing.T) {
	for name, pair := range map[string][2]string{
		"a name":               {"x = a\n", "x = b\n"},
		"glued names":          {"a b\n", "ab\n"},
		"depth":                {"if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n"},
		"a hash in a string":   {"x = '# a'\n", "x = '# b'\n"},
		"after a string":       {"x = '#' + a\n", "x = '#' + b\n"},
		"an escaped quote":     {"x = 'a\\'' + b  # c'\n", "x = 'a\\'' + d  # c'\n"},
		"blanks in a string":   {"x = 'a b'\n", "x = 'a  b'\n"},
		"raw":                  {"x = r'\\n'\n", "x = '\\n'\n"},
		"bytes":                {"x = b'n'\n", "x = 'n'\n"},
		"a tuple of one":       {"x = (a,)\n", "x = (a)\n"},
		"a call's tuple":       {"f((a,))\n", "f((a))\n"},
		"triple quotes":        {"f('''a\n# b\n''')\n", "f('''a\n# c\n''')\n"},
		"in an f-string":       {"f(f'{a}')\n", "f(f'{b}')\n"},
		"nested quotes":        {"f(f'{d['a']}') # x\n", "f(f'{d['b']}') # x\n"},
		"braces doubled":       {"f(f'{{a}}' + c)\n", "f(f'{{a}}' + d)\n"},
		"an f-string alone":    {"f'{a()}'\n", "f'{b()}'\n"},
		"a constant's use":     {"LR = 0.1\nf(LR)\n", "LR = 0.1\nf(2 * LR)\n"},
		"after a constant":     {"LR = 1; f(a)\n", "LR = 1; f(b)\n"},
		"a constant in a def":  {"def f():\n    LR = 1\n", "def f():\n    LR = 2\n"},
		"no constant":          {"lr = 1\n", "lr = 2\n"},
		"two statements":       {"a(); b()\n", "a(); c()\n"},
		"an unfinished string": {"x = 'a\ny = 1\n", "x = 'a\ny = 2\n"},
		"an open triple":       {"x = '''a\n", "x = '''b\n"},
		"an open bracket":      {"f(a\ng(b)\n", "f(a\ng(c)\n"},
	} {
		if skeleton(pair[0]) == skeleton(pair[1]) {
			t.Errorf("%s: %q and %q are the same", name, pair[0], pair[1])
		}
	}
}

func FuzzSkeleton(f *testing.F) {
	source, _ := simulate.Source(simulate.Upstream())
	f.Add(source)
	f.Add([]byte("f'{x!r:{w}}' rb'''\\\n'''\n\\\n\t)]}{([\n"))
	f.Add([]byte("f'''{\n'"))
	f.Fuzz(func(t *testing.T, source []byte) {
		a := constraint.Skeleton(source, nil)
		if b := constraint.Skeleton(append([]byte("# a comment\n"), source...), nil); a != b {
			t.Errorf("a comment before %q changes it", source)
		}
	})
}
