package receipt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// visit sees every leaf, and every subtree's leaf hashes once it is known to be the one that was signed. Indexes are from 0.
type visit interface {
	leaf(index int, l Leaf)
	subtree(first int, hashes []Hash)
}

// scan reads a leaves file once and holds it against the receipt's tree and sums. It keeps one subtree's hashes.
func scan(r Receipt, leaves io.Reader, v visit) error {
	if field, what := r.uneven(); field != "" {
		return &Fault{File: InReceipt, What: field + ": " + what}
	}
	s := scanning{r: r, lines: newLines(leaves), sums: tallyOf(r), visit: v}
	for s.lines.Scan() {
		if err := s.line(s.lines.Bytes()); err != nil {
			return err
		}
	}
	if err := s.lines.Err(); err != nil {
		return readFault(s.n+1, err)
	}
	if s.n < r.Tree.Leaves {
		return s.short()
	}
	return s.sums.fault()
}

type scanning struct {
	r     Receipt
	lines *bufio.Scanner
	n     int // lines read
	last  Leaf
	block block
	sums  tally
	visit visit
}

// block is the lines of one subtree.
type block struct {
	computed, recorded []Hash
	disorder           int // a line that comes before the one above it in order, or 0
}

func (s *scanning) line(line []byte) error {
	if s.n++; s.n > s.r.Tree.Leaves {
		return s.counted(&Fault{What: "is one too many"})
	}
	p, err := parseLeaf(line)
	if err != nil {
		return lineFault(s.n, line, err)
	}
	b := &s.block
	if s.n > 1 && b.disorder == 0 && p.Compare(s.last) < 0 {
		b.disorder = s.n
	}
	b.computed, b.recorded, s.last = append(b.computed, p.computed), append(b.recorded, p.recorded), p.Leaf
	s.sums.take(s.n, p.Leaf)
	if s.visit != nil {
		s.visit.leaf(s.n-1, p.Leaf)
	}
	if len(b.computed) < s.r.Tree.Width && s.n < s.r.Tree.Leaves {
		return nil
	}
	return s.close()
}

// close ends a subtree.
func (s *scanning) close() error {
	if f := s.fault(); f != nil {
		return f
	}
	if s.visit != nil {
		s.visit.subtree(s.n-len(s.block.computed), s.block.computed)
	}
	s.block = block{computed: s.block.computed[:0], recorded: s.block.recorded[:0]}
	return nil
}

// fault holds a complete subtree against the receipt. Where the signed root proves one of the two hashes of a line, it
// can be told what was changed.
func (s *scanning) fault() error {
	b, first := s.block, s.n-len(s.block.computed)+1
	want := s.r.Tree.Subtrees[(first-1)/s.r.Tree.Width]
	proven := fold(b.computed) == want
	switch odd := b.odd(); {
	case odd >= 0 && proven:
		return &Fault{File: InLeaves, Line: first + odd, What: "its leaf hash was changed: it is not that of the line"}
	case odd >= 0 && fold(b.recorded) == want:
		return &Fault{File: InLeaves, Line: first + odd, What: "its content was changed: its leaf hash is that of what was signed"}
	case odd >= 0:
		return s.counted(&Fault{Line: first + odd, What: "was changed: its content and its leaf hash do not fit"})
	case b.disorder > 0 && (proven || s.r.Tree.Width > 1):
		return s.counted(&Fault{Line: b.disorder, What: "comes before the line above it in order: one of the two was moved or changed"})
	case proven:
		return nil
	case s.r.Tree.Width > 1:
		return s.counted(&Fault{Line: first, Last: s.n, What: "one of these is not the line that was signed"})
	}
	if i := slices.Index(s.r.Tree.Subtrees, b.computed[0]); i >= 0 {
		return s.counted(&Fault{Line: first, What: fmt.Sprintf("is what was signed as line %d: lines were moved, removed or added", i+1)})
	}
	return s.counted(&Fault{Line: first, What: "is not the line that was signed: it was changed or added"})
}

// odd is the first line whose leaf hash is not its own, or -1.
func (b block) odd() int {
	for i := range b.computed {
		if b.computed[i] != b.recorded[i] {
			return i
		}
	}
	return -1
}

