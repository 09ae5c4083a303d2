package exportjson

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// peek returns the next byte that is not white space, without taking it.
func (s *Scanner) peek() (byte, error) {
	for {
		c, err := s.take()
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			s.off--
			return c, s.in.UnreadByte()
		}
	}
}

func (s *Scanner) take() (byte, error) {
	c, err := s.in.ReadByte()
	if err == nil {
		s.off++
	}
	return c, err
}

func (s *Scanner) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return fmt.Errorf("%q where %q belongs", c, want)
	}
	_, err = s.take()
	return err
}

// more takes a comma, or the closing byte of what is being read, and reports which it was.
func (s *Scanner) more(closing byte) (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	if c != ',' && c != closing {
		return false, fmt.Errorf("%q where ',' or %q belongs", c, closing)
	}
	_, err = s.take()
	return c == ',', err
}

func (s *Scanner) key() (string, error) {
	k, err := s.str()
	if err != nil {
		return "", err
	}
	return k, s.expect(':')
}

func (s *Scanner) stringOrNull(to *string) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != '"' {
		return s.literal("null")
	}
	*to, err = s.str()
	return err
}

// str reads a whole string of at most maxField bytes.
func (s *Scanner) str() (string, error) {
	t, err := s.openString()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(t, maxField+1))
	if err != nil {
		return "", err
	}
	if len(b) > maxField {
		return "", fmt.Errorf("a string of more than %d bytes outside data", maxField)
	}
	return string(b), nil
}

func (s *Scanner) openString() (*text, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	return &text{s: s}, nil
}

// skip reads any value and forgets it.
func (s *Scanner) skip(depth int) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("values nested more than %d deep", maxDepth)
	}
	switch c {
	case '"':
		return s.skipString()
	case '{':
		return s.members(depth, func(string) error { return s.skip(depth + 1) })
	case '[':
		return s.elements(depth)
	}
	return s.scalar()
}

func (s *Scanner) skipString() error {
	t, err := s.openString()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, t)
	return err
}

func (s *Scanner) members(depth int, each func(key string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if c, err := s.peek(); err != nil {
		return err
	} else if c == '}' {
		return s.expect('}')
	}
	for {
		key, err := s.key()
		if err != nil {
			return err
		}
		if err := each(key); err != nil {
			return err
		}
		more, err := s.more('}')
		if err != nil || !more {
			return err
		}
	}
}

func (s *Scanner) elements(depth int) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if c, err := s.peek(); err != nil {
		return err
	} else if c == ']' {
		return s.expect(']')
	}
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		more, err := s.more(']')
		if err != nil || !more {
			return err
		}
	}
}

// scalar reads true, false, null or a number.
func (s *Scanner) scalar() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *Scanner) literal(want string) error {
	if _, err := s.peek(); err != nil {
		return err
	}
	for i := range len(want) {
		c, err := s.take()
		if err != nil {
			return err
		}
		if c != want[i] {
			return fmt.Errorf("%q where %q belongs", c, want)
		}
	}
	return nil
}

func (s *Scanner) number() error {
	var b []byte
	for {
		c, err := s.take()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if !strings.ContainsRune("+-.eE0123456789", rune(c)) {
			s.off--
			if err := s.in.UnreadByte(); err != nil {
				return err
			}
			break
		}
		if b = append(b, c); len(b) > 64 {
			return errors.New("a number of more than 64 digits")
		}
	}
	if _, err := strconv.ParseFloat(string(b), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("no value where one belongs")
	}
	return nil
}

// text yields the characters of a JSON string whose opening quote is taken, and io.EOF at the closing one.
type text struct {
	s    *Scanner
	held []byte // an unescaped character that did not fit
	done bool
}

func (t *text) Read(p []byte) (int, error) {
	n, err := t.read(p)
	if err != nil && err != io.EOF {
		return n, t.s.broken(err)
	}
	return n, err
}

func (t *text) read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case len(t.held) > 0:
		n := copy(p, t.held)
		t.held = t.held[n:]
		return n, nil
	case t.done:
		return 0, io.EOF
	}
	n, err := t.run(p)
	if err != nil || n > 0 {
		return n, err
	}
	return t.special(p)
}

// run copies plain characters, as many as are buffered and fit.
func (t *text) run(p []byte) (int, error) {
	if _, err := t.s.in.Peek(1); err != nil {
		return 0, noEOF(err)
	}
	chunk, err := t.s.in.Peek(min(len(p), t.s.in.Buffered()))
	if err != nil {
		return 0, err
	}
	n := plain(chunk)
	copy(p, chunk[:n])
	t.s.off += int64(n)
	_, err = t.s.in.Discard(n)
	return n, err
}

// plain counts the bytes before the first that ends or escapes.
func plain(b []byte) int {
	for i, c := range b {
		if c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(b)
}

func (t *text) special(p []byte) (int, error) {
	c, err := t.s.take()
	if err != nil {
		return 0, noEOF(err)
	}
	switch {
	case c == '"':
		t.done = true
		return 0, io.EOF
	case c != '\\':
		return 0, fmt.Errorf("control character %#02x in a string", c)
	}
	if t.held, err = t.unescape(); err != nil {
		return 0, noEOF(err)
	}
	n := copy(p, t.held)
	t.held = t.held[n:]
	return n, nil
}

func (t *text) unescape() ([]byte, error) {
	c, err := t.s.take()
	if err != nil {
		return nil, err
	}
	if c == 'u' {
		return t.unicode()
	}
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 {
		return nil, fmt.Errorf("unknown escape %q in a string", c)
	}
	return []byte{"\"\\/\b\f\n\r\t"[i]}, nil
}

func (t *text) unicode() ([]byte, error) {
	r, err := t.hex()
	if err != nil {
		return nil, err
	}
	if utf16.IsSurrogate(r) {
		next, err := t.s.in.Peek(2)
		if err != nil {
			return nil, err
		}
		if string(next) != `\u` {
			return utf8.AppendRune(nil, utf8.RuneError), nil
		}
		_, _ = t.s.in.Discard(2)
		t.s.off += 2
		low, err := t.hex()
		if err != nil {
			return nil, err
		}
		r = utf16.DecodeRune(r, low)
	}
	return utf8.AppendRune(nil, r), nil
}

func (t *text) hex() (rune, error) {
	var b [4]byte
	for i := range b {
		c, err := t.s.take()
		if err != nil {
			return 0, err
		}
		b[i] = c
	}
	v, err := strconv.ParseUint(string(b[:]), 16, 16)
	if err != nil {
		return 0, errors.New(`four hex digits belong behind \u`)
	}
	return rune(v), nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
