// Package exportjson reads the answer of Microsoft Graph's exportItems as it comes in:
//
//	{"@odata.context":"…","value":[{"itemId":"…","changeKey":"…","data":"<base64>"},{"itemId":"…","error":{…}}]}
//
// An item's data can be 100 MB, so nothing of it is held: memory stays the same whatever the answer's size.
package exportjson

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Bounds on what an answer may make the scanner hold.
const (
	maxField = 16 << 10 // bytes of a field other than data, and of a key
	maxDepth = 32       // of values that are skipped
	buffered = 64 << 10
)

// errEnd is the proper end of the answer. A bare io.EOF within is an answer that was cut off.
var errEnd = errors.New("end of the answer")

// Entry is what the answer says about one item. Fields that come after the data are empty until [Scanner.Rest].
type Entry struct {
	ItemID    string
	ChangeKey string
	Failed    bool      // the entry carries an error instead of data
	Code      string    // the error's code
	Data      io.Reader // the decoded bytes; nil when there are none; valid until Rest or Next
}

// Scanner reads entries in the order they come. After an error from Next or Rest it is spent.
type Scanner struct {
	in      *bufio.Reader
	off     int64
	err     error
	began   bool
	inArray bool
	first   bool
	entry   *Entry
	data    *text // the entry's data while it is read
	had     bool  // the entry's data was begun
}

// NewScanner returns a scanner of r, which it reads ahead by some KiB.
func NewScanner(r io.Reader) *Scanner { return &Scanner{in: bufio.NewReaderSize(r, buffered)} }

// Err is the error that broke the scan: the connection's, or malformed JSON. A Data reader that fails while Err is
// nil has met bad base64, which concerns its item alone.
func (s *Scanner) Err() error { return s.err }

// Next returns the next entry, or io.EOF after the last. It finishes the entry before.
func (s *Scanner) Next() (*Entry, error) {
	if err := s.Rest(); err != nil {
		return nil, err
	}
	e, err := s.next()
	if err == errEnd {
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.broken(err)
	}
	return e, nil
}

// Rest skips what is left of the entry's data and reads the fields behind it.
func (s *Scanner) Rest() error {
	if s.err != nil {
		return s.err
	}
	if s.data == nil {
		return nil
	}
	if err := s.finish(); err != nil {
		return s.broken(err)
	}
	return nil
}

func (s *Scanner) finish() error {
	if _, err := io.Copy(io.Discard, s.data); err != nil {
		return err
	}
	s.data, s.entry.Data = nil, nil
	more, err := s.more('}')
	if err != nil || !more {
		return err
	}
	return s.fields()
}

// broken keeps err for good and adds where it was met.
func (s *Scanner) broken(err error) error {
	if s.err == nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		s.err = fmt.Errorf("read export answer at byte %d: %w", s.off, err)
	}
	return s.err
}

func (s *Scanner) next() (*Entry, error) {
	if !s.began {
		s.began = true
		if err := s.intoValue(); err != nil {
			return nil, err
		}
	}
	if !s.inArray {
		return nil, errEnd
	}
	done, err := s.arrayEnds()
	if err != nil {
		return nil, err
	}
	if done {
		s.inArray = false
		return nil, s.tail()
	}
	if err := s.expect('{'); err != nil {
		return nil, err
	}
	s.entry, s.had = &Entry{}, false
	return s.entry, s.object()
}

// intoValue reads up to the first element of "value".
func (s *Scanner) intoValue() error {
	if err := s.expect('{'); err != nil {
		return err
	}
	for {
		key, err := s.key()
		if err != nil {
			return err
		}
		if strings.EqualFold(key, "value") {
			s.inArray, s.first = true, true
			return s.expect('[')
		}
		if err := s.skip(0); err != nil {
			return err
		}
		more, err := s.more('}')
		if err != nil {
			return err
		}
		if !more {
			return errors.New(`no "value" in the answer`)
		}
	}
}

func (s *Scanner) arrayEnds() (bool, error) {
	if s.first {
		s.first = false
		c, err := s.peek()
		if err != nil || c != ']' {
			return false, err
		}
		return true, s.expect(']')
	}
	more, err := s.more(']')
	return !more, err
}

// tail reads what stands behind "value" and returns errEnd when the answer ends as it should.
func (s *Scanner) tail() error {
	for {
		more, err := s.more('}')
		if err != nil {
			return err
		}
		if !more {
			return s.end()
		}
		if _, err := s.key(); err != nil {
			return err
		}
		if err := s.skip(0); err != nil {
			return err
		}
	}
}

func (s *Scanner) end() error {
	c, err := s.peek()
	if err == nil {
		return fmt.Errorf("%q behind the end of the answer", c)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return errEnd
}

// object reads an entry up to its data or its end.
func (s *Scanner) object() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c == '}' {
		return s.expect('}')
	}
	return s.fields()
}

func (s *Scanner) fields() error {
	for {
		key, err := s.key()
		if err != nil {
			return err
		}
		stop, err := s.field(strings.ToLower(key))
		if err != nil || stop {
			return err
		}
		more, err := s.more('}')
		if err != nil || !more {
			return err
		}
	}
}

// field reads the value of one of an entry's fields. It reports true when the data begins.
func (s *Scanner) field(key string) (bool, error) {
	switch key {
	case "itemid":
		return false, s.stringOrNull(&s.entry.ItemID)
	case "changekey":
		return false, s.stringOrNull(&s.entry.ChangeKey)
	case "error":
		return false, s.itemError()
	case "data":
		return s.begin()
	}
	return false, s.skip(0)
}

func (s *Scanner) begin() (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	if c != '"' {
		return false, s.skip(0)
	}
	if s.had {
		return false, errors.New("an entry with data twice")
	}
	s.had = true
	if s.data, err = s.openString(); err != nil {
		return false, err
	}
	s.entry.Data = base64.NewDecoder(base64.StdEncoding, s.data)
	return true, nil
}

// itemError reads {"code":"…","message":"…"}. The message may quote content and is dropped.
func (s *Scanner) itemError() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != '{' {
		return s.skip(0)
	}
	s.entry.Failed = true
	return s.members(0, func(key string) error {
		if strings.EqualFold(key, "code") {
			return s.stringOrNull(&s.entry.Code)
		}
		return s.skip(1)
	})
}
