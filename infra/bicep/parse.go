package bicep

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// File is a file's declarations in order.
type File struct {
	Name  string
	Using string // parameter files: the file they are for
	Decls []Decl
}

// Decl is one declaration.
type Decl struct {
	Word       string // param, var, resource, module, output, metadata
	Name       string
	Type       string // a param's or output's type, a resource's type@version, a module's path
	Existing   bool
	Decorators map[string][]Expr // what stands before it: @name(args)
	If         Expr              // nil: always
	Value      Expr              // nil: a param without a default
	Line       int
}

// Expr is an expression. Eval in this package knows the kinds.
type Expr interface{}

type (
	literal struct{ value any }
	str     struct {
		parts []string
		holes []Expr
	}
	name   struct{ name string }
	member struct {
		of   Expr
		name string
	}
	index struct{ of, at Expr }
	call  struct {
		name string
		args []Expr
	}
	unary struct {
		op string
		x  Expr
	}
	binary struct {
		op   string
		x, y Expr
	}
	choice struct{ when, yes, no Expr }
	array  struct{ items []Expr }
	object struct {
		fields []field
		nested []Decl // resources in a resource's body
	}
	field struct{ key, value Expr }
	loop  struct {
		item, index string
		over        Expr
		when        Expr
		body        Expr
	}
	lambda struct {
		params []string
		body   Expr
	}
)

// maxDepth bounds how deep expressions nest.
const maxDepth = 100

type parser struct {
	tokens []token
	at     int
	depth  int
}

// Parse reads a file. An error names the line.
func Parse(file, src string) (*File, error) {
	tokens, err := lex(src, 1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	f := &File{Name: file}
	p := &parser{tokens: tokens}
	for p.lines(); p.peek().kind != end; p.lines() {
		if err := p.declare(f); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", file, p.peek().line, err)
		}
	}
	return f, nil
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) take() token {
	t := p.tokens[p.at]
	if t.kind != end {
		p.at++
	}
	return t
}

func (p *parser) is(s string) bool {
	t := p.peek()
	return (t.kind == mark || t.kind == ident) && t.s == s
}

