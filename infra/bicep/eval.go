package bicep

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Object is a Bicep object; its keys keep their order.
type Object struct {
	Keys   []string
	values map[string]any
}

// Value returns a property, nil when it is not there.
func (o *Object) Value(key string) any { return o.values[key] }

// Has says whether there is such a property.
func (o *Object) Has(key string) bool { _, ok := o.values[key]; return ok }

func (o *Object) set(key string, v any) {
	if o.values == nil {
		o.values = map[string]any{}
	}
	if _, there := o.values[key]; !there {
		o.Keys = append(o.Keys, key)
	}
	o.values[key] = v
}

// instance is a resource as expressions see it.
type instance struct {
	resource *Resource
	children map[string]any
}

// outputs are a module's.
type outputs struct {
	name   string
	absent bool // its condition says no
	values map[string]any
}

// scope is where names are looked up: a file, or a loop or function in it.
type scope struct {
	fsys       fs.FS
	file       *File
	deployment *Deployment
	getenv     func(string) string
	decls      map[string]Decl
	values     map[string]any
	parent     *Resource // of nested resources
	outer      *scope
	busy       map[string]bool
}

func (s *scope) inner() *scope {
	return &scope{fsys: s.fsys, file: s.file, deployment: s.deployment, getenv: s.getenv, outer: s, parent: s.parent,
		decls: map[string]Decl{}, values: map[string]any{}}
}

// lookup returns what a name stands for, working it out the first time.
func (s *scope) lookup(n string) (any, error) {
	if v, ok := s.values[n]; ok {
		return v, nil
	}
	d, ok := s.decls[n]
	if !ok {
		if s.outer != nil {
			return s.outer.lookup(n)
		}
		return nil, fmt.Errorf("there is no %s", n)
	}
	if s.busy[n] {
		return nil, fmt.Errorf("%s depends on itself", n)
	}
	if s.busy == nil {
		s.busy = map[string]bool{}
	}
	s.busy[n] = true
	defer delete(s.busy, n)
	v, err := s.value(d)
	if err == nil {
		s.values[n] = v
	}
	return v, err
}

func (s *scope) value(d Decl) (any, error) {
	switch {
	case d.Word == "resource" || d.Word == "module":
		return s.declared(d, s.parent)
	case d.Value == nil:
		return nil, ErrMissing
	}
	return s.eval(d.Value)
}

func (s *scope) eval(e Expr) (any, error) {
	switch e := e.(type) {
	case literal:
		return e.value, nil
	case str:
		return s.text(e)
	case name:
		return s.lookup(e.name)
	case member:
		v, err := s.eval(e.of)
		if err != nil {
			return nil, err
		}
		return follow(v, e.name)
	case index:
		return s.at(e)
	case call:
		return s.call(e)
	case unary:
		return s.unary(e)
	case binary:
		return s.binary(e)
	case choice:
		return s.choose(e)
	case array:
		return s.list(e.items)
	case object:
		return s.object(e)
	case loop:
		return s.each(e, func(in *scope, body Expr) (any, error) { return in.eval(body) })
	case lambda:
		return e, nil
	}
	return nil, fmt.Errorf("expression %T is not understood", e)
}

func (s *scope) text(e str) (any, error) {
	var b strings.Builder
	for i, part := range e.parts {
		b.WriteString(part)
		if i < len(e.holes) {
			v, err := s.eval(e.holes[i])
			if err != nil {
				return nil, err
			}
			b.WriteString(show(v))
		}
	}
	return b.String(), nil
}

