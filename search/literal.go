package search

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseLiteral reads a Python literal as people and models write it: 0.05,
// 1e-3, 2**18, 1 << 10, 64 * 1024, -524_288, True, "SSSL", (0.8, 0.95), and
// lists, which are taken for tuples. It works out what Python would; an int
// beyond 64 bits and a number that is not finite are none.
func ParseLiteral(text string) (Value, error) {
	switch {
	case len(text) > 1000:
		return Value{}, errors.New("not a literal: it is too long")
	case !utf8.ValidString(text):
		return Value{}, errors.New("not a literal: it is not UTF-8")
	}
	p := parser{rest: text}
	v, err := p.shift()
	if err == nil && p.skip() != "" {
		err = errNoLiteral
	}
	if err != nil {
		return Value{}, err
	}
	return v, nil
}

var errNoLiteral = errors.New("not a literal")

// parser reads an expression of literals by Python's precedence.
type parser struct {
	rest  string
	depth int
}

// skip passes over blanks, also those that end a line.
func (p *parser) skip() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	return p.rest
}

// take passes over the first of the words that comes next; "": none does.
func (p *parser) take(words ...string) string {
	p.skip()
	for _, w := range words {
		if strings.HasPrefix(p.rest, w) {
			p.rest = p.rest[len(w):]
			return w
		}
	}
	return ""
}

func (p *parser) shift() (Value, error) {
	x, err := p.product()
	for err == nil && p.take("<<") != "" {
		var y Value
		if y, err = p.product(); err == nil {
			x, err = arithmetic("<<", x, y)
		}
	}
	return x, err
}

func (p *parser) product() (Value, error) {
	x, err := p.signed()
	for err == nil {
		op := p.take("//", "*", "/")
		if op == "" {
			break
		}
		var y Value
		if y, err = p.signed(); err == nil {
			x, err = arithmetic(op, x, y)
		}
	}
	return x, err
}

var smallest = strconv.FormatUint(1<<63, 10)

func (p *parser) signed() (Value, error) {
	switch p.take("-", "+") {
	case "+":
		return p.deeper(func() (Value, error) { return p.sign(1) })
	case "-":
		if digits := figure.FindString(p.skip()); strings.ReplaceAll(digits, "_", "") == smallest && !strings.HasPrefix(strings.TrimLeft(p.rest[len(digits):], " \t\r\n"), "**") {
			p.rest = p.rest[len(digits):] // 64 bits have no such number without its sign
			return IntValue(math.MinInt64), nil
		}
		return p.deeper(func() (Value, error) { return p.sign(-1) })
	}
	return p.power()
}

func (p *parser) sign(by int64) (Value, error) {
	x, err := p.signed()
	switch {
	case err != nil:
		return x, err
	case x.kind == Float:
		return FloatValue(float64(by) * x.num), nil
	}
	return arithmetic("*", IntValue(by), x)
}

func (p *parser) power() (Value, error) {
	x, err := p.atom()
	if err != nil || p.take("**") == "" {
		return x, err
	}
	y, err := p.deeper(p.signed)
	if err != nil {
		return y, err
	}
	return arithmetic("**", x, y)
}

func (p *parser) deeper(read func() (Value, error)) (Value, error) {
	if p.depth++; p.depth > 6 {
		return Value{}, errNoLiteral
	}
	defer func() { p.depth-- }()
	return read()
}

var figure = regexp.MustCompile(`^(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?`)

func (p *parser) atom() (Value, error) {
	switch open := p.take("(", "[", `"`, "'", "True", "true", "False", "false"); open {
	case "(", "[":
		return p.deeper(func() (Value, error) { return p.items(open) })
	case `"`, "'":
		return p.text(open[0])
	case "":
		return p.number()
	default:
		return BoolValue(open[0]|' ' == 't'), p.ends()
	}
}

// ends returns an error where a word or a number goes on.
func (p *parser) ends() error {
	if r, _ := utf8.DecodeRuneInString(p.rest); p.rest != "" && (r == '_' || r == '.' || r >= utf8.RuneSelf || strings.ContainsRune("0123456789", r) || r|' ' >= 'a' && r|' ' <= 'z') {
		return errNoLiteral
	}
	return nil
}

