package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/BurntSushi/toml"

	"autoresearchd/search"
)

// source knows where a key was written.
type source struct {
	file       string
	index      map[string]place
	overridden map[string]bool // keys given by --set
}

// fault builds a Fault for a key: on its own line, else on its table's.
func (s *source) fault(path []string, value, problem, hint string) Fault {
	f := Fault{File: s.file, Field: join(path), Value: value, Problem: problem, Hint: hint}
	for n := len(path); n > 0; n-- {
		name := join(path[:n])
		if s.overridden[name] {
			f.File = "--set"
			return f
		}
		if p, ok := s.index[name]; ok {
			f.Line = p.line
			return f
		}
	}
	return f
}

// set is a value from the command line: text where a string is wanted, else
// what the text says as TOML.
type set struct {
	text  string
	value any
}

type decoder struct {
	source *source
	faults Faults
}

// secret are the keys whose values are not repeated in a fault.
var secret = map[string]bool{"notify.webhook": true}

func (d *decoder) fail(path []string, v any, problem, hint string) {
	value := ""
	if v != nil && !secret[path[0]+"."+path[min(1, len(path)-1)]] {
		value = show(v)
	}
	d.faults = append(d.faults, d.source.fault(path, value, problem, hint))
}

// override puts KEY=VALUE into raw.
func (d *decoder) override(raw map[string]any, arg string) {
	bad := func(problem string) {
		d.faults = append(d.faults, Fault{File: "--set", Value: strconv.Quote(arg), Problem: problem, Hint: "write --set trial.budget=60s"})
	}
	key, text, ok := strings.Cut(arg, "=")
	if !ok {
		bad("is not KEY=VALUE")
		return
	}
	key, text = strings.TrimSpace(key), strings.TrimSpace(text)
	s := &scanner{text: key}
	path := s.key()
	if s.pos < len(key) || slices.Contains(path, "") {
		bad("has no dotted key before the equals sign")
		return
	}
	value := set{text: text, value: text}
	var doc map[string]any
	if _, err := toml.Decode("v = "+text, &doc); err == nil && len(doc) == 1 {
		value.value = doc["v"]
		if str, ok := doc["v"].(string); ok {
			value.text = str
		}
	}
	at := raw
	for i, part := range path[:len(path)-1] {
		child, ok := at[part].(map[string]any)
		if !ok {
			if at[part] != nil {
				d.source.overridden[join(path)] = true
				d.fail(path, nil, fmt.Sprintf("%s is not a table", join(path[:i+1])), "")
				return
			}
			child = map[string]any{}
			at[part] = child
		}
		at = child
	}
	at[path[len(path)-1]] = value
	d.source.overridden[join(path)] = true
}

// converters decode the types that TOML does not have. They return what is
// wrong and what to write instead.
var converters = map[reflect.Type]func(v any) (out any, problem, hint string){
	reflect.TypeFor[time.Duration](): func(v any) (any, string, string) {
		s, ok := v.(string)
		if !ok {
			return nil, "is not a duration: it needs a unit", `write "300s"`
		}
		out, err := time.ParseDuration(strings.TrimSpace(s))
		if err != nil {
			return nil, "is not a duration", `write "300s", "5m" or "1h30m"`
		}
		return out, "", ""
	},
	reflect.TypeFor[search.Budget](): func(v any) (any, string, string) {
		s, ok := v.(string)
		if !ok {
			return nil, "is not a budget: it needs a unit", `write "300s" or "400 steps"`
		}
		out, err := ParseBudget(s)
		if err != nil {
			return nil, "is not a budget", `write "300s" or "400 steps"`
		}
		return out, "", ""
	},
	reflect.TypeFor[Size](): func(v any) (any, string, string) {
		s, ok := v.(string)
		if !ok {
			return nil, "is not a size: it needs a unit", `write "40GiB"`
		}
		out, err := ParseSize(s)
		if err != nil {
			return nil, "is not a size", `write "40GiB", "512MiB" or "64KiB"`
		}
		return out, "", ""
	},
	reflect.TypeFor[Walltime](): func(v any) (any, string, string) {
		const hint = `write "8h", or as Slurm does "08:00:00" or "1-12:00:00"`
		s, ok := v.(string)
		if !ok {
			return nil, "is not a time", hint
		}
		out, err := ParseWalltime(s)
		if err != nil && strings.TrimSpace(s) != "" {
			return nil, "is not a time", hint
		}
		return out, "", ""
	},
	reflect.TypeFor[Devices](): func(v any) (any, string, string) {
		const problem, hint = "is not a choice of devices", devicesHint
		switch v := v.(type) {
		case string:
			return Devices{v}, "", ""
		case []any:
			out := Devices{}
			for _, e := range v {
				s, ok := e.(string)
				if !ok {
					return nil, problem, hint
				}
				out = append(out, s)
			}
			return out, "", ""
		}
		return nil, problem, hint
	},
	reflect.TypeFor[Audit](): func(v any) (any, string, string) {
		switch v {
		case false, "false":
			return NoAudit, "", ""
		case true, "true":
			return AuditText, "", ""
		case "fresh":
			return AuditFresh, "", ""
		}
		return nil, "is no kind of audit", `write false, true or "fresh"`
	},
	reflect.TypeFor[Baseline](): func(v any) (any, string, string) {
		switch v := v.(type) {
		case string:
			if v == "measure" {
				return Baseline{}, "", ""
			}
		case int64:
			return Baseline{Recorded: true, ValBPB: float64(v)}, "", ""
		case float64:
			return Baseline{Recorded: true, ValBPB: v}, "", ""
		}
		return nil, "is not a baseline", `write "measure" or a recorded number such as 0.997900`
	},
	reflect.TypeFor[search.Value](): func(v any) (any, string, string) {
		out, ok := literal(v)
		if !ok {
			return nil, "is not a value of a constant", "write a number, a string, true, false or an array of these"
		}
		return out, "", ""
	},
}

