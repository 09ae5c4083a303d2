package manifest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

const maxLine = 1 << 20

// trailer is the last line of a file.
type trailer struct {
	SHA256 string `json:"sha256"`
}

// encode writes a header, a line for each of the entries, and the checksum of both.
func encode[T any](head any, entries []T) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	if err := e.Encode(head); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	for _, it := range entries {
		if err := e.Encode(it); err != nil {
			return nil, fmt.Errorf("write manifest: %w", err)
		}
	}
	sum := sha256.Sum256(b.Bytes())
	if err := e.Encode(trailer{hex.EncodeToString(sum[:])}); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return b.Bytes(), nil
}

// lines reads what encode wrote.
type lines struct {
	scan *bufio.Scanner
	line int // the last one read, from 1
	sum  hash.Hash
}

func newLines(r io.Reader) *lines {
	l := &lines{scan: bufio.NewScanner(r), sum: sha256.New()}
	l.scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	return l
}

// next reads a line into v and counts it into the checksum.
func (l *lines) next(v any) error {
	if err := l.read(v); err != nil {
		return err
	}
	l.sum.Write(l.scan.Bytes())
	l.sum.Write([]byte("\n"))
	return nil
}

func (l *lines) read(v any) error {
	l.line++
	more := l.scan.Scan() // also true for what a reader that failed has left of a line
	switch err := l.scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%w: line %d: longer than %d bytes", ErrDamaged, l.line, maxLine)
	case err != nil:
		return fmt.Errorf("read manifest line %d: %w", l.line, err)
	case !more:
		return fmt.Errorf("%w: line %d: file ends early", ErrDamaged, l.line)
	}
	if err := json.Unmarshal(l.scan.Bytes(), v); err != nil {
		return fmt.Errorf("%w: line %d: %w", ErrDamaged, l.line, err)
	}
	return nil
}

// end reads the checksum and makes sure that nothing follows.
func (l *lines) end() error {
	var end trailer
	if err := l.read(&end); err != nil {
		return err
	}
	if end.SHA256 != hex.EncodeToString(l.sum.Sum(nil)) {
		return fmt.Errorf("%w: line %d: checksum does not fit the lines above", ErrDamaged, l.line)
	}
	if l.scan.Scan() {
		return fmt.Errorf("%w: line %d: more after the end", ErrDamaged, l.line+1)
	}
	return nil
}

func checkHead(version, count, most int) error {
	if version != Version || count < 0 || count > most {
		return fmt.Errorf("%w: line 1: version %d with %d items, want version %d with at most %d", ErrDamaged, version, count, Version, most)
	}
	return nil
}
