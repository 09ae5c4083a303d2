package compose

import (
	"bufio"
	"bytes"
	"io"
	"iter"
	"strconv"
	"strings"
)

// mbox yields the mails of an mbox file without their From_ lines and with ">From " unquoted once, as mboxo and mboxrd
// both write it. A mail that is too large is an error, and the next follow; an error of r is the last.
func mbox(r *bufio.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		b := box{r: r}
		if b.err = b.line(); b.err != nil {
			if b.err != io.EOF {
				yield(nil, b.err)
			}
			return
		}
		b.timed = hasTime(b.current)
		for b.err == nil {
			raw, err := b.mail()
			if !yield(raw, err) {
				return
			}
		}
		if b.err != io.EOF {
			yield(nil, b.err)
		}
	}
}

// box reads an mbox file by lines.
type box struct {
	r       *bufio.Reader
	current []byte // the From_ line that begins the next mail
	timed   bool   // From_ lines of this file carry a time, so a line without one is text
	err     error  // io.EOF at the end
}

// line reads the next line into current, with its line end. A line longer than the buffer comes in pieces.
func (b *box) line() error {
	line, err := b.r.ReadSlice('\n')
	b.current = line
	if err == bufio.ErrBufferFull || err == io.EOF && len(line) > 0 {
		return nil
	}
	return err
}

// mail reads up to the next From_ line, which becomes current.
func (b *box) mail() ([]byte, error) {
	for b.err == nil && !bytes.HasSuffix(b.current, []byte("\n")) { // the rest of a long From_ line
		b.err = b.line()
	}
	var raw []byte
	tooLarge, blank, begin := false, true, true // a mail may be empty
	for b.err == nil {
		if b.err = b.line(); b.err != nil {
			break
		}
		if begin && blank && b.separates() {
			break
		}
		line := b.current
		if begin {
			line = unquote(line)
			blank = len(bytes.TrimRight(line, "\r\n")) == 0
		}
		begin = bytes.HasSuffix(b.current, []byte("\n"))
		if len(raw)+len(line) > maxMail {
			tooLarge, raw = true, nil
		}
		if !tooLarge {
			raw = append(raw, line...)
		}
	}
	if tooLarge {
		return nil, errTooLarge
	}
	return trimBlank(raw), nil
}

// separates says whether the current line is a From_ line.
func (b *box) separates() bool {
	return bytes.HasPrefix(b.current, []byte("From ")) && (!b.timed || hasTime(b.current))
}

// hasTime looks for hh:mm.
func hasTime(line []byte) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	for i := 2; i+2 < len(line); i++ {
		if line[i] == ':' && digit(line[i-1]) && digit(line[i+1]) && digit(line[i+2]) {
			return true
		}
	}
	return false
}

func unquote(line []byte) []byte {
	if len(line) > 0 && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		return line[1:]
	}
	return line
}

// trimBlank cuts the empty line that stands between a mail and the next From_ line.
func trimBlank(raw []byte) []byte {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if bytes.HasSuffix(raw, []byte(end)) {
			return raw[:len(raw)-len(end)/2]
		}
	}
	return raw
}

// setHeaderFlags reads the fields that mail programs keep their flags in.
func (m *Mail) setHeaderFlags() {
	block, _ := split(m.Raw)
	h := parseHeader(block)
	own := h.first("X-Status")
	m.Read = strings.ContainsRune(h.first("Status")+own, 'R')
	m.Answered = strings.ContainsRune(own, 'A')
	m.Flagged = strings.ContainsRune(own, 'F')
	m.Draft = strings.ContainsRune(own, 'T') || h.first("X-Unsent") == "1"
	if bits, err := strconv.ParseUint(h.first("X-Mozilla-Status"), 16, 16); err == nil {
		m.Read, m.Answered, m.Flagged = bits&1 != 0, bits&2 != 0, bits&4 != 0
	}
}