// literal turns a TOML value into a Python one; arrays become tuples.
func literal(v any) (search.Value, bool) {
	switch v := v.(type) {
	case int64:
		return search.IntValue(v), true
	case float64:
		return search.FloatValue(v), !math.IsNaN(v) && !math.IsInf(v, 0)
	case string:
		return search.StringValue(v), true
	case bool:
		return search.BoolValue(v), true
	case []any:
		items := make([]search.Value, len(v))
		for i := range v {
			var ok bool
			if items[i], ok = literal(v[i]); !ok {
				return search.Value{}, false
			}
		}
		return search.TupleValue(items...), true
	}
	return search.Value{}, false
}

// short decodes the string form of a type whose long form is a table.
type short interface {
	fromString(s string) (problem, hint string)
}

func (a *Axis) fromString(s string) (problem, hint string) {
	if s != "fixed" {
		return "is not a range", `write "fixed", { low = 0.005, high = 0.2, log = true } or { choices = [4, 8] }`
	}
	*a = Axis{Fixed: true}
	return "", ""
}

func (m *Model) fromString(s string) (problem, hint string) {
	*m = Model{Name: s}
	return "", ""
}

// textual reports whether a type is written as a string.
func textual(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[search.Budget](), reflect.TypeFor[Size](), reflect.TypeFor[Walltime]():
		return true
	}
	return t.Kind() == reflect.String
}

