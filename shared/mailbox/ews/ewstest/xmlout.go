package ewstest

import (
	"bufio"
	"io"
	"strconv"
	"unicode/utf8"
)

// writer writes an answer as it comes. Like Exchange it writes characters that XML 1.0 does not have as references
// (&#x1;), which strict parsers refuse.
type writer struct {
	b     *bufio.Writer
	begin func() // writes what stands before the first element
	begun bool
}

func newWriter(w io.Writer, begin func()) *writer {
	return &writer{b: bufio.NewWriterSize(w, 32<<10), begin: begin}
}

func (w *writer) raw(s string) {
	if !w.begun {
		w.begun = true
		w.begin()
	}
	_, _ = w.b.WriteString(s)
}

// open writes a start tag; attrs are names and values in turn.
func (w *writer) open(name string, attrs ...string) { w.tag(name, ">", attrs) }

// empty writes an element without content.
func (w *writer) empty(name string, attrs ...string) { w.tag(name, "/>", attrs) }

func (w *writer) tag(name, end string, attrs []string) {
	w.raw("<" + name)
	for i := 0; i+1 < len(attrs); i += 2 {
		w.raw(" " + attrs[i] + `="`)
		w.escape(attrs[i+1])
		w.raw(`"`)
	}
	w.raw(end)
}

func (w *writer) close(name string) { w.raw("</" + name + ">") }

// text writes an element that holds a string.
func (w *writer) text(name, value string, attrs ...string) {
	if value == "" {
		w.empty(name, attrs...)
		return
	}
	w.open(name, attrs...)
	w.escape(value)
	w.close(name)
}

func (w *writer) num(name string, n int)   { w.text(name, strconv.Itoa(n)) }
func (w *writer) flag(name string, b bool) { w.text(name, strconv.FormatBool(b)) }

func (w *writer) escape(s string) {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		w.rune(r, s[i:i+n])
		i += n
	}
}

func (w *writer) rune(r rune, as string) {
	switch {
	case r == '&':
		w.raw("&amp;")
	case r == '<':
		w.raw("&lt;")
	case r == '>':
		w.raw("&gt;")
	case r == '"':
		w.raw("&quot;")
	case r == utf8.RuneError:
		w.raw("\uFFFD")
	case r < ' ' && r != '\t' && r != '\n', r == 0xFFFE, r == 0xFFFF:
		w.raw("&#x" + strconv.FormatInt(int64(r), 16) + ";")
	default:
		w.raw(as)
	}
}
