package graphtest

import (
	"strconv"
	"strings"
	"time"
)

const (
	maxExpression = 16 << 10 // bytes of a $filter or $expand
	maxDepth      = 40       // of parentheses and nots
)

// node is a parsed filter expression.
type node struct {
	op    string // and, or, not, eq, ne, gt, ge, lt, le, startswith, endswith, contains, any
	kids  []*node
	path  string // property, "/"-separated, for comparisons and any
	value literal
	alias string // of any
}

// literal is a constant: string, int64, float64, bool, time.Time or nil for null.
type literal any

// token kinds of the lexer.
const (
	tokEnd = iota
	tokWord
	tokString
	tokPunct // ( ) , / : =
)

type filterParser struct {
	text  string
	pos   int
	kind  int
	word  string
	start int
	depth int
}

// parseFilter parses a $filter expression.
func parseFilter(text string) (*node, error) {
	if len(text) > maxExpression {
		return nil, badRequest("Invalid filter clause: longer than %d characters.", maxExpression)
	}
	p := &filterParser{text: text}
	if err := p.next(); err != nil {
		return nil, err
	}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.kind != tokEnd {
		return nil, p.fail("end of expression expected")
	}
	return n, nil
}

func (p *filterParser) fail(what string) error {
	return badRequest("Invalid filter clause: %s at position %d in '%s'.", what, p.start, printable(p.text))
}

func (p *filterParser) next() error {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
	p.start, p.word = p.pos, ""
	if p.pos == len(p.text) {
		p.kind = tokEnd
		return nil
	}
	switch c := p.text[p.pos]; {
	case c == '\'':
		return p.quoted()
	case strings.IndexByte("(),/=", c) >= 0:
		p.kind, p.word = tokPunct, string(c)
		p.pos++
		return nil
	case c == ':' && p.pos+1 <= len(p.text):
		p.kind, p.word = tokPunct, ":"
		p.pos++
		return nil
	}
	for p.pos < len(p.text) && wordByte(p.text[p.pos], p.word) {
		p.pos++
		p.word = p.text[p.start:p.pos]
	}
	if p.word == "" {
		return p.fail("unexpected character")
	}
	p.kind = tokWord
	return nil
}

// wordByte says whether c continues a word; ":" does so in a time, which begins with a digit.
func wordByte(c byte, word string) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '.', c == '+', c == '@', c == '$':
		return true
	case c == ':':
		return word != "" && word[0] >= '0' && word[0] <= '9'
	}
	return false
}

func (p *filterParser) quoted() error {
	var b strings.Builder
	for i := p.pos + 1; i < len(p.text); i++ {
		if p.text[i] != '\'' {
			b.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		p.kind, p.word, p.pos = tokString, b.String(), i+1
		return nil
	}
	return p.fail("unterminated string literal")
}

func (p *filterParser) is(kind int, word string) bool {
	return p.kind == kind && (p.word == word || kind == tokWord && strings.EqualFold(p.word, word))
}

func (p *filterParser) expect(punct string) error {
	if !p.is(tokPunct, punct) {
		return p.fail("'" + punct + "' expected")
	}
	return p.next()
}

func (p *filterParser) or() (*node, error) { return p.chain("or", p.and) }

func (p *filterParser) and() (*node, error) { return p.chain("and", p.unary) }

func (p *filterParser) chain(op string, operand func() (*node, error)) (*node, error) {
	n, err := operand()
	for err == nil && p.is(tokWord, op) {
		if err = p.next(); err != nil {
			break
		}
		var right *node
		if right, err = operand(); err == nil {
			n = join(op, n, right)
		}
	}
	return n, err
}

// join keeps chains flat, so that their depth does not grow with their length.
func join(op string, left, right *node) *node {
	if left.op == op {
		left.kids = append(left.kids, right)
		return left
	}
	return &node{op: op, kids: []*node{left, right}}
}

func (p *filterParser) unary() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("nested too deeply")
	}
	defer func() { p.depth-- }()
	switch {
	case p.is(tokWord, "not"):
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.unary()
		return &node{op: "not", kids: []*node{n}}, err
	case p.is(tokPunct, "("):
		if err := p.next(); err != nil {
			return nil, err
		}
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		return n, p.expect(")")
	case p.kind == tokWord:
		return p.term()
	}
	return nil, p.fail("property expected")
}

