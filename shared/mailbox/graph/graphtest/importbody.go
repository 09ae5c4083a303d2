package graphtest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// importBody is the body of an import.
type importBody struct {
	FolderID, Mode, ItemID, ChangeKey string
	Data                              mailbox.Stream

	hasData bool
}

const maxShort = 4096 // bytes of any string but Data

// readImport reads {"FolderId":…,"Mode":…,"Data":…} with its fields in any order, and hands Data to keep while it is
// still being read. Nothing longer than a buffer is held here.
func readImport(r io.Reader, keep func(io.Reader) (mailbox.Stream, error)) (importBody, error) {
	p := &importParser{r: bufio.NewReaderSize(r, 64<<10), keep: keep}
	err := p.object()
	if err != nil && p.failed != nil {
		err = p.failed
	}
	return p.body, err
}

type importParser struct {
	r      *bufio.Reader
	keep   func(io.Reader) (mailbox.Stream, error)
	body   importBody
	seen   [5]bool
	failed error // of the underlying reader, which explains every later one
}

func malformedBody(what string) error {
	return badRequest("Unable to read JSON request payload: %s.", what)
}

// byte returns the next byte that is not white space.
func (p *importParser) byte() (byte, error) {
	for {
		c, err := p.r.ReadByte()
		if err != nil {
			return 0, p.ended(err)
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
	}
}

func (p *importParser) ended(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	p.failed = bodyError(err)
	return p.failed
}

func (p *importParser) expect(want byte) error {
	c, err := p.byte()
	if err == nil && c != want {
		err = malformedBody("'" + string(want) + "' expected")
	}
	return err
}

func (p *importParser) object() error {
	if err := p.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := p.byte()
		switch {
		case err != nil:
			return err
		case c == '}':
			return p.end()
		case !first && c != ',':
			return malformedBody("',' or '}' expected")
		case !first:
			if c, err = p.byte(); err != nil {
				return err
			}
		}
		if c != '"' {
			return malformedBody("a name expected")
		}
		if err := p.member(); err != nil {
			return err
		}
	}
}

// end makes sure that nothing follows the object.
func (p *importParser) end() error {
	for {
		c, err := p.r.ReadByte()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return p.ended(err)
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return malformedBody("text after the object")
		}
	}
}

func (p *importParser) member() error {
	name, err := p.short()
	if err != nil {
		return err
	}
	if err := p.expect(':'); err != nil {
		return err
	}
	fields := [...]*string{&p.body.FolderID, &p.body.Mode, &p.body.ItemID, &p.body.ChangeKey, nil}
	for i, n := range [...]string{"FolderId", "Mode", "ItemId", "ChangeKey", "Data"} {
		if n != name {
			continue
		}
		if p.seen[i] {
			return malformedBody("'" + n + "' stands twice")
		}
		p.seen[i] = true
		if err := p.expect('"'); err != nil {
			return err
		}
		if fields[i] == nil {
			return p.data()
		}
		*fields[i], err = p.short()
		return err
	}
	return badRequest("The property '%s' does not exist on type 'microsoft.graph.importMailboxItemRequest'.", printable(name))
}

// short reads the rest of a string that has a modest length.
func (p *importParser) short() (string, error) {
	s := &stringReader{p: p}
	b, err := io.ReadAll(io.LimitReader(s, maxShort+1))
	switch {
	case err != nil:
		return "", err
	case len(b) > maxShort:
		return "", malformedBody("a string is too long")
	case !utf8.Valid(b):
		return "", malformedBody("a string is not UTF-8")
	}
	return string(b), nil
}

func (p *importParser) data() error {
	s := &stringReader{p: p}
	var err error
	p.body.Data, err = p.keep(base64.NewDecoder(base64.StdEncoding, oneLine{s}))
	p.body.hasData = true
	switch {
	case s.err != nil:
		return s.err
	case err != nil && isBase64Error(err):
		return badBase64()
	case err != nil:
		return err
	}
	return nil
}

// oneLine refuses line breaks, over which the decoder would pass.
type oneLine struct{ r io.Reader }

func (o oneLine) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if at := bytes.IndexAny(b[:n], "\r\n"); at >= 0 {
		return 0, base64.CorruptInputError(at)
	}
	return n, err
}

func isBase64Error(err error) bool {
	var corrupt base64.CorruptInputError
	return errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF)
}

func badBase64() error {
	return refuse(400, "ErrorInvalidRequest", "The property 'Data' is not valid base64.")
}

// stringReader yields the bytes of a JSON string up to its closing quote.
type stringReader struct {
	p       *importParser
	pending []byte
	done    bool
	err     error
}

func (s *stringReader) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	for len(s.pending) == 0 {
		if s.done {
			return 0, io.EOF
		}
		n, err := s.plain(b)
		if n > 0 || err != nil {
			s.err = err
			return n, err
		}
	}
	n := copy(b, s.pending)
	s.pending = s.pending[n:]
	return n, nil
}

// plain copies up to the next quote or backslash; standing on one, it deals with that.
func (s *stringReader) plain(b []byte) (int, error) {
	r := s.p.r
	if _, err := r.Peek(1); err != nil {
		return 0, s.p.ended(err)
	}
	chunk, _ := r.Peek(min(r.Buffered(), len(b))) // already there
	n := 0
	for n < len(chunk) && chunk[n] != '"' && chunk[n] != '\\' && chunk[n] >= 0x20 {
		n++
	}
	copy(b, chunk[:n])
	stop := byte(0)
	if n < len(chunk) {
		stop = chunk[n]
	}
	_, _ = r.Discard(n)
	if n > 0 {
		return n, nil
	}
	_, _ = r.Discard(1)
	switch stop {
	case '"':
		s.done = true
		return 0, nil
	case '\\':
		return 0, s.escape()
	}
	return 0, malformedBody("a control character in a string")
}

func (s *stringReader) escape() error {
	c, err := s.p.r.ReadByte()
	if err != nil {
		return s.p.ended(err)
	}
	switch c {
	case '"', '\\', '/':
		s.pending = []byte{c}
	case 'b', 'f', 'n', 'r', 't':
		s.pending = []byte{map[byte]byte{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c]}
	case 'u':
		return s.unicode()
	default:
		return malformedBody("an unknown escape in a string")
	}
	return nil
}

func (s *stringReader) unicode() error {
	u, err := s.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(u) {
		if low, err := s.p.r.Peek(6); err == nil && low[0] == '\\' && low[1] == 'u' {
			_, _ = s.p.r.Discard(2)
			second, err := s.hex4()
			if err != nil {
				return err
			}
			u = utf16.DecodeRune(u, second)
		} else {
			u = utf8.RuneError
		}
	}
	s.pending = utf8.AppendRune(nil, u)
	return nil
}

func (s *stringReader) hex4() (rune, error) {
	var h [4]byte
	if _, err := io.ReadFull(s.p.r, h[:]); err != nil {
		return 0, s.p.ended(err)
	}
	n, err := strconv.ParseUint(string(h[:]), 16, 16)
	if err != nil {
		return 0, malformedBody("a malformed escape in a string")
	}
	return rune(n), nil
}
