package compose

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	netmail "net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/charmap"
)

// header is a mail's header block: every field in its order, values unfolded.
type header struct {
	raw    string
	fields []field
}

type field struct{ name, value string }

// split cuts a mail at its first empty line. A mail that does not begin with a header field is all body.
func split(raw []byte) (block, body []byte) {
	begin := raw
	if bytes.HasPrefix(begin, []byte("From ")) || bytes.HasPrefix(begin, []byte(">From ")) {
		_, begin, _ = bytes.Cut(begin, []byte("\n")) // the envelope line of a mail cut out of an mbox file
	}
	if !isField(bytes.TrimLeft(begin, " \t")) {
		if bytes.HasPrefix(begin, []byte("\n")) || bytes.HasPrefix(begin, []byte("\r\n")) {
			_, begin, _ = bytes.Cut(begin, []byte("\n"))
		}
		return nil, begin
	}
	for at := 0; at < len(begin); {
		line, _, _ := bytes.Cut(begin[at:], []byte("\n"))
		next := min(at+len(line)+1, len(begin))
		if len(bytes.TrimRight(line, "\r")) == 0 {
			return begin[:at], begin[next:]
		}
		at = next
	}
	return begin, nil
}

// isField says whether b begins with "Name:".
func isField(b []byte) bool {
	i := bytes.IndexByte(b, ':')
	if i < 1 {
		return false
	}
	for _, c := range bytes.TrimRight(b[:i], " \t") {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return b[0] > ' '
}

func parseHeader(block []byte) header {
	h := header{raw: text(block)}
	for line := range strings.Lines(h.raw) {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\r", " ")
		n := len(h.fields)
		if n == 0 { // some senders indent even the first field
			line = strings.TrimLeft(line, " \t")
		}
		switch {
		case line == "":
		case isField([]byte(line)):
			name, value, _ := strings.Cut(line, ":")
			h.fields = append(h.fields, field{strings.TrimSpace(name), strings.TrimSpace(value)})
		case n > 0: // a continuation, indented or not
			h.fields[n-1].value = strings.TrimSpace(h.fields[n-1].value + " " + strings.TrimSpace(line))
		}
	}
	return h
}

// text makes a string of bytes in an unknown encoding: UTF-8 where it is, else every byte as a character of
// windows-1252, so that nothing is lost.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	s, err := charmap.Windows1252.NewDecoder().Bytes(b)
	if err != nil {
		return strings.ToValidUTF8(string(b), "\uFFFD")
	}
	return string(s)
}

// first returns the first value of a field as it stands there, "" when absent.
func (h header) first(name string) string {
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

func (h header) all(name string) (values []string) {
	for _, f := range h.fields {
		if strings.EqualFold(f.name, name) {
			values = append(values, f.value)
		}
	}
	return values
}

// text returns the first value of a field with its encoded words decoded.
func (h header) text(name string) string { return decodeWords(h.first(name)) }

// decodeWords decodes RFC 2047 words. A word in an unknown character set stays as it is.
func decodeWords(s string) string {
	d := mime.WordDecoder{CharsetReader: func(label string, r io.Reader) (io.Reader, error) {
		return charset.NewReaderLabel(label, r)
	}}
	decoded, err := d.DecodeHeader(s)
	if err != nil {
		return s
	}
	return text([]byte(decoded))
}

func (h header) sent() time.Time { return parseDate(h.first("Date")) }

// received returns the date of the topmost Received field, which the last server wrote.
func (h header) received() time.Time {
	for _, v := range h.all("Received") {
		if i := strings.LastIndexByte(v, ';'); i >= 0 {
			if t := parseDate(v[i+1:]); !t.IsZero() {
				return t
			}
		}
	}
	return time.Time{}
}

// parseDate returns the zero time for what is no date, or one that no mailbox holds.
func parseDate(s string) time.Time {
	t, err := netmail.ParseDate(strings.TrimSpace(s))
	if err != nil {
		for _, layout := range []string{time.ANSIC, time.UnixDate, time.RFC3339, "2006-01-02 15:04:05 -0700"} {
			if t, err = time.Parse(layout, strings.TrimSpace(s)); err == nil {
				break
			}
		}
	}
	if err != nil || t.Year() < 1602 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// importance returns 0 low, 1 normal or 2 high.
func (h header) importance() int32 {
	for _, name := range []string{"Importance", "X-MSMail-Priority", "X-Priority", "Priority"} {
		switch v := strings.ToLower(h.first(name)); {
		case v == "":
		case v == "high" || v == "urgent" || v[0] == '1' || v[0] == '2':
			return 2
		case v == "low" || v == "non-urgent" || v[0] == '4' || v[0] == '5':
			return 0
		}
	}
	return 1
}

func (h header) sensitivity() int32 {
	switch strings.ToLower(h.first("Sensitivity")) {
	case "personal":
		return 1
	case "private":
		return 2
	case "company-confidential":
		return 3
	}
	return 0
}

func (h header) keywords() (words []string) {
	for _, v := range h.all("Keywords") {
		for word := range strings.SplitSeq(decodeWords(v), ",") {
			if word = strings.TrimSpace(word); word != "" {
				words = append(words, word)
			}
		}
	}
	return words
}

// threadIndex returns a Thread-Index field that has the form of a conversation index, else nil.
func (h header) threadIndex() []byte {
	b, err := base64.StdEncoding.DecodeString(h.first("Thread-Index"))
	if err != nil || len(b) < 22 || (len(b)-22)%5 != 0 {
		return nil
	}
	return b
}

// splitSubject cuts off a prefix of one to three letters, a colon and a space (MS-OXCMSG 2.2.1.9).
func splitSubject(s string) (prefix, rest string) {
	head, tail, ok := strings.Cut(s, ": ")
	n := utf8.RuneCountInString(head)
	if !ok || n < 1 || n > 3 || strings.ContainsAny(head, " 0123456789") {
		return "", s
	}
	return head + ": ", tail
}
