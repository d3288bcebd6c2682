package search

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoDimension means that train.py has no constant that may be searched.
var ErrNoDimension = errors.New("there is nothing to search: train.py has no constant that is a hyperparameter and that [search.space] does not fix: see `autoresearchd check`")

// ErrExhausted means that a strategy found no constants that have not been tried.
var ErrExhausted = errors.New("the search space is used up: every proposal has been tried already; widen [search.space] or stop the study")

// ErrUnknown marks the name of a strategy that a Registry does not have.
var ErrUnknown = errors.New("unknown strategy")

// Option is one key of a [search.<name>] table.
type Option struct {
	Key     string
	Default string // as TOML
	Doc     string
}

// Registry holds strategies by name. It is filled before it is used, and then
// safe for concurrent use.
type Registry struct {
	entries map[string]entry
}

type entry struct {
	factory Factory
	options any
}

// Default is the registry that the packages of the strategies fill when they
// are imported.
var Default = NewRegistry()

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{entries: map[string]entry{}} }

// Register adds a strategy. options is the struct that its factory decodes,
// filled with the defaults; its fields carry toml:"key" and doc:"text". A name
// that is taken is a programming error, and panics.
func (r *Registry) Register(name string, f Factory, options any) {
	if _, ok := r.entries[name]; ok || name == "" || f == nil {
		panic(fmt.Sprintf("register strategy %q: the name is taken or empty, or the factory nil", name))
	}
	r.entries[name] = entry{f, options}
}

// Lookup returns the factory of that name, or an error that lists the known ones.
func (r *Registry) Lookup(name string) (Factory, error) {
	if e, ok := r.entries[name]; ok {
		return e.factory, nil
	}
	known := strings.Join(r.Names(), ", ")
	if known == "" {
		known = "none"
	}
	return nil, fmt.Errorf("%w %q: known are %s", ErrUnknown, name, known)
}

// Names lists the strategies, sorted.
func (r *Registry) Names() []string { return sortedNames(r.entries) }

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Options lists a strategy's keys with their defaults, in the order of its
// struct; nil for an unknown name.
func (r *Registry) Options(name string) []Option {
	v := reflect.ValueOf(r.entries[name].options)
	for v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	var out []Option
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if key := f.Tag.Get("toml"); key != "" && key != "-" {
			out = append(out, Option{key, tomlValue(v.Field(i)), f.Tag.Get("doc")})
		}
	}
	return out
}

// TOML writes a strategy's table with its defaults, ready for autoresearch.toml.
func (r *Registry) TOML(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[search.%s]\n", name)
	options := r.Options(name)
	wide := 0
	for _, o := range options {
		wide = max(wide, len(o.Key)+len(" = ")+len(o.Default))
	}
	for _, o := range options {
		line := o.Key + " = " + o.Default
		if o.Doc != "" {
			line = fmt.Sprintf("%-*s  # %s", wide, line, o.Doc)
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func tomlValue(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		text := d.String() // "10m0s"
		for _, zero := range []string{"0s", "0m"} {
			if short := strings.TrimSuffix(text, zero); strings.HasSuffix(short, "m") || strings.HasSuffix(short, "h") {
				text = short
			}
		}
		return strconv.Quote(text)
	}
	switch v.Kind() {
	case reflect.Map:
		parts := make([]string, 0, v.Len())
		for _, key := range v.MapKeys() {
			parts = append(parts, key.String()+" = "+tomlValue(v.MapIndex(key)))
		}
		slices.Sort(parts)
		return strings.TrimSpace("{ "+strings.Join(parts, ", ")) + " }"
	case reflect.String:
		return strconv.Quote(v.String())
	case reflect.Float32, reflect.Float64:
		return FloatValue(v.Float()).Literal()
	case reflect.Slice, reflect.Array:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = tomlValue(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// Build makes the strategy of that name. env's Registry and Table become r and
// the strategy's own.
func (r *Registry) Build(name string, env Environment) (Strategy, error) {
	factory, err := r.Lookup(name)
	if err != nil {
		return nil, err
	}
	env.Registry, env.Table = r, nil
	if env.Options != nil {
		env.Table = env.Options(name)
	}
	return factory(env)
}
