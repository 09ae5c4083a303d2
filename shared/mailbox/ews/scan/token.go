package scan

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

type kind int

const (
	start kind = iota
	end
)

// token is a tag. An empty-element tag <a/> is a start and then an end.
type token struct {
	kind       kind
	name       string // without prefix
	attributes string // raw, of a start tag
}

// attribute returns the value of an attribute without prefix, "" when absent. The values wanted here (ResponseClass,
// Name) hold no character references.
func (t token) attribute(name string) string {
	rest := t.attributes
	for {
		i := strings.Index(rest, name)
		if i < 0 {
			return ""
		}
		before, after := rest[:i], strings.TrimLeft(rest[i+len(name):], " \t\r\n")
		rest = rest[i+len(name):]
		if before != "" && !strings.ContainsAny(before[len(before)-1:], " \t\r\n") || !strings.HasPrefix(after, "=") {
			continue
		}
		after = strings.TrimLeft(after[1:], " \t\r\n")
		if after == "" || after[0] != '"' && after[0] != '\'' {
			continue
		}
		if value, _, ok := strings.Cut(after[1:], after[:1]); ok {
			return value
		}
	}
}

// token returns the next tag and appends the text before it to text. Declarations, comments and processing
// instructions are skipped.
func (s *Scanner) token(text *[]byte) (token, error) {
	if s.pendingEnd != "" {
		name := s.pendingEnd
		s.pendingEnd = ""
		return token{kind: end, name: name}, s.pop(name)
	}
	for {
		if err := s.text(text); err != nil {
			return token{}, err
		}
		tag, err := s.tag()
		if err != nil {
			return token{}, err
		}
		switch tag[0] {
		case '?', '!':
			continue
		case '/':
			name := local(string(bytes.TrimSpace(tag[1:])))
			return token{kind: end, name: name}, s.pop(name)
		}
		return s.startTag(string(tag))
	}
}

func (s *Scanner) startTag(tag string) (token, error) {
	empty := strings.HasSuffix(tag, "/")
	tag = strings.TrimSuffix(tag, "/")
	name, attributes := tag, ""
	if i := strings.IndexAny(tag, " \t\r\n"); i >= 0 {
		name, attributes = tag[:i], tag[i:]
	}
	name = local(name)
	if name == "" {
		return token{}, s.bad("a tag without a name")
	}
	if len(s.open) >= maxDepth {
		return token{}, s.bad("elements are nested deeper than %d", maxDepth)
	}
	s.open = append(s.open, name)
	if empty {
		s.pendingEnd = name
	}
	return token{kind: start, name: name, attributes: attributes}, nil
}

func (s *Scanner) pop(name string) error {
	if len(s.open) == 0 || s.open[len(s.open)-1] != name {
		return s.bad("</%.40s> ends an element that is not open", name)
	}
	s.open = s.open[:len(s.open)-1]
	return nil
}

func local(name string) string {
	return name[strings.LastIndexByte(name, ':')+1:]
}

// text appends what stands before the next '<' to text, and consumes the '<'.
func (s *Scanner) text(text *[]byte) error {
	for {
		b, err := s.r.ReadSlice('<')
		s.offset += int64(len(b))
		if len(*text)+len(b) > maxText {
			return s.bad("a text is longer than %d bytes", maxText)
		}
		if err == nil {
			*text = append(*text, b[:len(b)-1]...)
			return nil
		}
		*text = append(*text, b...)
		if !isFull(err) {
			return broken(err)
		}
	}
}

// tag reads up to the '>' that ends the tag, which is consumed. Its slice is valid until the next read.
func (s *Scanner) tag() ([]byte, error) {
	var tag []byte
	quote := byte(0)
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, broken(err)
		}
		s.offset++
		switch {
		case c == '>' && quote == 0 && complete(tag):
			if len(tag) == 0 {
				return nil, s.bad("a tag without a name")
			}
			return tag, nil
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\'') && len(tag) > 0 && tag[0] != '!' && tag[0] != '?':
			quote = c
		}
		if len(tag) >= maxTag {
			return nil, s.bad("a tag is longer than %d bytes", maxTag)
		}
		tag = append(tag, c)
		if string(tag) == "![CDATA[" {
			return nil, s.bad("a CDATA section, which EWS does not write")
		}
	}
}

// complete says whether a '>' after tag ends it: a comment ends with "-->" only.
func complete(tag []byte) bool {
	return !bytes.HasPrefix(tag, []byte("!--")) || len(tag) >= 5 && bytes.HasSuffix(tag, []byte("--"))
}

func isFull(err error) bool { return errors.Is(err, bufio.ErrBufferFull) }

// broken turns the end of the input into io.ErrUnexpectedEOF: only a complete envelope ends well.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read answer: %w", err)
}