func (p *parser) number() (Value, error) {
	digits := figure.FindString(p.rest)
	p.rest = p.rest[len(digits):]
	plain := strings.ReplaceAll(digits, "_", "")
	if err := p.ends(); err != nil || plain == "" {
		return Value{}, errNoLiteral
	}
	if !strings.ContainsAny(plain, ".eE") {
		n, err := strconv.ParseInt(plain, 10, 64)
		if err != nil {
			return Value{}, fmt.Errorf("not a literal: %s has more than 64 bits", plain)
		}
		return IntValue(n), nil
	}
	f, err := strconv.ParseFloat(plain, 64)
	if err != nil {
		return Value{}, errNoLiteral
	}
	return FloatValue(f), nil
}

// items reads a tuple, a list, or what stands in brackets of its own.
func (p *parser) items(open string) (Value, error) {
	shut, items, tuple := ")", []Value{}, open == "["
	if open == "[" {
		shut = "]"
	}
	for p.take(shut) == "" {
		v, err := p.shift()
		if err != nil {
			return v, err
		}
		items = append(items, v)
		switch p.take(",", shut) {
		case ",":
			tuple = true
			continue
		case "":
			return Value{}, errNoLiteral
		}
		if !tuple {
			return v, nil
		}
		return TupleValue(items...), nil
	}
	return TupleValue(items...), nil
}

// escapes are those that stringLiteral writes, and their kin.
var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '"': '"', '\'': '\'', '0': 0}

func (p *parser) text(quote byte) (Value, error) {
	var b strings.Builder
	for i := 0; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == quote:
			p.rest = p.rest[i+1:]
			return StringValue(b.String()), nil
		case c == '\n':
			return Value{}, errNoLiteral
		case c != '\\':
			b.WriteByte(c)
			continue
		}
		i++
		if i == len(p.rest) {
			break
		}
		if p.rest[i] == 'x' && i+2 < len(p.rest) {
			n, err := strconv.ParseUint(p.rest[i+1:i+3], 16, 8)
			if err != nil {
				return Value{}, errNoLiteral
			}
			b.WriteRune(rune(n))
			i += 2
			continue
		}
		plain, ok := escapes[p.rest[i]]
		if !ok {
			return Value{}, fmt.Errorf("not a literal: %q in a text", p.rest[i-1:i+1])
		}
		b.WriteByte(plain)
	}
	return Value{}, errNoLiteral
}

// arithmetic works out what Python would.
func arithmetic(op string, x, y Value) (Value, error) {
	if k := x.kind; k != Int && k != Float || y.kind != Int && y.kind != Float {
		return Value{}, errNoLiteral
	}
	if x.kind == Int && y.kind == Int && op != "/" && !(op == "**" && y.whole < 0) {
		return whole(op, x.whole, y.whole)
	}
	a, b := x.Number(), y.Number()
	switch op {
	case "**":
		a = math.Pow(a, b)
	case "*":
		a *= b
	case "/":
		a /= b
	default:
		return Value{}, errNoLiteral
	}
	if math.IsNaN(a) || math.IsInf(a, 0) {
		return Value{}, fmt.Errorf("not a literal: it is %v", a)
	}
	return FloatValue(a), nil
}

func whole(op string, x, y int64) (Value, error) {
	a, b := big.NewInt(x), big.NewInt(y)
	switch {
	case op == "*":
		a.Mul(a, b)
	case op == "//" && y != 0: // towards minus infinity
		quotient, rest := new(big.Int).QuoRem(a, b, new(big.Int))
		if rest.Sign() != 0 && rest.Sign() != b.Sign() {
			quotient.Sub(quotient, big.NewInt(1))
		}
		a = quotient
	case op == "<<" && y >= 0 && (y < 64 || x == 0):
		a.Lsh(a, uint(min(y, 64)))
	case op == "**" && y >= 0 && x >= -1 && x <= 1:
		a.Exp(a, big.NewInt(min(y, 2+y%2)), nil)
	case op == "**" && y >= 0 && y < 64:
		a.Exp(a, b, nil)
	case op == "//" || y < 0:
		return Value{}, errNoLiteral
	default:
		return Value{}, errors.New("not a literal: it has more than 64 bits")
	}
	if !a.IsInt64() {
		return Value{}, errors.New("not a literal: it has more than 64 bits")
	}
	return IntValue(a.Int64()), nil
}
