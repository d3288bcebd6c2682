package scripts_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readmeWords is what a newcomer reads in five minutes.
const readmeWords = 1200

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	odd     = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors are the names by which a page's headings are linked to.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.ReplaceAll(odd.ReplaceAllString(strings.ToLower(strings.TrimSpace(m[1])), ""), " ", "-"))
	}
	return out
}

// TestDocs follows every link between the pages, and bounds the first one.
func TestDocs(t *testing.T) {
	root, err := filepath.Abs("..")
	must(t, err)
	var pages []string
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && slices.Contains([]string{".git", ".build", "demo", "testdata"}, d.Name()) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	}))
	links := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		must(t, err)
		if page == filepath.Join(root, "README.md") {
			if n := len(strings.Fields(string(text))); n > readmeWords {
				t.Errorf("README.md has %d words, at most %d are read: move some to docs", n, readmeWords)
			}
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			there, err := os.Stat(to)
			if err != nil {
				t.Errorf("%s leads to %s, which is not there", page, m[1])
				continue
			}
			if anchor == "" || there.IsDir() {
				continue
			}
			if text, err := os.ReadFile(to); err != nil || !slices.Contains(anchors(string(text)), anchor) {
				t.Errorf("%s leads to %s, which has no such heading (%v)", page, m[1], err)
			}
		}
	}
	if links < 20 {
		t.Errorf("%d links in %d pages: they are not found", links, len(pages))
	}
}