// decode fills dst from v. What is wrong is recorded, and leaves dst as it was.
func (d *decoder) decode(path []string, v any, dst reflect.Value) {
	t := dst.Type()
	if s, ok := v.(set); ok {
		if v = s.value; textual(t) {
			v = s.text
		}
	}
	if convert, ok := converters[t]; ok {
		out, problem, hint := convert(v)
		if problem != "" {
			d.fail(path, v, problem, hint)
			return
		}
		dst.Set(reflect.ValueOf(out))
		return
	}
	if s, ok := v.(string); ok {
		if form, ok := dst.Addr().Interface().(short); ok {
			if problem, hint := form.fromString(s); problem != "" {
				d.fail(path, v, problem, hint)
			}
			return
		}
	}
	switch t.Kind() {
	case reflect.Struct:
		if table, ok := v.(map[string]any); ok {
			d.table(path, table, dst)
		} else {
			d.fail(path, v, "is not a table", fmt.Sprintf("write [%s] on a line of its own and its keys below", join(path)))
		}
	case reflect.Map:
		table, ok := v.(map[string]any)
		if !ok || t.Key().Kind() != reflect.String {
			d.fail(path, v, "is not a table", "")
			return
		}
		out := reflect.MakeMapWithSize(t, len(table))
		for _, key := range sortedKeys(table) {
			element := reflect.New(t.Elem()).Elem()
			d.decode(append(path[:len(path):len(path)], key), table[key], element)
			out.SetMapIndex(reflect.ValueOf(key).Convert(t.Key()), element)
		}
		dst.Set(out)
	case reflect.Slice:
		list, ok := elements(v)
		if !ok {
			hint := "write [ … ]"
			if _, table := v.(map[string]any); table && t.Elem().Kind() == reflect.Struct {
				hint = fmt.Sprintf("write [[%s]], with two brackets: there may be several", join(path))
			}
			d.fail(path, v, "is not an array", hint)
			return
		}
		out := reflect.MakeSlice(t, len(list), len(list))
		for i := range list {
			d.decode(append(path[:len(path):len(path)], "["+strconv.Itoa(i)+"]"), list[i], out.Index(i))
		}
		dst.Set(out)
	case reflect.Pointer:
		element := reflect.New(t.Elem())
		before := len(d.faults)
		d.decode(path, v, element.Elem())
		if len(d.faults) == before {
			dst.Set(element)
		}
	case reflect.Interface:
		dst.Set(reflect.ValueOf(v))
	case reflect.String:
		if s, ok := v.(string); ok {
			dst.SetString(s)
		} else if literal, ok := literal(v); ok && literal.Kind() != search.Tuple {
			d.fail(path, v, "is not a string", `write "`+show(v)+`"`)
		} else {
			d.fail(path, v, "is not a string", "")
		}
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			dst.SetBool(b)
		} else {
			d.fail(path, v, "is not a boolean", "write true or false")
		}
	case reflect.Float32, reflect.Float64:
		switch n := v.(type) {
		case float64:
			if math.IsNaN(n) || math.IsInf(n, 0) {
				d.fail(path, v, "is not a finite number", "")
				return
			}
			dst.SetFloat(n)
		case int64:
			dst.SetFloat(float64(n))
		default:
			d.fail(path, v, "is not a number", "")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n, ok := v.(int64); !ok {
			d.fail(path, v, "is not a whole number", "")
		} else if dst.OverflowInt(n) {
			d.fail(path, v, "is out of range", "")
		} else {
			dst.SetInt(n)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n, ok := v.(int64); !ok {
			d.fail(path, v, "is not a whole number", "")
		} else if n < 0 || dst.OverflowUint(uint64(n)) {
			d.fail(path, v, "is out of range", "it must not be negative")
		} else {
			dst.SetUint(uint64(n))
		}
	default:
		d.fail(path, v, fmt.Sprintf("cannot be stored: %s is not a type of the configuration", t), "")
	}
}

// table fills a struct. A field tagged ",rest" takes the tables that no other
// field names.
func (d *decoder) table(path []string, table map[string]any, dst reflect.Value) {
	fields := map[string]reflect.Value{}
	var rest reflect.Value
	for i := range dst.NumField() {
		f := dst.Type().Field(i)
		switch name := fieldName(f); {
		case !f.IsExported() || name == "-":
		case f.Tag.Get("toml") == ",rest":
			rest = dst.Field(i)
		default:
			fields[name] = dst.Field(i)
		}
	}
	for _, key := range sortedKeys(table) {
		at := append(path[:len(path):len(path)], key)
		if field, ok := fields[key]; ok {
			d.decode(at, table[key], field)
			continue
		}
		if inner, ok := table[key].(map[string]any); ok && rest.IsValid() {
			if rest.IsNil() {
				rest.Set(reflect.MakeMap(rest.Type()))
			}
			rest.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(inner))
			continue
		}
		known := knownKeys(path, dst.Type())
		if len(path) <= 1 {
			known = append(known, knownKeys(nil, reflect.TypeFor[Config]())...)
		}
		d.fail(at, nil, "unknown key", suggest(join(at), known))
	}
}

// knownKeys lists the dotted keys of a struct, tables included.
func knownKeys(path []string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := fieldName(f)
		if !f.IsExported() || name == "-" || f.Tag.Get("toml") == ",rest" {
			continue
		}
		at := append(path[:len(path):len(path)], name)
		keys = append(keys, join(at))
		if f.Type.Kind() == reflect.Struct && converters[f.Type] == nil {
			keys = append(keys, knownKeys(at, f.Type)...)
		}
	}
	return keys
}

// fieldName returns a field's key: its toml tag, else its json tag, else its
// name in snake case.
func fieldName(f reflect.StructField) string {
	for _, tag := range []string{"toml", "json"} {
		if name, _, _ := strings.Cut(f.Tag.Get(tag), ","); name != "" {
			return name
		}
	}
	var b strings.Builder
	runes := []rune(f.Name)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case []map[string]any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out, true
	}
	return nil, false
}

// show writes a value as TOML on one line, shortened to 60 characters.
func show(v any) string {
	var s string
	switch v := v.(type) {
	case set:
		return show(v.value)
	case string:
		s = strconv.Quote(v)
	case float64:
		s = strconv.FormatFloat(v, 'g', -1, 64)
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, k := range sortedKeys(v) {
			parts = append(parts, k+" = "+show(v[k]))
		}
		s = "{ " + strings.Join(parts, ", ") + " }"
	default:
		if list, ok := elements(v); ok {
			parts := make([]string, len(list))
			for i := range list {
				parts[i] = show(list[i])
			}
			s = "[" + strings.Join(parts, ", ") + "]"
		} else {
			s = fmt.Sprint(v)
		}
	}
	if runes := []rune(s); len(runes) > 60 {
		s = string(runes[:59]) + "…"
	}
	return s
}
