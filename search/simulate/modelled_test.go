package simulate_test

import (
	"context"
	"strings"
	"testing"

	"autoresearchd/search"
	"autoresearchd/search/simulate"
)

// TestModelled has the words of a modelled language model; what they do to a
// study is in search/portfolio.
func TestModelled(t *testing.T) {
	task := simulate.NewTask(3, 0)
	source, consts := simulate.Source(task.Lines)
	prompt := search.Prompt{Turns: []string{"----- begin train.py 0123456789ab -----\n" + string(source) + "----- end train.py 0123456789ab -----\n"}}
	replies := func(quality float64) []string {
		t.Helper()
		m, err := simulate.NewModelled(task, quality, 5)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for range 40 {
			r, err := m.Complete(context.Background(), prompt)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r.Text)
		}
		return all
	}
	start, _ := task.True(simulate.Values(consts))
	better := func(all []string) (better, unusable int) {
		t.Helper()
		for _, text := range all {
			_, settings, ok := strings.Cut(text, "CONSTANTS:\n")
			if !ok || settings == "" {
				unusable++
				continue
			}
			changed, err := simulate.Read([]byte(settings))
			if err != nil || len(changed) == 0 {
				t.Fatalf("it says %q: %v", text, err)
			}
			values := simulate.Values(consts)
			for _, c := range changed {
				values[c.Name] = c.Value
			}
			if v, status := task.True(values); status == search.Completed && v < start {
				better++
			}
		}
		return better, unusable
	}
	if n, unusable := better(replies(1)); n != 40 || unusable != 0 {
		t.Errorf("a strong model has %d of 40 proposals that help, and %d replies that cannot be used", n, unusable)
	}
	if n, unusable := better(replies(0)); n > 15 || unusable < 4 || unusable > 18 {
		t.Errorf("a useless model has %d of 40 proposals that help, and %d replies that cannot be used", n, unusable)
	}
	if a, b := strings.Join(replies(0.5), "\n"), strings.Join(replies(0.5), "\n"); a != b {
		t.Error("the same model says something else")
	}
	m, err := simulate.NewModelled(task, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Complete(context.Background(), search.Prompt{Turns: []string{"hello"}}); err == nil {
		t.Error("it answers a prompt without train.py")
	}
	for want, make := range map[string]func() error{
		"from 0 to 1, not 1.5": func() error { _, err := simulate.NewModelled(task, 1.5, 1); return err },
		"nobody knows the truth of it": func() error {
			task := task
			task.True = nil
			_, err := simulate.NewModelled(task, 1, 1)
			return err
		},
	} {
		if err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
