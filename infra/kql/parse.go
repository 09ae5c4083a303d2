package kql

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

type (
	program struct {
		lets []let
		pipe pipe
	}
	let struct {
		name  string
		value *node
		pipe  *pipe
	}
	pipe struct {
		table string
		steps []step
	}
	// step is one operator: columns, and what stands after by.
	step struct {
		word string
		cols []col
		by   []col
		n    int64 // of top and take
	}
	col struct {
		name string
		x    *node
		desc bool // order by; what KQL does unless told asc
	}
	// node is an expression: a value, a name, a property of one, or an operator or function with arguments.
	node struct {
		op    string // "value", "name", ".", or the operator or function
		value any
		name  string
		args  []*node
	}
)

var words = regexp.MustCompile(`^(?:\s+|//[^\n]*|(?P<time>\d+(?:\.\d+)?(?:ms|[smhd])\b)|(?P<num>\d+(?:\.\d+)?(?:e\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<text>'(?:[^'\\]|\\.)*')|(?P<mark>==|!=|<=|>=|=~|[|()\[\],;=<>+\-*/%.!]))`)

type token struct{ kind, s string }

func lex(q string) ([]token, error) {
	var out []token
	for q != "" {
		m := words.FindStringSubmatch(q)
		if m == nil {
			return nil, fmt.Errorf("near %.20q: not understood", q)
		}
		for i, k := range words.SubexpNames() {
			if k != "" && m[i] != "" {
				out = append(out, token{k, m[i]})
			}
		}
		q = q[len(m[0]):]
	}
	return append(out, token{"end", "the end"}), nil
}

type parser struct {
	tokens []token
	at     int
	depth  int
}

func parse(q string) (program, error) {
	var out program
	tokens, err := lex(q)
	if err != nil {
		return out, err
	}
	p := &parser{tokens: tokens}
	for p.eat("let") {
		l, err := p.let()
		if err != nil {
			return out, err
		}
		out.lets = append(out.lets, l)
	}
	if out.pipe, err = p.pipe(); err != nil {
		return out, err
	}
	return out, p.want("the end")
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) eat(s string) bool {
	if t := p.peek(); t.kind == "text" || t.s != s {
		return false
	}
	p.at = min(p.at+1, len(p.tokens)-1)
	return true
}

func (p *parser) want(s string) error {
	if !p.eat(s) {
		return fmt.Errorf("want %s, found %s", s, p.peek().s)
	}
	return nil
}

func (p *parser) word() (string, error) {
	t := p.peek()
	if t.kind != "name" {
		return "", fmt.Errorf("want a name, found %s", t.s)
	}
	p.at++
	return t.s, nil
}

func (p *parser) let() (l let, err error) {
	if l.name, err = p.word(); err != nil {
		return l, err
	}
	if err = p.want("="); err != nil {
		return l, err
	}
	if p.eat("toscalar") {
		if err = p.want("("); err != nil {
			return l, err
		}
		q, err := p.pipe()
		if err != nil {
			return l, err
		}
		l.pipe = &q
		if err := p.want(")"); err != nil {
			return l, err
		}
		return l, p.want(";")
	}
	if l.value, err = p.expr(0); err != nil {
		return l, err
	}
	return l, p.want(";")
}

func (p *parser) pipe() (out pipe, err error) {
	if out.table, err = p.word(); err != nil {
		return out, err
	}
	for p.eat("|") {
		s, err := p.step()
		if err != nil {
			return out, fmt.Errorf("%s: %w", s.word, err)
		}
		out.steps = append(out.steps, s)
	}
	return out, nil
}

func (p *parser) step() (s step, err error) {
	if s.word, err = p.word(); err != nil {
		return s, err
	}
	switch s.word {
	case "where", "extend", "project":
		s.cols, err = p.columns()
	case "summarize":
		if !p.eat("by") {
			if s.cols, err = p.columns(); err != nil || !p.eat("by") {
				return s, err
			}
		}
		s.by, err = p.columns()
	case "top", "take":
		var n *node
		if n, err = p.expr(0); err != nil {
			return s, err
		}
		s.n, _ = n.value.(int64)
		if s.word == "top" {
			if err = p.want("by"); err == nil {
				s.by, err = p.columns()
			}
		}
	case "order", "sort":
		s.word = "order"
		if err = p.want("by"); err == nil {
			s.by, err = p.columns()
		}
	default:
		err = fmt.Errorf("operator is not understood")
	}
	return s, err
}

