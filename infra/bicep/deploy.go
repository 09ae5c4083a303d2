package bicep

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Resource is one resource as a deployment would make it.
type Resource struct {
	File    string // where it is declared
	Line    int
	Symbol  string
	Type    string // Microsoft.Storage/storageAccounts/blobServices/containers
	Version string // of the API
	Name    string // with its parents: account/default/manifests
	Scope   string // ID of the resource that it extends; empty for most
	Body    *Object
}

// ID is what other resources call it.
func (r *Resource) ID() string { return "/" + r.Type + "/" + r.Name }

// Value looks a path such as "properties.lockDuration" up in the body; nil when it is not there.
func (r *Resource) Value(at string) any {
	var v any = r.Body
	for _, k := range strings.Split(at, ".") {
		o, ok := v.(*Object)
		if !ok {
			return nil
		}
		v = o.Value(k)
	}
	return v
}

// Deployment is what a file makes with certain parameters.
type Deployment struct {
	Resources []*Resource
	Outputs   map[string]any
	Files     []*File // the file and every module that was used
}

// Of lists the resources of a type.
func (d *Deployment) Of(kind string) []*Resource {
	var out []*Resource
	for _, r := range d.Resources {
		if r.Type == kind {
			out = append(out, r)
		}
	}
	return out
}

// ErrMissing says that a parameter without a default was not given.
var ErrMissing = errors.New("parameter is missing")

// Deploy works out what a file makes. Modules are read from the same file system.
func Deploy(fsys fs.FS, file string, params map[string]any) (*Deployment, error) {
	d := &Deployment{}
	s, err := d.run(fsys, file, params)
	if err != nil {
		return nil, err
	}
	d.Outputs, err = s.outputs()
	return d, err
}

// run evaluates one file and appends its resources.
func (d *Deployment) run(fsys fs.FS, file string, params map[string]any) (*scope, error) {
	f, err := read(fsys, file)
	if err != nil {
		return nil, err
	}
	d.Files = append(d.Files, f)
	s := &scope{fsys: fsys, file: f, deployment: d, values: map[string]any{}, decls: map[string]Decl{}}
	for _, decl := range f.Decls {
		if decl.Word != "output" && decl.Word != "metadata" {
			s.decls[decl.Name] = decl
		}
	}
	for name, v := range params {
		if s.decls[name].Word != "param" {
			return nil, fmt.Errorf("%s: there is no parameter %s", file, name)
		}
		s.values[name] = v
	}
	for _, decl := range f.Decls {
		if decl.Word == "output" || decl.Word == "metadata" {
			continue
		}
		v, err := s.lookup(decl.Name)
		if err == nil && decl.Word == "param" {
			err = s.permitted(decl, v)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %s: %w", file, decl.Line, decl.Name, err)
		}
	}
	return s, nil
}

func read(fsys fs.FS, file string) (*File, error) {
	b, err := fs.ReadFile(fsys, file)
	if err != nil {
		return nil, fmt.Errorf("read Bicep: %w", err)
	}
	return Parse(file, string(b))
}

func (s *scope) outputs() (map[string]any, error) {
	out := map[string]any{}
	for _, d := range s.file.Decls {
		if d.Word != "output" {
			continue
		}
		v, err := s.eval(d.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: output %s: %w", s.file.Name, d.Line, d.Name, err)
		}
		out[d.Name] = v
	}
	return out, nil
}

// Params reads a parameter file. getenv stands in for the environment of whoever deploys.
func Params(fsys fs.FS, file string, getenv func(string) string) (main string, params map[string]any, err error) {
	f, err := read(fsys, file)
	if err != nil {
		return "", nil, err
	}
	s := &scope{fsys: fsys, file: f, getenv: getenv, values: map[string]any{}, decls: map[string]Decl{}}
	params = map[string]any{}
	for _, d := range f.Decls {
		if d.Word != "param" || d.Value == nil {
			return "", nil, fmt.Errorf("%s: line %d: want param NAME = VALUE", file, d.Line)
		}
		if params[d.Name], err = s.eval(d.Value); err != nil {
			return "", nil, fmt.Errorf("%s: line %d: %w", file, d.Line, err)
		}
	}
	return path.Join(path.Dir(file), f.Using), params, nil
}

// declared makes the resource or resources of a declaration; parent is nil at the top of a file.
func (s *scope) declared(d Decl, parent *Resource) (any, error) {
	if l, ok := d.Value.(loop); ok {
		return s.each(l, func(in *scope, body Expr) (any, error) {
			d := d
			d.Value = body
			return in.declared(d, parent)
		})
	}
	made := true
	if d.If != nil {
		v, err := s.eval(d.If)
		if err != nil {
			return nil, err
		}
		if made, err = truth(v); err != nil {
			return nil, err
		}
	}
	if d.Word == "module" {
		return s.module(d, made)
	}
	return s.resource(d, parent, made)
}

func (s *scope) resource(d Decl, parent *Resource, made bool) (any, error) {
	body, ok := d.Value.(object)
	if !ok {
		return nil, errors.New("want the resource's body in braces")
	}
	r := &Resource{File: s.file.Name, Line: d.Line, Symbol: d.Name}
	r.Type, r.Version, _ = strings.Cut(d.Type, "@")
	v, err := s.eval(object{fields: body.fields})
	if err != nil {
		return nil, err
	}
	r.Body = v.(*Object)
	if p, ok := r.Body.Value("parent").(*instance); ok {
		parent = p.resource
	}
	r.Name, _ = r.Body.Value("name").(string)
	if parent != nil {
		r.Name = parent.Name + "/" + r.Name
		if !strings.HasPrefix(r.Type, parent.Type+"/") {
			r.Type = parent.Type + "/" + r.Type
		}
		if r.Version == "" {
			r.Version = parent.Version
		}
	}
	if of, ok := r.Body.Value("scope").(*instance); ok {
		r.Scope = of.resource.ID()
	}
	if made && !d.Existing {
		s.deployment.Resources = append(s.deployment.Resources, r)
	}
	i := &instance{resource: r, children: map[string]any{}}
	in := s.inner()
	for _, n := range body.nested {
		n.If = and(d.If, n.If)
		in.decls[n.Name] = n
		in.parent = r
	}
	for _, n := range body.nested {
		if i.children[n.Name], err = in.lookup(n.Name); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", n.Line, n.Name, err)
		}
	}
	return i, nil
}

// and joins the conditions of a resource and of what is nested in it.
func and(x, y Expr) Expr {
	switch {
	case x == nil:
		return y
	case y == nil:
		return x
	}
	return binary{"&&", x, y}
}

func (s *scope) module(d Decl, made bool) (any, error) {
	if !made {
		return &outputs{absent: true, name: d.Name}, nil
	}
	body, ok := d.Value.(object)
	if !ok {
		return nil, errors.New("want the module's body in braces")
	}
	v, err := s.eval(body)
	if err != nil {
		return nil, err
	}
	params := map[string]any{}
	if o, ok := v.(*Object).Value("params").(*Object); ok {
		for _, k := range o.Keys {
			params[k] = o.Value(k)
		}
	}
	in, err := s.deployment.run(s.fsys, path.Join(path.Dir(s.file.Name), d.Type), params)
	if err != nil {
		return nil, err
	}
	values, err := in.outputs()
	return &outputs{name: d.Name, values: values}, err
}
