// Package scan reads the answer to an EWS ExportItems request in constant memory.
//
// An XML decoder would hold the text of a whole Data element, which is up to 150 MB of mail in base64. The Scanner
// looks only at tags, keeps the few short texts that say what happened, and hands Data on as a stream:
//
//	for each response message:
//	    Next returns its class, code and values, at the beginning of Data or at its end
//	    Read yields the bytes of Data; what is left unread is skipped by the following Next
//	Next returns io.EOF after the end of the envelope
package scan

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Bounds of what the Scanner holds. The longest tag of a real answer is an ItemId with about 600 bytes, the longest
// text a message of about 300.
const (
	maxTag    = 64 << 10
	maxText   = 64 << 10
	maxDepth  = 64
	maxValues = 64
)

// SyntaxError says where the answer is not what EWS writes.
type SyntaxError struct {
	Offset int64 // bytes from the beginning of the answer
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason) }

// Message is one response message, or a fault.
type Message struct {
	Fault  bool              // a SOAP fault, which stands for the whole request
	Class  string            // "Success", "Warning" or "Error"
	Code   string            // "NoError", "ErrorItemNotFound", …
	Values map[string]string // of MessageXml: "BackOffMilliseconds", "InnerErrorResponseCode", …
	Data   bool              // a Data element follows: read it with Read
}

// Scanner reads one answer. It is not safe for concurrent use.
type Scanner struct {
	r          *bufio.Reader
	offset     int64
	open       []string // local names of the open elements
	data       *data    // the Data element being read, nil outside
	pendingEnd string   // name of an empty-element tag whose end is still to be told
	err        error    // what ended the answer, repeated by every later call
}

// New returns a Scanner of r. Element names count without their prefix. The answer must be UTF-8 or ASCII.
func New(r io.Reader) *Scanner {
	return &Scanner{r: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next response message. It returns io.EOF after a complete envelope, io.ErrUnexpectedEOF (wrapped)
// when the answer breaks off, and a *SyntaxError when it is malformed.
func (s *Scanner) Next() (Message, error) {
	if err := s.leaveData(); err != nil {
		return Message{}, s.fail(err)
	}
	m, err := s.next()
	if err != nil {
		return Message{}, s.fail(err)
	}
	return m, nil
}

// Read yields the decoded bytes of the Data element that the last Next stopped at, then io.EOF. Its errors are those
// of Next, and a [*EncodingError] when the element is complete but its text is not base64; after that one, Next goes
// on with the next message.
func (s *Scanner) Read(p []byte) (int, error) {
	if s.data == nil {
		return 0, io.EOF
	}
	return s.data.Read(p)
}

func (s *Scanner) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// Skip leaves the rest of Data unread and reads its end, so that an answer that breaks off there is noticed.
func (s *Scanner) Skip() error {
	if err := s.leaveData(); err != nil {
		return s.fail(err)
	}
	return nil
}

// leaveData skips the rest of the Data element and takes its end tag off the stack.
func (s *Scanner) leaveData() error {
	if s.err != nil || s.data == nil {
		return s.err
	}
	d := s.data
	s.data = nil
	return d.skip()
}

func (s *Scanner) next() (Message, error) {
	var m Message
	var text []byte
	depth := -1 // of the message being read
	value := ""
	for {
		t, err := s.token(&text)
		if err != nil {
			return m, err
		}
		switch {
		case t.kind == end && depth == len(s.open):
			return m, nil
		case t.kind == end && depth < 0 && len(s.open) == 0:
			return m, io.EOF
		case t.kind == start && depth < 0 && isMessage(t.name):
			depth = len(s.open) - 1
			m.Fault, m.Class = t.name == "Fault", t.attribute("ResponseClass")
		case depth < 0:
		case t.kind == start && t.name == "Data":
			s.data = &data{s: s}
			m.Data = true
			return m, nil
		case t.kind == start && t.name == "Value":
			value = t.attribute("Name")
		case t.kind == end:
			if err := m.note(s, t.name, value, strings.TrimSpace(string(text))); err != nil {
				return m, err
			}
		}
		text = text[:0]
	}
}

func isMessage(name string) bool {
	return name == "Fault" || strings.HasSuffix(name, "ResponseMessage")
}

// note keeps the text of an element that has just ended.
func (m *Message) note(s *Scanner, name, value, text string) error {
	switch name {
	case "ResponseCode":
		m.Code = text
	case "faultcode":
		if _, local, ok := strings.Cut(text, ":"); ok {
			text = local
		}
		if m.Code == "" {
			m.Code = text
		}
	case "Value":
		if len(m.Values) >= maxValues {
			return s.bad("more than %d values in one message", maxValues)
		}
		if m.Values == nil {
			m.Values = map[string]string{}
		}
		m.Values[value] = text
	}
	return nil
}

func (s *Scanner) bad(format string, args ...any) error {
	return &SyntaxError{Offset: s.offset, Reason: fmt.Sprintf(format, args...)}
}