// columns reads a list of expressions, each with or without a name.
func (p *parser) columns() ([]col, error) {
	var out []col
	for {
		c := col{desc: true}
		if t, next := p.peek(), p.tokens[min(p.at+1, len(p.tokens)-1)]; t.kind == "name" && next.s == "=" && next.kind == "mark" {
			c.name, p.at = t.s, p.at+2
		}
		var err error
		if c.x, err = p.expr(0); err != nil {
			return nil, err
		}
		if p.eat("asc") {
			c.desc = false
		}
		p.eat("desc")
		out = append(out, c)
		if !p.eat(",") {
			return out, nil
		}
	}
}

// levels are the binary operators, the weakest first.
var levels = [...][]string{{"or"}, {"and"}, {"==", "!=", "<", ">", "<=", ">=", "=~", "has", "contains", "startswith", "in"}, {"+", "-"}, {"*", "/", "%"}}

const maxDepth = 200

func (p *parser) expr(level int) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("expression nests too deep")
	}
	defer func() { p.depth-- }()
	if level == len(levels) {
		return p.unary()
	}
	x, err := p.expr(level + 1)
	for err == nil && p.peek().kind != "text" && slices.Contains(levels[level], p.peek().s) {
		op := p.peek().s
		p.at++
		var args []*node
		if op == "in" {
			if err = p.want("("); err == nil {
				args, err = p.args()
			}
		} else {
			var y *node
			y, err = p.expr(level + 1)
			args = []*node{y}
		}
		x = &node{op: op, args: append([]*node{x}, args...)}
	}
	return x, err
}

func (p *parser) args() ([]*node, error) {
	var out []*node
	for !p.eat(")") {
		x, err := p.expr(0)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
		if !p.eat(",") && p.peek().s != ")" {
			return nil, fmt.Errorf("want , or ), found %s", p.peek().s)
		}
	}
	return out, nil
}

func (p *parser) unary() (*node, error) {
	if p.eat("-") {
		x, err := p.unary()
		return &node{op: "-", args: []*node{{op: "value", value: int64(0)}, x}}, err
	}
	x, err := p.primary()
	for err == nil && (p.peek().s == "." || p.peek().s == "[") && p.peek().kind == "mark" {
		var n string
		n, err = p.property()
		x = &node{op: ".", name: n, args: []*node{x}}
	}
	return x, err
}

// property reads .name or ['name'], which words of the language need.
func (p *parser) property() (string, error) {
	if p.eat(".") {
		return p.word()
	}
	p.at++
	t := p.peek()
	if t.kind != "text" {
		return "", fmt.Errorf("want a quoted name, found %s", t.s)
	}
	p.at++
	return unquoted(t.s), p.want("]")
}

func (p *parser) primary() (*node, error) {
	t := p.peek()
	p.at = min(p.at+1, len(p.tokens)-1)
	switch {
	case t.kind == "time":
		d, err := span(t.s)
		return &node{op: "value", value: d}, err
	case t.kind == "num":
		return number(t.s)
	case t.kind == "text":
		return &node{op: "value", value: unquoted(t.s)}, nil
	case t.s == "(":
		x, err := p.expr(0)
		if err != nil {
			return nil, err
		}
		return x, p.want(")")
	case t.s == "true" || t.s == "false":
		return &node{op: "value", value: t.s == "true"}, nil
	case t.kind == "name" && p.eat("("):
		args, err := p.args()
		if err != nil {
			return nil, err
		}
		if n, known := arity[t.s]; !known || len(args) < n {
			return nil, fmt.Errorf("%s with %d arguments is not understood", t.s, len(args))
		}
		return &node{op: t.s, args: args}, nil
	case t.kind == "name":
		return &node{op: "name", name: t.s}, nil
	}
	return nil, fmt.Errorf("want an expression, found %s", t.s)
}

// arity is how many arguments a function or aggregate needs at least.
var arity = map[string]int{"now": 0, "ago": 1, "not": 1, "parse_json": 1, "tostring": 1, "tolong": 1, "todouble": 1, "todatetime": 1,
	"bin": 2, "round": 1, "extract": 3, "isempty": 1, "strcat": 1, "iff": 3, "case": 3,
	"count": 0, "countif": 1, "sum": 1, "sumif": 2, "min": 1, "max": 1, "maxif": 2, "dcount": 1, "dcountif": 2, "percentile": 2, "arg_max": 2}

func span(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseFloat(n, 64)
		return time.Duration(days * float64(24*time.Hour)), err
	}
	return time.ParseDuration(s)
}

func number(s string) (*node, error) {
	if !strings.ContainsAny(s, ".e") {
		n, err := strconv.ParseInt(s, 10, 64)
		return &node{op: "value", value: n}, err
	}
	f, err := strconv.ParseFloat(s, 64)
	return &node{op: "value", value: f}, err
}

func unquoted(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\t`, "\t").Replace(s[1 : len(s)-1])
}
