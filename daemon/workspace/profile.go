package workspace

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"autoresearchd/configs"
	"autoresearchd/daemon/trainer"
	"autoresearchd/search"
)

const profilesName = "profiles.toml"

// profile is what suits one kind of machine.
type profile struct {
	name   string
	values map[string]map[string]search.Value // by script, by constant
	config map[string]string                  // for config.Template
}

// findProfile reads a profile of profiles.toml.
func findProfile(name string) (profile, error) {
	if name == "" {
		name = "cpu"
		if exists("/dev/nvidiactl") {
			name = "hopper"
		}
	}
	text, err := fs.ReadFile(configs.Workspace(), profilesName)
	if err != nil {
		return profile{}, err
	}
	var all map[string]map[string]map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		return profile{}, fmt.Errorf("read %s: %w", profilesName, err)
	}
	parts, ok := all[name]
	if !ok {
		known := []string{}
		for k := range all {
			known = append(known, k)
		}
		slices.Sort(known)
		return profile{}, fmt.Errorf("find the profile %q: the profiles are %s", name, strings.Join(known, " and "))
	}
	p := profile{name: name, values: map[string]map[string]search.Value{}, config: map[string]string{}}
	for part, table := range parts {
		values := map[string]search.Value{}
		for constant, v := range table {
			if values[constant], err = value(v); err != nil {
				return profile{}, fmt.Errorf("read %s: %s.%s.%s: %w", profilesName, name, part, constant, err)
			}
		}
		p.values[part+".py"] = values
	}
	if budget, ok := p.values["prepare.py"]["TIME_BUDGET"]; ok {
		p.config["trial.budget"] = fmt.Sprintf("%gs", budget.Number())
	}
	if name == "cpu" {
		// Nothing is compiled, and steps take tenths of a second; the rest is
		// room for a machine that others use too.
		for key, v := range map[string]string{
			"trial.devices": "cpu", "watchdog.compile": "60s", "watchdog.stall": "30s", "watchdog.evaluate": "120s", "watchdog.total": "300s",
		} {
			p.config[key] = v
		}
	}
	return p, nil
}

// value turns what TOML holds into what Python would.
func value(v any) (search.Value, error) {
	switch v := v.(type) {
	case int64:
		return search.IntValue(v), nil
	case float64:
		return search.FloatValue(v), nil
	case string:
		return search.StringValue(v), nil
	case bool:
		return search.BoolValue(v), nil
	case []any:
		items := make([]search.Value, len(v))
		for i, item := range v {
			var err error
			if items[i], err = value(item); err != nil {
				return search.Value{}, err
			}
		}
		return search.TupleValue(items...), nil
	}
	return search.Value{}, fmt.Errorf("%v is no constant", v)
}

// apply sets the profile's constants in a script by the patcher that trials use.
func (p profile) apply(ctx context.Context, name string, source []byte, inspect func(context.Context, []byte) (trainer.Inspection, error)) ([]byte, error) {
	wanted := p.values[name]
	if len(wanted) == 0 {
		return source, nil
	}
	seen, err := inspect(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("apply profile %s to %s: %w", p.name, name, err)
	}
	if seen.Error != "" {
		return nil, fmt.Errorf("apply profile %s to %s: %s", p.name, name, seen.Error)
	}
	for constant := range wanted {
		if !slices.ContainsFunc(seen.Constants, func(c search.Constant) bool { return c.Name == constant }) {
			return nil, fmt.Errorf("apply profile %s: %s has no constant %s", p.name, name, constant)
		}
	}
	patched, err := search.Patch(source, seen.Constants, wanted)
	if err != nil {
		return nil, fmt.Errorf("apply profile %s to %s: %w", p.name, name, err)
	}
	return patched, nil
}
