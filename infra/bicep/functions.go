package bicep

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// call evaluates a function. Those that ask Azure answer with a stand-in that is the same every time.
func (s *scope) call(c call) (any, error) {
	if c.name == "reduce" || c.name == "toObject" {
		return s.higher(c)
	}
	args, err := s.list(c.args)
	if err != nil {
		return nil, err
	}
	v, err := s.apply(c.name, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	return v, nil
}

func (s *scope) apply(f string, args []any) (any, error) {
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = show(a)
	}
	if n, known := arity[f]; !known || n > len(args) {
		return nil, fmt.Errorf("not understood with %d arguments", len(args))
	}
	switch f {
	case "string":
		return text1(args[0])
	case "toLower":
		return strings.ToLower(texts[0]), nil
	case "replace":
		return strings.ReplaceAll(texts[0], texts[1], texts[2]), nil
	case "split":
		return split(texts[0], texts[1]), nil
	case "empty":
		return empty(args[0]), nil
	case "concat":
		return concat(args)
	case "items":
		return items(args[0])
	case "take":
		return take(args[0], args[1])
	case "uniqueString":
		return stable(13, texts...), nil
	case "guid":
		h := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(texts, "\x00"))))
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:32], nil
	case "resourceId", "subscriptionResourceId":
		return "/" + strings.Join(texts, "/"), nil
	case "cidrSubnet":
		return strings.Join(texts, " part "), nil
	case "resourceGroup", "tenant", "subscription":
		return about(f), nil
	case "environment":
		return environment(), nil
	case "loadTextContent":
		b, err := fs.ReadFile(s.fsys, path.Join(path.Dir(s.file.Name), texts[0]))
		return string(b), err
	case "readEnvironmentVariable":
		return s.environmentVariable(texts)
	}
	return nil, fmt.Errorf("not understood")
}

// arity is how many arguments a function needs at least.
var arity = map[string]int{"string": 1, "toLower": 1, "replace": 3, "split": 2, "empty": 1, "concat": 1, "items": 1, "take": 2,
	"uniqueString": 1, "guid": 1, "resourceId": 1, "subscriptionResourceId": 2, "cidrSubnet": 3, "resourceGroup": 0,
	"tenant": 0, "subscription": 0, "environment": 0, "loadTextContent": 1, "readEnvironmentVariable": 1}

func text1(v any) (any, error) {
	switch v.(type) {
	case string, int64, bool:
		return show(v), nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func split(s, by string) []any {
	out := []any{}
	for _, part := range strings.Split(s, by) {
		out = append(out, part)
	}
	return out
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case *Object:
		return len(v.Keys) == 0
	}
	return false
}

func concat(args []any) (any, error) {
	if _, ok := args[0].([]any); !ok {
		var b strings.Builder
		for _, a := range args {
			b.WriteString(show(a))
		}
		return b.String(), nil
	}
	out := []any{}
	for _, a := range args {
		l, ok := a.([]any)
		if !ok {
			return nil, fmt.Errorf("list and %T", a)
		}
		out = append(out, l...)
	}
	return out, nil
}

// items lists an object's properties by key.
func items(v any) (any, error) {
	o, ok := v.(*Object)
	if !ok {
		return nil, fmt.Errorf("want an object, found %T", v)
	}
	out := []any{}
	for _, k := range slices.Sorted(slices.Values(o.Keys)) {
		pair := &Object{}
		pair.set("key", k)
		pair.set("value", o.Value(k))
		out = append(out, pair)
	}
	return out, nil
}

func take(v, n any) (any, error) {
	s, ok := v.(string)
	k, ok2 := n.(int64)
	if !ok || !ok2 || k < 0 {
		return nil, fmt.Errorf("want a string and a number, found %T and %T", v, n)
	}
	return s[:min(int(k), len(s))], nil
}

// stable is a stand-in for a hash of Azure's: n lower-case letters and digits.
func stable(n int, of ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:n]
}

func about(what string) *Object {
	o := &Object{}
	o.set("id", "/"+what)
	o.set("location", unknown(what+".location"))
	o.set("tenantId", unknown(what+".tenantId"))
	return o
}

// environment is the public cloud.
func environment() *Object {
	suffixes := &Object{}
	suffixes.set("storage", "core.windows.net")
	suffixes.set("keyvaultDns", ".vault.azure.net")
	authentication := &Object{}
	authentication.set("loginEndpoint", "https://login.microsoftonline.com/")
	o := &Object{}
	o.set("suffixes", suffixes)
	o.set("authentication", authentication)
	return o
}

func (s *scope) environmentVariable(args []string) (any, error) {
	if s.getenv == nil {
		return nil, fmt.Errorf("belongs into a parameter file")
	}
	if v := s.getenv(args[0]); v != "" {
		return v, nil
	}
	if len(args) < 2 {
		return nil, fmt.Errorf("environment variable %s is not set", args[0])
	}
	return args[1], nil
}

// higher evaluates the functions that take functions.
func (s *scope) higher(c call) (any, error) {
	if len(c.args) != 3 {
		return nil, fmt.Errorf("%s: want 3 arguments, found %d", c.name, len(c.args))
	}
	over, err := s.eval(c.args[0])
	if err != nil {
		return nil, err
	}
	list, ok := over.([]any)
	if !ok {
		return nil, fmt.Errorf("%s over %T", c.name, over)
	}
	if c.name == "reduce" {
		return s.reduce(list, c.args[1], c.args[2])
	}
	o := &Object{}
	for _, item := range list {
		k, err := s.with(c.args[1], item)
		if err != nil {
			return nil, err
		}
		v, err := s.with(c.args[2], item)
		if err != nil {
			return nil, err
		}
		o.set(show(k), v)
	}
	return o, nil
}

func (s *scope) reduce(list []any, first, f Expr) (any, error) {
	sum, err := s.eval(first)
	for _, item := range list {
		if err != nil {
			return nil, err
		}
		sum, err = s.with(f, sum, item)
	}
	return sum, err
}

// with calls a function of the file.
func (s *scope) with(f Expr, args ...any) (any, error) {
	l, ok := f.(lambda)
	if !ok || len(l.params) != len(args) {
		return nil, fmt.Errorf("want a function of %d", len(args))
	}
	in := s.inner()
	for i, p := range l.params {
		in.values[p] = args[i]
	}
	return in.eval(l.body)
}