func show(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// unknown is a value that only Azure knows.
func unknown(what string) string { return "«" + what + "»" }

// follow reads a property.
func follow(v any, key string) (any, error) {
	switch v := v.(type) {
	case *Object:
		return v.Value(key), nil
	case *instance:
		return v.follow(key)
	case *outputs:
		if v.absent {
			return nil, fmt.Errorf("module %s is not there under these parameters", v.name)
		}
		o := &Object{}
		for k, x := range v.values {
			o.set(k, x)
		}
		if key != "outputs" {
			return nil, fmt.Errorf("module %s has no %s", v.name, key)
		}
		return o, nil
	case string:
		if strings.HasPrefix(v, "«") && strings.HasSuffix(v, "»") {
			return strings.TrimSuffix(v, "»") + "." + key + "»", nil
		}
	}
	return nil, fmt.Errorf("%s of %T", key, v)
}

func (i *instance) follow(key string) (any, error) {
	switch key {
	case "id":
		return i.resource.ID(), nil
	case "name", "location", "tags":
		return i.resource.Body.Value(key), nil
	case "properties":
		return unknown(i.resource.Symbol + ".properties"), nil
	}
	if c, ok := i.children[key]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("resource %s has no %s", i.resource.Symbol, key)
}

func (s *scope) at(e index) (any, error) {
	of, err := s.eval(e.of)
	if err != nil {
		return nil, err
	}
	at, err := s.eval(e.at)
	if err != nil {
		return nil, err
	}
	if key, ok := at.(string); ok {
		return follow(of, key)
	}
	l, ok := of.([]any)
	n, isInt := at.(int64)
	if !ok || !isInt || n < 0 || n >= int64(len(l)) {
		return nil, fmt.Errorf("index %v of %T", at, of)
	}
	return l[n], nil
}

func (s *scope) unary(e unary) (any, error) {
	v, err := s.eval(e.x)
	if err != nil {
		return nil, err
	}
	if e.op == "!" {
		b, err := truth(v)
		return !b, err
	}
	n, ok := v.(int64)
	if !ok {
		return nil, fmt.Errorf("minus %T", v)
	}
	return -n, nil
}

func truth(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("want true or false, found %T", v)
	}
	return b, nil
}

func (s *scope) binary(e binary) (any, error) {
	x, err := s.eval(e.x)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "??":
		if x != nil {
			return x, nil
		}
		return s.eval(e.y)
	case "&&", "||":
		b, err := truth(x)
		if err != nil || b == (e.op == "||") {
			return b, err
		}
		return s.eval(e.y)
	}
	y, err := s.eval(e.y)
	if err != nil {
		return nil, err
	}
	switch e.op {
	case "==":
		return x == y, nil
	case "!=":
		return x != y, nil
	}
	return arithmetic(e.op, x, y)
}

func arithmetic(op string, x, y any) (any, error) {
	a, ok := x.(int64)
	b, ok2 := y.(int64)
	if !ok || !ok2 {
		return nil, fmt.Errorf("%T %s %T", x, op, y)
	}
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "<":
		return a < b, nil
	case ">":
		return a > b, nil
	case "<=":
		return a <= b, nil
	case ">=":
		return a >= b, nil
	}
	if b == 0 {
		return nil, errors.New("division by zero")
	}
	switch op {
	case "/":
		return a / b, nil
	case "%":
		return a % b, nil
	}
	return nil, fmt.Errorf("operator %s is not understood", op)
}

func (s *scope) choose(e choice) (any, error) {
	v, err := s.eval(e.when)
	if err != nil {
		return nil, err
	}
	yes, err := truth(v)
	if err != nil {
		return nil, err
	}
	if yes {
		return s.eval(e.yes)
	}
	return s.eval(e.no)
}

func (s *scope) list(items []Expr) ([]any, error) {
	out := make([]any, 0, len(items))
	for _, x := range items {
		v, err := s.eval(x)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (s *scope) object(e object) (any, error) {
	o := &Object{}
	for _, f := range e.fields {
		k, err := s.eval(f.key)
		if err != nil {
			return nil, err
		}
		v, err := s.eval(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", show(k), err)
		}
		o.set(show(k), v)
	}
	return o, nil
}

// each evaluates a loop's body for every item.
func (s *scope) each(l loop, body func(*scope, Expr) (any, error)) (any, error) {
	over, err := s.eval(l.over)
	if err != nil {
		return nil, err
	}
	items, ok := over.([]any)
	if !ok {
		return nil, fmt.Errorf("for over %T", over)
	}
	out := []any{}
	for i, item := range items {
		in := s.inner()
		in.values[l.item] = item
		if l.index != "" {
			in.values[l.index] = int64(i)
		}
		if l.when != nil {
			v, err := in.eval(l.when)
			if err != nil {
				return nil, err
			}
			if v != true {
				continue
			}
		}
		v, err := body(in, l.body)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