// term is a function call, a comparison, or collection/any(...).
func (p *filterParser) term() (*node, error) {
	name := strings.ToLower(p.word)
	begin := *p
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.is(tokPunct, "(") && (name == "startswith" || name == "endswith" || name == "contains") {
		return p.call(name)
	}
	*p = begin
	path, isAny, err := p.path()
	if err != nil {
		return nil, err
	}
	if isAny {
		return p.any(path)
	}
	return p.comparison(path)
}

// path reads a property path, also inside cast(path, type). isAny is true before "any(".
func (p *filterParser) path() (path string, isAny bool, err error) {
	if p.kind != tokWord {
		return "", false, p.fail("property expected")
	}
	first := p.word
	if err := p.next(); err != nil {
		return "", false, err
	}
	if strings.EqualFold(first, "cast") && p.is(tokPunct, "(") {
		path, err = p.cast()
		return path, false, err
	}
	parts := []string{first}
	for p.is(tokPunct, "/") {
		if err := p.next(); err != nil {
			return "", false, err
		}
		if p.kind != tokWord {
			return "", false, p.fail("property expected")
		}
		if strings.EqualFold(p.word, "any") {
			return strings.Join(parts, "/"), true, p.next()
		}
		parts = append(parts, p.word)
		if err := p.next(); err != nil {
			return "", false, err
		}
	}
	return strings.Join(parts, "/"), false, nil
}

func (p *filterParser) cast() (string, error) {
	if p.depth++; p.depth > maxDepth {
		return "", p.fail("nested too deeply")
	}
	defer func() { p.depth-- }()
	if err := p.next(); err != nil {
		return "", err
	}
	path, isAny, err := p.path()
	if err != nil {
		return "", err
	}
	if isAny {
		return "", p.fail("property expected")
	}
	if err := p.expect(","); err != nil {
		return "", err
	}
	if p.kind != tokWord || !strings.HasPrefix(p.word, "Edm.") {
		return "", p.fail("type expected")
	}
	if err := p.next(); err != nil {
		return "", err
	}
	return path, p.expect(")")
}

func (p *filterParser) call(name string) (*node, error) {
	if err := p.next(); err != nil {
		return nil, err
	}
	path, isAny, err := p.path()
	if err != nil {
		return nil, err
	}
	if isAny {
		return nil, p.fail("property expected")
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	if p.kind != tokString {
		return nil, p.fail("string literal expected")
	}
	n := &node{op: name, path: path, value: p.word}
	if err := p.next(); err != nil {
		return nil, err
	}
	return n, p.expect(")")
}

func (p *filterParser) comparison(path string) (*node, error) {
	op := strings.ToLower(p.word)
	switch {
	case p.kind != tokWord:
		return nil, p.fail("operator expected")
	case op != "eq" && op != "ne" && op != "gt" && op != "ge" && op != "lt" && op != "le":
		return nil, p.fail("operator expected")
	}
	if err := p.next(); err != nil {
		return nil, err
	}
	v, err := p.literal()
	if err != nil {
		return nil, err
	}
	return &node{op: op, path: path, value: v}, p.next()
}

func (p *filterParser) literal() (literal, error) {
	switch {
	case p.kind == tokString:
		return p.word, nil
	case p.kind != tokWord:
		return nil, p.fail("literal expected")
	case p.word == "null":
		return nil, nil
	case p.word == "true", p.word == "false":
		return p.word == "true", nil
	}
	if n, err := strconv.ParseInt(p.word, 10, 64); err == nil {
		return n, nil
	}
	if t, ok := parseTime(p.word); ok {
		return t, nil
	}
	if f, err := strconv.ParseFloat(p.word, 64); err == nil {
		return f, nil
	}
	return nil, p.fail("literal expected")
}

func parseTime(s string) (time.Time, bool) {
	for _, layout := range [...]string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// any reads "(alias: condition)" or "(alias:condition)".
func (p *filterParser) any(path string) (*node, error) {
	if err := p.expect("("); err != nil {
		return nil, err
	}
	if p.kind != tokWord {
		return nil, p.fail("range variable expected")
	}
	n := &node{op: "any", path: path, alias: p.word}
	if err := p.next(); err != nil {
		return nil, err
	}
	if err := p.expect(":"); err != nil {
		return nil, err
	}
	cond, err := p.or()
	if err != nil {
		return nil, err
	}
	n.kids = []*node{cond}
	return n, p.expect(")")
}
