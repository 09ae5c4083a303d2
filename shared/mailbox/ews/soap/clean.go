package soap

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// cleaner puts U+FFFD in the place of characters that XML 1.0 does not allow. Exchange writes them as references
// ("&#x1F;") when a subject holds them, and encoding/xml would refuse the page with all its items.
type cleaner struct {
	r   *bufio.Reader
	out []byte // cleaned and not yet read
	buf [4 * utf8.UTFMax]byte
}

func newCleaner(r io.Reader) *cleaner { return &cleaner{r: bufio.NewReaderSize(r, 64<<10)} }

func (c *cleaner) Read(p []byte) (int, error) {
	n := copy(p, c.out)
	c.out = c.out[n:]
	for n < len(p) && len(c.out) == 0 {
		if n > 0 && c.r.Buffered() == 0 {
			return n, nil
		}
		r, size, err := c.r.ReadRune()
		if err != nil {
			if n > 0 {
				return n, nil // the error stays in the reader
			}
			return 0, err
		}
		if r == '&' {
			c.reference()
		} else {
			c.out = utf8.AppendRune(c.buf[:0], allowed(r, size))
		}
		m := copy(p[n:], c.out)
		c.out = c.out[m:]
		n += m
	}
	return n, nil
}

// reference looks at what follows a '&' and drops a reference to a character that is not allowed.
func (c *cleaner) reference() {
	c.out = append(c.buf[:0], '&')
	b, _ := c.r.Peek(12) // "#x0010FFFF;" and a little more
	text, _, ok := strings.Cut(string(b), ";")
	digits, numeric := strings.CutPrefix(text, "#")
	if !ok || !numeric {
		return
	}
	base := 10
	if hex, isHex := strings.CutPrefix(strings.ToLower(digits), "x"); isHex {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err == nil && n <= utf8.MaxRune && allowed(rune(n), 2) == rune(n) {
		return
	}
	if err == nil {
		_, _ = c.r.Discard(len(text) + 1)
		c.out = utf8.AppendRune(c.buf[:0], utf8.RuneError)
	}
}

// allowed is r, or U+FFFD when XML 1.0 does not allow r or the text was not UTF-8.
func allowed(r rune, size int) rune {
	switch {
	case r == utf8.RuneError && size == 1:
		return utf8.RuneError
	case r == '\t' || r == '\n' || r == '\r',
		r >= 0x20 && r <= 0xD7FF, r >= 0xE000 && r <= 0xFFFD, r >= 0x10000 && r <= utf8.MaxRune:
		return r
	}
	return utf8.RuneError
}