func (p *parser) eat(s string) bool {
	if p.is(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) want(s string) error {
	if !p.eat(s) {
		return fmt.Errorf("want %q, found %s", s, p.peek().show())
	}
	return nil
}

func (t token) show() string {
	switch t.kind {
	case end:
		return "the end of the file"
	case newline:
		return "the end of the line"
	case text:
		return "a string"
	}
	return strconv.Quote(t.s)
}

func (p *parser) lines() {
	for p.peek().kind == newline {
		p.at++
	}
}

func (p *parser) word() (string, error) {
	t := p.peek()
	if t.kind != ident {
		return "", fmt.Errorf("want a name, found %s", t.show())
	}
	p.at++
	return t.s, nil
}

// plain reads a string without interpolation.
func (p *parser) plain() (string, error) {
	t := p.peek()
	if t.kind != text || len(t.holes) > 0 {
		return "", fmt.Errorf("want a string without ${}, found %s", t.show())
	}
	p.at++
	return t.parts[0], nil
}

func (p *parser) declare(f *File) error {
	if p.eat("using") {
		var err error
		f.Using, err = p.plain()
		return err
	}
	d, err := p.decl()
	if err != nil {
		return err
	}
	f.Decls = append(f.Decls, d)
	if k := p.peek().kind; k != newline && k != end {
		return fmt.Errorf("want the end of the line, found %s", p.peek().show())
	}
	return nil
}

func (p *parser) decl() (Decl, error) {
	d := Decl{Decorators: map[string][]Expr{}, Line: p.peek().line}
	for p.eat("@") {
		name, err := p.word()
		if err != nil {
			return d, err
		}
		if err := p.want("("); err != nil {
			return d, err
		}
		if d.Decorators[name], err = p.args(); err != nil {
			return d, err
		}
		p.lines()
	}
	var err error
	if d.Word, err = p.word(); err != nil {
		return d, err
	}
	if d.Name, err = p.word(); err != nil {
		return d, err
	}
	switch d.Word {
	case "param", "output":
		if p.peek().kind == ident {
			d.Type = p.take().s
		}
		if d.Word == "param" && !p.is("=") {
			return d, nil
		}
	case "resource", "module":
		if d.Type, err = p.plain(); err != nil {
			return d, err
		}
		d.Existing = p.eat("existing")
	case "var", "metadata":
	default:
		return d, fmt.Errorf("%q is not understood", d.Word)
	}
	if err := p.want("="); err != nil {
		return d, err
	}
	if d.If, err = p.condition(); err != nil {
		return d, err
	}
	d.Value, err = p.expr()
	return d, err
}

// condition reads if (…), which may be absent.
func (p *parser) condition() (Expr, error) {
	if !p.is("if") {
		return nil, nil
	}
	p.at++
	if err := p.want("("); err != nil {
		return nil, err
	}
	x, err := p.expr()
	if err != nil {
		return nil, err
	}
	return x, p.want(")")
}

// args reads what follows an opening bracket, and the closing one.
func (p *parser) args() ([]Expr, error) {
	var out []Expr
	for p.lines(); !p.eat(")"); p.lines() {
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		out = append(out, x)
		p.lines()
		if !p.eat(",") && !p.is(")") {
			return nil, fmt.Errorf("want , or ), found %s", p.peek().show())
		}
	}
	return out, nil
}

// levels are the binary operators, the weakest first.
var levels = [...][]string{{"??"}, {"||"}, {"&&"}, {"==", "!=", "=~", "!~"}, {"<", ">", "<=", ">="}, {"+", "-"}, {"*", "/", "%"}}

func (p *parser) expr() (Expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("expression nests too deep")
	}
	defer func() { p.depth-- }()
	when, err := p.binary(0)
	if err != nil || !p.eat("?") {
		return when, err
	}
	p.lines()
	yes, err := p.expr()
	if err != nil {
		return nil, err
	}
	p.lines()
	if err := p.want(":"); err != nil {
		return nil, err
	}
	p.lines()
	no, err := p.expr()
	return choice{when, yes, no}, err
}

func (p *parser) binary(level int) (Expr, error) {
	if level == len(levels) {
		return p.unary()
	}
	x, err := p.binary(level + 1)
	for err == nil && p.peek().kind == mark && slices.Contains(levels[level], p.peek().s) {
		op := p.take().s
		p.lines()
		var y Expr
		y, err = p.binary(level + 1)
		x = binary{op, x, y}
	}
	return x, err
}

func (p *parser) unary() (Expr, error) {
	if p.is("!") || p.is("-") {
		if p.depth++; p.depth > maxDepth {
			return nil, errors.New("expression nests too deep")
		}
		defer func() { p.depth-- }()
		op := p.take().s
		x, err := p.unary()
		return unary{op, x}, err
	}
	x, err := p.primary()
	for err == nil {
		switch {
		case p.eat("."), p.eat(".?"), p.eat("::"):
			var n string
			n, err = p.word()
			x = member{x, n}
		case p.eat("["):
			var at Expr
			if at, err = p.expr(); err == nil {
				err = p.want("]")
			}
			x = index{x, at}
		case p.is("!") && !p.followed("="):
			p.at++ // the value is there although its condition might say no
		default:
			return x, nil
		}
	}
	return nil, err
}

func (p *parser) followed(s string) bool {
	return p.tokens[p.at+1].kind == mark && p.tokens[p.at+1].s == s
}

func (p *parser) primary() (Expr, error) {
	switch t := p.take(); {
	case t.kind == number:
		n, err := strconv.ParseInt(t.s, 10, 64)
		return literal{n}, err
	case t.kind == text:
		return p.text(t)
	case t.kind == ident:
		return p.named(t)
	case t.kind == mark && t.s == "(":
		return p.bracket()
	case t.kind == mark && t.s == "[":
		return p.array()
	case t.kind == mark && t.s == "{":
		return p.object()
	default:
		return nil, fmt.Errorf("want an expression, found %s", t.show())
	}
}

