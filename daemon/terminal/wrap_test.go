package terminal

import "testing"

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text   string
		width  int
		indent string
		want   string
	}{
		{"", 10, "  ", ""},
		{"just fits it", 12, "  ", "just fits it"},
		{"just fits it", 11, "  ", "just fits\n  it"},
		{"a /path/that/is/longer than it", 10, "", "a\n/path/that/is/longer\nthan it"},
		{"one\n  two three", 9, "> ", "one\n  two\n>   three"},
		{"学习率 学习率", 7, "", "学习率\n学习率"},
	} {
		if got := Wrap(c.text, c.width, c.indent); got != c.want {
			t.Errorf("%q in %d cells: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
