package receipt

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// Depth is what a leaf's digest covers.
type Depth string

// The depths.
const (
	Content Depth = "content" // the canonical properties of the item's stream as exported from the target at the change key it was listed with
	Listing Depth = "index"   // the properties that the target's listing shows
)

// Leaf is one item that was found on the target.
type Leaf struct {
	Folder   []string    `json:"folder"` // names from the top
	Key      mailbox.Key `json:"key"`
	Class    string      `json:"class"`
	Received time.Time   `json:"received,omitzero"` // to the second, UTC
	Bytes    int64       `json:"bytes"`
	Depth    Depth       `json:"depth"`
	Digest   string      `json:"digest"` // SHA-256, 64 lower-case hexadecimal digits
}

// maxLine is above any line of a leaves file: Exchange allows 300 levels of folders with names of 255 characters.
const maxLine = 1 << 20

// Compare orders leaves as they stand in the file: by folder path, name by name, then by key.
func (l Leaf) Compare(o Leaf) int {
	return cmp.Or(slices.Compare(l.Folder, o.Folder), l.Key.Compare(o.Key))
}

// normal is the leaf as it is written: whole seconds, UTC, valid UTF-8. A time that JSON cannot hold is left out.
func (l Leaf) normal() Leaf {
	l.Folder = valid(l.Folder)
	l.Class = strings.ToValidUTF8(l.Class, "\uFFFD")
	l.Received = whole(l.Received)
	return l
}

func valid(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strings.ToValidUTF8(n, "\uFFFD")
	}
	return out
}

func whole(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Second)
	if t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func (l Leaf) check() error {
	var digest Hash
	switch {
	case len(l.Folder) == 0:
		return errors.New("field folder: is empty")
	case l.Bytes < 0:
		return fmt.Errorf("field bytes: %d", l.Bytes)
	case l.Depth != Content && l.Depth != Listing:
		return fmt.Errorf("field depth: %q, want %q or %q", l.Depth, Content, Listing)
	case digest.UnmarshalText([]byte(l.Digest)) != nil:
		return errors.New("field digest: want 64 lower-case hexadecimal digits")
	}
	return nil
}

// The end of a line: what is before it, closed by a brace, is what the leaf hash covers.
const (
	tailStart = `,"leaf":"`
	tailEnd   = `"}`
	tailSize  = len(tailStart) + 2*len(Hash{}) + len(tailEnd)
)

// encode writes a leaf's line and returns its leaf hash.
func (l Leaf) encode() ([]byte, Hash, error) {
	l = l.normal()
	if err := l.check(); err != nil {
		return nil, Hash{}, err
	}
	content, err := compact(l)
	if err != nil {
		return nil, Hash{}, err
	}
	h := hashLeaf(content)
	line := append(content[:len(content)-1], tailStart+h.String()+tailEnd+"\n"...)
	if len(line) > maxLine {
		return nil, h, fmt.Errorf("line of %d bytes, at most %d", len(line), maxLine)
	}
	return line, h, nil
}

// compact is v as JSON in one line, with no character escaped that need not be.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parsed is a line of a leaves file.
type parsed struct {
	Leaf
	computed Hash // over what stands in the line
	recorded Hash // what the line says
}

// parseLeaf reads a line without its line feed.
func parseLeaf(line []byte) (parsed, error) {
	var p parsed
	at := len(line) - tailSize
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(tailStart)) || !bytes.HasSuffix(line, []byte(tailEnd)) {
		return p, errors.New("no leaf hash at its end: the line was cut or written anew")
	}
	if err := p.recorded.UnmarshalText(line[at+len(tailStart) : len(line)-len(tailEnd)]); err != nil {
		return p, fmt.Errorf("leaf %w", err)
	}
	content := append(bytes.Clone(line[:at]), '}')
	if err := strict(content, &p.Leaf); err != nil {
		return p, err
	}
	p.computed = hashLeaf(content)
	return p, p.Leaf.check()
}

// strict reads one JSON value into v: no field that v does not have, nothing after it.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return &jsonError{offset(b, err), err}
	}
	if _, err := d.Token(); err != io.EOF {
		return &jsonError{d.InputOffset(), errors.New("more after the end")}
	}
	return nil
}

// jsonError is an error of encoding/json with the byte it is about, -1 when that is not known.
type jsonError struct {
	at  int64
	err error
}

func (e *jsonError) Error() string {
	if e.at < 0 {
		return e.what()
	}
	return fmt.Sprintf("byte %d: %s", e.at, e.what())
}

func (e *jsonError) what() string {
	switch {
	case errors.Is(e.err, io.ErrUnexpectedEOF):
		return "it ends in the middle"
	case errors.Is(e.err, io.EOF):
		return "it is empty"
	}
	return strings.TrimPrefix(e.err.Error(), "json: ")
}

func (e *jsonError) Unwrap() error { return e.err }

func offset(b []byte, err error) int64 {
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return s.Offset
	}
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return t.Offset
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return int64(len(b))
	}
	// All other errors have no place, but quote what they are about: a field's name, a hash, a key, a time.
	_, after, _ := strings.Cut(err.Error(), `"`)
	quoted, err := strconv.QuotedPrefix(`"` + after)
	if err != nil {
		return -1
	}
	return int64(bytes.Index(b, []byte(quoted)))
}
