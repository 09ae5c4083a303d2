package bicep

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind int

const (
	end kind = iota
	newline
	ident
	number
	text // a string, in parts
	mark // an operator or bracket
)

// token is one word of a file. A text's parts are its literal pieces; between them stand the expressions in holes.
type token struct {
	kind  kind
	s     string
	parts []string
	holes []hole
	line  int
}

// hole is the source of an interpolated expression.
type hole struct {
	source string
	line   int
}

// maxFile bounds what is read; the largest file here has 15 KB.
const maxFile = 1 << 20

// marks are the operators, longest first.
var marks = [...]string{"??", "::", ".?", "||", "&&", "==", "!=", "=~", "!~", "<=", ">=", "=>",
	"{", "}", "[", "]", "(", ")", ":", ",", ".", "=", "?", "!", "<", ">", "+", "-", "*", "/", "%", "@", "|"}

type lexer struct {
	src  string
	at   int
	line int
}

func lex(src string, line int) ([]token, error) {
	if len(src) > maxFile {
		return nil, fmt.Errorf("file has %d bytes, at most %d", len(src), maxFile)
	}
	l := &lexer{src: src, line: line}
	var out []token
	for {
		t, err := l.next()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
		out = append(out, t)
		if t.kind == end {
			return out, nil
		}
	}
}

func (l *lexer) next() (token, error) {
	if err := l.skip(); err != nil {
		return token{}, err
	}
	rest, line := l.src[l.at:], l.line
	r, _ := utf8.DecodeRuneInString(rest)
	switch {
	case rest == "":
		return token{kind: end, line: line}, nil
	case r == '\n':
		l.at++
		l.line++
		return token{kind: newline, line: line}, nil
	case strings.HasPrefix(rest, "'''"):
		return l.block()
	case r == '\'':
		return l.quoted()
	case unicode.IsDigit(r):
		return l.word(number, unicode.IsDigit), nil
	case r == '_' || unicode.IsLetter(r):
		return l.word(ident, func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }), nil
	}
	for _, m := range marks {
		if strings.HasPrefix(rest, m) {
			l.at += len(m)
			return token{kind: mark, s: m, line: line}, nil
		}
	}
	return token{}, fmt.Errorf("character %q is not understood", r)
}

// skip passes blanks, comments and # directives.
func (l *lexer) skip() error {
	for l.at < len(l.src) {
		rest := l.src[l.at:]
		switch {
		case strings.ContainsAny(rest[:1], " \t\r"):
			l.at++
		case strings.HasPrefix(rest, "//"), rest[0] == '#':
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.at += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest, "*/")
			if n < 0 {
				return fmt.Errorf("comment is not closed")
			}
			l.line += strings.Count(rest[:n], "\n")
			l.at += n + 2
		default:
			return nil
		}
	}
	return nil
}

func (l *lexer) word(k kind, in func(rune) bool) token {
	rest := l.src[l.at:]
	n := strings.IndexFunc(rest, func(r rune) bool { return !in(r) })
	if n < 0 {
		n = len(rest)
	}
	l.at += n
	return token{kind: k, s: rest[:n], line: l.line}
}

// block reads a multi-line string: nothing in it is special, and a line break right after its opening is not part of it.
func (l *lexer) block() (token, error) {
	t := token{kind: text, line: l.line}
	body := l.src[l.at+3:]
	n := strings.Index(body, "'''")
	if n < 0 {
		return t, fmt.Errorf("multi-line string is not closed")
	}
	l.line += strings.Count(body[:n], "\n")
	l.at += n + 6
	t.parts = []string{strings.TrimPrefix(strings.ReplaceAll(body[:n], "\r\n", "\n"), "\n")}
	return t, nil
}

func (l *lexer) quoted() (token, error) {
	t := token{kind: text, line: l.line}
	var part strings.Builder
	for l.at++; l.at < len(l.src); {
		c := l.src[l.at]
		switch {
		case c == '\'':
			l.at++
			t.parts = append(t.parts, part.String())
			return t, nil
		case c == '\n':
			return t, fmt.Errorf("string is not closed")
		case c == '\\':
			n, s, err := escaped(l.src[l.at:])
			if err != nil {
				return t, err
			}
			part.WriteString(s)
			l.at += n
		case strings.HasPrefix(l.src[l.at:], "${"):
			n := closing(l.src[l.at+2:])
			if n < 0 {
				return t, fmt.Errorf("${ is not closed")
			}
			t.holes = append(t.holes, hole{l.src[l.at+2 : l.at+2+n], l.line})
			t.parts = append(t.parts, part.String())
			part.Reset()
			l.at += n + 3
		default:
			part.WriteByte(c)
			l.at++
		}
	}
	return t, fmt.Errorf("string is not closed")
}

// escaped reads one escape sequence and returns its length.
func escaped(s string) (int, string, error) {
	if len(s) < 2 {
		return 0, "", fmt.Errorf("string is not closed")
	}
	switch s[1] {
	case '\\', '\'', '$':
		return 2, s[1:2], nil
	case 'n':
		return 2, "\n", nil
	case 'r':
		return 2, "\r", nil
	case 't':
		return 2, "\t", nil
	}
	return 0, "", fmt.Errorf("escape %q is not understood", s[:2])
}

// closing finds the brace that ends an interpolation, past strings and braces inside it. An interpolation ends on its line.
func closing(s string) int {
	depth, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\n':
			return -1
		case quoted && c == '\\':
			i++
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}' && depth == 0:
			return i
		case c == '}':
			depth--
		}
	}
	return -1
}