// counted says how many lines there are if not as many as were signed.
func (s *scanning) counted(f *Fault) error {
	f.File = InLeaves
	if f.Line == 0 {
		f.Line = s.n
	}
	n := s.n
	for s.lines.Scan() {
		n++
	}
	if n != s.r.Tree.Leaves {
		f.What += fmt.Sprintf("; the file has %d lines, %d were signed", n, s.r.Tree.Leaves)
	}
	return f
}

// short is the fault of a file that ends early.
func (s *scanning) short() error {
	first, missing := s.n-len(s.block.computed)+1, s.r.Tree.Leaves-s.n
	if odd := s.block.odd(); odd >= 0 {
		return s.counted(&Fault{Line: first + odd, What: "was changed: its content and its leaf hash do not fit"})
	}
	f := &Fault{File: InLeaves, Line: first, Last: s.r.Tree.Leaves}
	f.What = fmt.Sprintf("%d of these missing: the file has %d lines, %d were signed", missing, s.n, s.r.Tree.Leaves)
	if first == s.n+1 {
		f.What = fmt.Sprintf("missing: the file ends after line %d", s.n)
	}
	return f
}

var errCut = errors.New("the file ends in the middle of the line")

// newLines splits at line feeds; a last line without one was cut.
func newLines(r io.Reader) *bufio.Scanner {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	lines.Split(func(data []byte, end bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			return i + 1, data[:i], nil
		}
		if end && len(data) > 0 {
			return 0, nil, errCut
		}
		return 0, nil, nil
	})
	return lines
}

func readFault(line int, err error) error {
	switch {
	case errors.Is(err, bufio.ErrTooLong):
		return &Fault{File: InLeaves, Line: line, What: fmt.Sprintf("is longer than %d bytes", maxLine), Err: err}
	case errors.Is(err, errCut):
		return &Fault{File: InLeaves, Line: line, What: err.Error(), Err: err}
	}
	return fmt.Errorf("read leaves, line %d: %w", line, err)
}

func lineFault(n int, line []byte, err error) error {
	f := &Fault{File: InLeaves, Line: n, What: err.Error(), Err: err}
	if bytes.HasSuffix(line, []byte("\r")) {
		f.What = "ends in a carriage return: an editor or a transfer changed the line ends; fetch the file again"
	}
	return f
}

// tally counts the leaves against the receipt's sums. It holds no more than the receipt does.
type tally struct {
	r       Receipt
	folders map[string]*FolderSum // what is still to come
	classes map[string]*ClassSum
	unknown *Fault // the first line with a folder or class that the receipt does not have
}

func path(names []string) string { return strings.Join(names, "\x00") }

func tallyOf(r Receipt) tally {
	t := tally{r: r, folders: map[string]*FolderSum{}, classes: map[string]*ClassSum{}}
	for _, f := range r.Folders {
		t.folders[path(f.Folder)] = &f
	}
	for _, c := range r.Classes {
		t.classes[c.Class] = &c
	}
	return t
}

func (t *tally) take(line int, l Leaf) {
	f, c := t.folders[path(l.Folder)], t.classes[l.Class]
	if f == nil || c == nil {
		if t.unknown == nil {
			t.unknown = &Fault{File: InLeaves, Line: line, What: "has a folder or class that the receipt does not have"}
		}
		return
	}
	f.Items, f.Bytes = f.Items-1, f.Bytes-l.Bytes
	c.Items, c.Bytes = c.Items-1, c.Bytes-l.Bytes
}

// fault says which sum the leaves do not come to. The leaves are what was signed, so it is the receipt's maker who erred.
func (t *tally) fault() error {
	if t.unknown != nil {
		return t.unknown
	}
	for _, f := range t.r.Folders {
		if left := t.folders[path(f.Folder)]; left.Items != 0 || left.Bytes != 0 {
			return &Fault{File: InReceipt, What: fmt.Sprintf("folder %q: %d items of %d bytes, the leaves have %d of %d",
				strings.Join(f.Folder, " / "), f.Items, f.Bytes, f.Items-left.Items, f.Bytes-left.Bytes)}
		}
	}
	for _, c := range t.r.Classes {
		if left := t.classes[c.Class]; left.Items != 0 || left.Bytes != 0 {
			return &Fault{File: InReceipt, What: fmt.Sprintf("class %q: %d items of %d bytes, the leaves have %d of %d",
				c.Class, c.Items, c.Bytes, c.Items-left.Items, c.Bytes-left.Bytes)}
		}
	}
	return nil
}
