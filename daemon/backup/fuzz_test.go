package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// packed is a tar of these files, in their order, with a manifest of them.
func packed(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name, text string) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, text)
	}
	m := Manifest{Format: format}
	for _, name := range files {
		add(name, name)
		m.Files = append(m.Files, File{name, int64(len(name)), fmt.Sprintf("%x", sha256.Sum256([]byte(name)))})
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	add(manifestName, string(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// FuzzRead: a file that is taken for a backup is whole by its own hashes, and
// none of its names leads out of a state directory.
func FuzzRead(f *testing.F) {
	f.Add(packed(f, journalName, resultsName, trialsName+"/1/run.log"))
	f.Add(packed(f, journalName, trialsName+"/../../x"))
	f.Add(packed(f, "/etc/passwd"))
	f.Add(packed(f))
	f.Add([]byte("no tar"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		file := filepath.Join(t.TempDir(), "b.tar.gz")
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(archive)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := Read(file)
		if err != nil {
			if strings.ContainsAny(strings.TrimPrefix(err.Error(), "read backup "+file), "\n\r\x00\x1b") {
				t.Errorf("%q", err)
			}
			return
		}
		for _, e := range m.Files {
			if !filepath.IsLocal(e.Name) || !ours(e.Name) {
				t.Errorf("it holds %q", e.Name)
			}
		}
	})
}
