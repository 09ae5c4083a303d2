package scan

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// EncodingError says that a Data element is complete but not base64.
type EncodingError struct {
	Offset int64 // characters of base64 from the beginning of Data, white space not counted
}

func (e *EncodingError) Error() string {
	return fmt.Sprintf("not base64 at character %d of Data", e.Offset)
}

// data decodes one Data element. White space may stand anywhere in it.
type data struct {
	s    *Scanner
	text []byte // base64 still to be decoded, at most chunk characters
	buf  []byte // what out is a part of
	out  []byte // decoded and not yet read
	done int64  // characters decoded
	pad  bool   // padding was seen: nothing may follow
	end  bool   // the element's end was seen
	err  error
}

// chunk is how many characters of base64 are decoded at a time.
const chunk = 32 << 10

// Read yields decoded bytes.
func (d *data) Read(p []byte) (int, error) {
	for len(d.out) == 0 && d.err == nil {
		d.err = d.fill()
	}
	if len(d.out) == 0 {
		return 0, d.err
	}
	n := copy(p, d.out)
	d.out = d.out[n:]
	return n, nil
}

// fill decodes the next chunk.
func (d *data) fill() error {
	for len(d.text) < chunk && !d.end {
		if err := d.more(); err != nil {
			return err
		}
	}
	if len(d.text) == 0 {
		return io.EOF
	}
	whole := len(d.text) / 4 * 4
	if d.pad {
		return &EncodingError{Offset: d.done}
	}
	if whole == 0 || d.end && whole != len(d.text) {
		return &EncodingError{Offset: d.done + int64(whole)}
	}
	return d.decode(whole)
}

// decode turns the first n characters of text into bytes of out, up to the first mistake.
func (d *data) decode(n int) error {
	if d.buf == nil {
		d.buf = make([]byte, base64.StdEncoding.DecodedLen(chunk))
	}
	m, err := base64.StdEncoding.Decode(d.buf, d.text[:n])
	if err != nil {
		var at base64.CorruptInputError
		_ = errors.As(err, &at)
		return &EncodingError{Offset: d.done + int64(at)}
	}
	d.out, d.done, d.pad = d.buf[:m], d.done+int64(n), m < n/4*3
	d.text = append(d.text[:0], d.text[n:]...)
	return nil
}

// more moves characters from the answer to text, without white space, up to the element's end.
func (d *data) more() error {
	b, err := d.peek()
	if err != nil {
		return err
	}
	n := min(len(b), chunk-len(d.text))
	if i := bytes.IndexByte(b[:n], '<'); i >= 0 {
		n, d.end = i, true
	}
	for _, c := range b[:n] {
		if c != '\n' && c != '\r' && c != ' ' && c != '\t' {
			d.text = append(d.text, c)
		}
	}
	d.s.offset += int64(n)
	_, _ = d.s.r.Discard(n)
	if d.end {
		return d.close()
	}
	return nil
}

func (d *data) peek() ([]byte, error) {
	if d.s.pendingEnd != "" { // <Data/>
		return []byte{'<'}, nil
	}
	if _, err := d.s.r.Peek(1); err != nil {
		return nil, broken(err)
	}
	return d.s.r.Peek(d.s.r.Buffered())
}

// close reads the end tag. Anything else there means that the element was cut and the answer went on.
func (d *data) close() error {
	var text []byte
	t, err := d.s.token(&text)
	if err != nil {
		return err
	}
	if t.kind != end || len(text) > 0 {
		return d.s.bad("markup inside Data")
	}
	return nil
}

// skip goes to the element's end without decoding.
func (d *data) skip() error {
	d.out = nil
	var encoding *EncodingError
	if d.err != nil && !errors.Is(d.err, io.EOF) && !errors.As(d.err, &encoding) {
		return d.err
	}
	for !d.end {
		d.text = d.text[:0]
		if err := d.more(); err != nil {
			return err
		}
	}
	return nil
}
