package modelserver

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLedger: a file that is taken for a ledger can be added to and read again.
func FuzzLedger(f *testing.F) {
	for _, seed := range []string{`{"dollars": 0.25, "reserved": 0.01, "requests": 3, "models": {"m": {"dollars": 0.25}}}`, `{"dollars": 1e308, "reserved": 1e308}`, `{"dollars": -1}`, `{"dollars": 1e400}`, `{"models": {"m": {"dollars": 1.7e308}}}`, "null", "{} {}", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := NewLedger(t.TempDir())
		if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l.load() != nil {
			return
		}
		if err := l.Settle("m", 0, 0.5, 1, 1); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := Read(filepath.Dir(l.path)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
