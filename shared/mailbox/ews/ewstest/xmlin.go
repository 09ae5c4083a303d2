package ewstest

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Namespaces of a request.
const (
	nsSOAP     = "http://schemas.xmlsoap.org/soap/envelope/"
	nsTypes    = "http://schemas.microsoft.com/exchange/services/2006/types"
	nsMessages = "http://schemas.microsoft.com/exchange/services/2006/messages"
	nsErrors   = "http://schemas.microsoft.com/exchange/services/2006/errors"
)

// Caps of a request. Exchange takes any depth; these are far above what a client sends.
const (
	maxDepth    = 64
	maxElements = 200_000
)

// element is one element of a request. Text is its character data, without that of its children.
type element struct {
	name      xml.Name
	attrs     []xml.Attr
	kids      []*element
	text      string
	line, col int
}

// decodeXML reads one document into a tree, in bounded memory.
func decodeXML(r io.Reader) (*element, error) {
	d := xml.NewDecoder(r)
	d.CharsetReader = func(label string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("encoding %q is not utf-8", label)
	}
	t := tree{d: d}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return t.document()
		}
		if err != nil {
			return nil, err
		}
		if err := t.take(tok); err != nil {
			line, col := d.InputPos()
			return nil, fmt.Errorf("line %d, position %d: %w", line, col, err)
		}
	}
}

type tree struct {
	d     *xml.Decoder
	root  *element
	open  []*element
	text  []*strings.Builder
	count int
}

func (t *tree) document() (*element, error) {
	if t.root == nil || len(t.open) > 0 {
		return nil, errors.New("root element is missing")
	}
	return t.root, nil
}

func (t *tree) take(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("for security reasons DTD is prohibited in this XML document")
	case xml.StartElement:
		return t.start(tok)
	case xml.EndElement:
		last := len(t.open) - 1
		t.open[last].text = t.text[last].String()
		t.open, t.text = t.open[:last], t.text[:last]
	case xml.CharData:
		if n := len(t.text); n > 0 {
			t.text[n-1].Write(tok)
		}
	}
	return nil
}

func (t *tree) start(tok xml.StartElement) error {
	if t.count++; t.count > maxElements || len(t.open) >= maxDepth {
		return errors.New("document is too large or too deep")
	}
	line, col := t.d.InputPos()
	e := &element{name: tok.Name, attrs: append([]xml.Attr(nil), tok.Attr...), line: line, col: col}
	switch n := len(t.open); {
	case n > 0:
		t.open[n-1].kids = append(t.open[n-1].kids, e)
	case t.root != nil:
		return errors.New("there are multiple root elements")
	default:
		t.root = e
	}
	t.open, t.text = append(t.open, e), append(t.text, &strings.Builder{})
	return nil
}

// child returns the first child of that local name, nil when there is none; it may be called on nil.
func (e *element) child(local string) *element {
	if e == nil {
		return nil
	}
	for _, k := range e.kids {
		if k.name.Local == local {
			return k
		}
	}
	return nil
}

// children may be called on nil.
func (e *element) children() []*element {
	if e == nil {
		return nil
	}
	return e.kids
}

// path follows children; it is nil when one is absent.
func (e *element) path(locals ...string) *element {
	for _, l := range locals {
		e = e.child(l)
	}
	return e
}

// attr returns an attribute's value, "" when absent.
func (e *element) attr(local string) string {
	if e == nil {
		return ""
	}
	for _, a := range e.attrs {
		if a.Name.Local == local && a.Name.Space == "" {
			return a.Value
		}
	}
	return ""
}

func (e *element) has(local string) bool {
	for _, a := range e.attrs {
		if a.Name.Local == local && a.Name.Space == "" {
			return true
		}
	}
	return false
}

// value returns the trimmed text; it may be called on nil.
func (e *element) value() string {
	if e == nil {
		return ""
	}
	return strings.TrimSpace(e.text)
}

func (e *element) isTrue() bool { v := e.value(); return v == "true" || v == "1" }