func (p *parser) text(t token) (Expr, error) {
	s := str{parts: t.parts}
	for _, h := range t.holes {
		tokens, err := lex(h.source, h.line)
		if err != nil {
			return nil, err
		}
		in := &parser{tokens: tokens, depth: p.depth}
		x, err := in.expr()
		if err != nil {
			return nil, err
		}
		if in.peek().kind != end {
			return nil, fmt.Errorf("want }, found %s", in.peek().show())
		}
		s.holes = append(s.holes, x)
	}
	return s, nil
}

func (p *parser) named(t token) (Expr, error) {
	switch t.s {
	case "true", "false":
		return literal{t.s == "true"}, nil
	case "null":
		return literal{nil}, nil
	}
	if p.eat("=>") {
		p.lines()
		body, err := p.expr()
		return lambda{[]string{t.s}, body}, err
	}
	if p.eat("(") {
		args, err := p.args()
		return call{t.s, args}, err
	}
	return name{t.s}, nil
}

// bracket reads (x), or the parameters of a function: (a, b) => x.
func (p *parser) bracket() (Expr, error) {
	args, err := p.args()
	if err != nil {
		return nil, err
	}
	if !p.eat("=>") {
		if len(args) != 1 {
			return nil, fmt.Errorf("want one expression in brackets, found %d", len(args))
		}
		return args[0], nil
	}
	var l lambda
	for _, a := range args {
		n, ok := a.(name)
		if !ok {
			return nil, errors.New("want names before =>")
		}
		l.params = append(l.params, n.name)
	}
	p.lines()
	l.body, err = p.expr()
	return l, err
}

func (p *parser) array() (Expr, error) {
	p.lines()
	if p.is("for") {
		return p.loop()
	}
	var a array
	for !p.eat("]") {
		x, err := p.expr()
		if err != nil {
			return nil, err
		}
		a.items = append(a.items, x)
		if err := p.separate("]"); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// separate passes the comma or line break between two entries.
func (p *parser) separate(closing string) error {
	if p.eat(",") || p.peek().kind == newline {
		p.lines()
		return nil
	}
	if !p.is(closing) {
		return fmt.Errorf("want , or %s, found %s", closing, p.peek().show())
	}
	return nil
}

func (p *parser) loop() (Expr, error) {
	p.at++
	var l loop
	var err error
	if p.eat("(") {
		l.item, err = p.word()
		if err == nil {
			err = p.want(",")
		}
		if err == nil {
			l.index, err = p.word()
		}
		if err == nil {
			err = p.want(")")
		}
	} else {
		l.item, err = p.word()
	}
	if err == nil {
		err = p.want("in")
	}
	if err != nil {
		return nil, err
	}
	if l.over, err = p.expr(); err != nil {
		return nil, err
	}
	if err := p.want(":"); err != nil {
		return nil, err
	}
	p.lines()
	if l.when, err = p.condition(); err != nil {
		return nil, err
	}
	if l.body, err = p.expr(); err != nil {
		return nil, err
	}
	p.lines()
	return l, p.want("]")
}

func (p *parser) object() (Expr, error) {
	var o object
	for p.lines(); !p.eat("}"); {
		if p.is("@") || p.is("resource") && p.tokens[p.at+1].kind == ident {
			d, err := p.decl()
			if err != nil {
				return nil, err
			}
			o.nested = append(o.nested, d)
		} else {
			f, err := p.field()
			if err != nil {
				return nil, err
			}
			o.fields = append(o.fields, f)
		}
		if err := p.separate("}"); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (p *parser) field() (f field, err error) {
	switch t := p.take(); t.kind {
	case ident:
		f.key = literal{t.s}
	case text:
		if f.key, err = p.text(t); err != nil {
			return f, err
		}
	default:
		return f, fmt.Errorf("want a property, found %s", t.show())
	}
	if err := p.want(":"); err != nil {
		return f, err
	}
	f.value, err = p.expr()
	return f, err
}

// Text returns what a string without ${} says, and "" of any other expression.
func Text(e Expr) string {
	if s, ok := e.(str); ok && len(s.holes) == 0 {
		return s.parts[0]
	}
	return ""
}
