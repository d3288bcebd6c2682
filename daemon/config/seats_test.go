package config

import (
	"strings"
	"testing"
)

// TestSeatsGrow has the tables that a reload may come to from others.
func TestSeatsGrow(t *testing.T) {
	const two, more, other = "[[seats]]\nkind = \"slurm\"\ncount = 2\ntime = \"8h\"\n", "[[seats]]\nkind = \"slurm\"\npartition = \"x\"\ntime = \"1-12:00:00\"\n", "[[seats]]\nkind = \"slurm\"\ncount = 2\ntime = \"9h\"\n"
	open := func(text string) *Config {
		t.Helper()
		c, err := Open(write(t, text), nil, today)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct {
		from, to string
		grows    bool
	}{
		{"", "", true}, {"", two, true}, {two, two + more, true}, {two, strings.Replace(two, "2", "3", 1), true}, {two, two, true},
		{two, "", false}, {two, other, false}, {two, more + two, false}, {two + more, two, false},
	} {
		err := Reloadable(open(c.from), open(c.to))
		if (err == nil) != c.grows || err != nil && !strings.Contains(err.Error(), "reload cannot change seats that are there") {
			t.Errorf("from\n%sto\n%s%v", c.from, c.to, err)
		}
	}
	var names []string
	for _, s := range open(two + more).Remote() {
		names = append(names, s.Name+" "+s.Partition)
	}
	if got := strings.Join(names, ","); got != "slurm:0 ,slurm:1 ,slurm:2 x" {
		t.Errorf("seats %s", got)
	}
}
