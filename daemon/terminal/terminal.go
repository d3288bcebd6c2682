// Package terminal writes for people: text in colours, cut to the window, in
// columns, and a block of lines that is drawn anew in its place.
//
// Nothing here changes the state of a terminal: no raw mode, no other screen,
// no hidden cursor. So nothing has to be put back when the program is
// interrupted or crashes.
package terminal

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// Terminal is where a program writes, which may be no terminal at all.
type Terminal struct {
	out     *os.File
	Live    bool // lines can be drawn anew
	Colour  bool // NO_COLOR is not set
	Unicode bool // the locale has more than ASCII
}

// Open looks at a file and at the environment (TERM, NO_COLOR, the locale).
func Open(out *os.File) *Terminal {
	t := &Terminal{out: out, Live: term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb"}
	t.Colour = t.Live && os.Getenv("NO_COLOR") == ""
	t.Unicode = unicodeLocale(os.Getenv)
	return t
}

// unicodeLocale follows POSIX: the first variable that is set decides.
func unicodeLocale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToUpper(getenv(name)); v != "" {
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return false
}

// Size returns the window's width and height in cells, 80 and 24 where nobody
// knows.
func (t *Terminal) Size() (width, height int) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

// Style is how a text looks.
type Style string

// The styles.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Green  Style = "32"
	Yellow Style = "33"
	Blue   Style = "34"
)

// Span is a text in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is one line of a screen.
type Line []Span

// Text makes a line of one plain text.
func Text(format string, args ...any) Line { return Line{{fmt.Sprintf(format, args...), Plain}} }

// Width is how many cells the line takes.
func (l Line) Width() int {
	n := 0
	for _, s := range l {
		n += Width(s.Text)
	}
	return n
}

// Cut shortens the line to at most so many cells.
func (l Line) Cut(width int) Line {
	if l.Width() <= width {
		return l
	}
	var out Line
	left := width
	for _, s := range l {
		w := Width(s.Text)
		if w < left {
			out = append(out, s)
			left -= w
			continue
		}
		return append(out, Span{Cut(s.Text+" ", left), s.Style}) // what follows is cut off: say so
	}
	return out
}

// Join appends those of the parts that still fit, in their order.
func (l Line) Join(width int, parts ...Line) Line {
	out := l[:len(l):len(l)]
	for _, p := range parts {
		if out.Width()+p.Width() <= width {
			out = append(out, p...)
		}
	}
	return out
}

// Render writes the line for a terminal.
func (t *Terminal) Render(l Line) string {
	var b strings.Builder
	for _, s := range l {
		if t.Colour && s.Style != Plain && s.Text != "" {
			fmt.Fprintf(&b, "\x1b[%sm%s\x1b[m", s.Style, s.Text)
		} else {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// Print writes a line: cut to the window and in colours on a terminal, whole and
// plain elsewhere.
func (t *Terminal) Print(l Line) error {
	if t.Live {
		width, _ := t.Size()
		l = l.Cut(width)
	}
	_, err := fmt.Fprintln(t.out, t.Render(l))
	return err
}

var cells = &runewidth.Condition{StrictEmojiNeutral: true} // not of the environment, so that a table is the same everywhere

// Width is how many cells a text takes.
func Width(s string) int { return cells.StringWidth(s) }

// Cut shortens a text to at most so many cells; what is cut off is replaced by "…".
func Cut(s string, width int) string {
	if Width(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return cells.Truncate(s, width, "…")
}

// marks bounds how many combining characters are let through in a row.
const marks = 2

// Inert makes foreign text one line that does nothing to a terminal: control
// and formatting characters (escapes, marks that turn the direction of writing)
// and what is not UTF-8 become "\ufffd", white space becomes single blanks,
// piles of combining characters are cut.
func Inert(s string) string {
	var b strings.Builder
	blank, pile := false, 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		i += n
		if unicode.IsSpace(r) {
			blank = b.Len() > 0
			continue
		}
		if unicode.Is(unicode.M, r) {
			if pile++; pile > marks {
				continue
			}
		} else {
			pile = 0
		}
		if blank {
			b.WriteByte(' ')
			blank = false
		}
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Block is lines that are drawn anew in their place, the last of what is on the
// terminal.
type Block struct {
	t     *Terminal
	drawn []int // widths of the lines that are there
}

// Block returns an empty block.
func (t *Terminal) Block() *Block { return &Block{t: t} }

// Draw replaces the block's lines, cut to the window.
func (b *Block) Draw(lines []Line) {
	if !b.t.Live {
		return
	}
	width, height := b.t.Size()
	var out bytes.Buffer
	b.home(&out, width)
	b.drawn = b.drawn[:0]
	for i, l := range lines {
		if i == height-1 { // the cursor stands below the block
			break
		}
		l = l.Cut(width - 1)
		fmt.Fprintf(&out, "%s\x1b[K\r\n", b.t.Render(l))
		b.drawn = append(b.drawn, l.Width())
	}
	out.WriteString("\x1b[J")
	_, _ = b.t.out.Write(out.Bytes())
}

// Clear takes the block away.
func (b *Block) Clear() {
	if len(b.drawn) == 0 {
		return
	}
	width, _ := b.t.Size()
	var out bytes.Buffer
	b.home(&out, width)
	out.WriteString("\x1b[J")
	_, _ = b.t.out.Write(out.Bytes())
	b.drawn = nil
}

// home goes to the block's first cell. In a window that became narrower its
// lines were broken, and take more rows than they were; what a terminal then
// moved into its history stays there.
func (b *Block) home(out *bytes.Buffer, width int) {
	rows := 0
	for _, w := range b.drawn {
		rows += max(1, (w+width-1)/width)
	}
	out.WriteByte('\r')
	if rows > 0 {
		fmt.Fprintf(out, "\x1b[%dA", rows)
	}
}
