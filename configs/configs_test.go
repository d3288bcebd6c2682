package configs

import (
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestComplete proves that no file of the folders is forgotten.
func TestComplete(t *testing.T) {
	for dir, embedded := range map[string]fs.FS{"workspace": Workspace()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && (strings.HasSuffix(e.Name(), "_cache") || strings.HasPrefix(e.Name(), "__") || e.Name() == ".venv") {
				continue
			}
			want, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			got, err := fs.ReadFile(embedded, e.Name())
			if err != nil || string(got) != string(want) {
				t.Errorf("%s/%s is not embedded as it is (%v)", dir, e.Name(), err)
			}
		}
	}
}
