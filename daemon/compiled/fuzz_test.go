package compiled

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzIndex: an index that somebody else wrote names nothing outside of a view,
// nor a content outside of the store.
func FuzzIndex(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	for _, seed := range []string{`{"inductor/aa/x.py": {"sha256": "` + sum + `", "bytes": 3, "used": 7}}`, `{"../x": {"sha256": "` + sum + `"}}`, `{"/etc/x": {"sha256": "` + sum + `"}}`, `{"a": {"sha256": "../../x"}}`, `{"": {"sha256": "` + sum + `"}}`, `{"a": null}`, "null", "["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, index string) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o600); err != nil {
			t.Fatal(err)
		}
		entries, err := readIndex(dir)
		if err != nil && len(entries) > 0 || entries == nil {
			t.Errorf("%q: %v beside %v", index, entries, err)
		}
		s := &Store{dir: dir}
		for path, e := range entries {
			for _, at := range []string{filepath.Join(dir, path), s.content(e.Sum)} {
				if rel, err := filepath.Rel(dir, at); err != nil || !filepath.IsLocal(rel) || rel == "." {
					t.Errorf("%q leads to %s", index, at)
				}
			}
		}
	})
}
