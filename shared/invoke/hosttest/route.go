package hosttest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// template is a route as ASP.NET reads it: literals without regard to case, {name}, {name?} at the end,
// {*name} for the rest, and constraints after a colon.
type template struct {
	text     string
	segments []segment
	methods  []string // upper case; none is all
}

type segment struct {
	literal, param string
	optional, rest bool
	fits           []func(string) bool
}

func parseTemplate(prefix string, f *function) (template, error) {
	text := f.name
	if f.trigger.Route != nil && *f.trigger.Route != "" {
		text = strings.Trim(*f.trigger.Route, "/")
	}
	if prefix != "" {
		text = prefix + "/" + text
	}
	t := template{text: text}
	if first, _, _ := strings.Cut(text, "/"); strings.EqualFold(first, "admin") || strings.EqualFold(first, "runtime") {
		return t, fmt.Errorf("the specified route conflicts with one or more built in routes")
	}
	for _, m := range f.trigger.Methods {
		t.methods = append(t.methods, strings.ToUpper(m))
	}
	parts := strings.Split(text, "/")
	for i, part := range parts {
		s, err := parseSegment(part)
		if err != nil {
			return t, fmt.Errorf("route '%s': %w", text, err)
		}
		if (s.rest || s.optional) && i < len(parts)-1 {
			return t, fmt.Errorf("route '%s': only the last segment may be optional or take the rest", text)
		}
		t.segments = append(t.segments, s)
	}
	return t, nil
}

func parseSegment(part string) (segment, error) {
	inner, open := strings.CutPrefix(part, "{")
	if !open {
		if strings.ContainsAny(part, "{}") {
			return segment{}, fmt.Errorf("the local host reads a parameter only as a whole segment, not '%s'", part)
		}
		return segment{literal: part}, nil
	}
	inner, closed := strings.CutSuffix(inner, "}")
	if !closed || strings.ContainsAny(inner, "{}=") {
		return segment{}, fmt.Errorf("segment '%s' is not understood", part)
	}
	var s segment
	inner, s.rest = strings.CutPrefix(inner, "*")
	inner, s.optional = strings.CutSuffix(inner, "?")
	names := strings.Split(inner, ":")
	if s.param = names[0]; s.param == "" {
		return s, fmt.Errorf("segment '%s' has no name", part)
	}
	for _, c := range names[1:] {
		fits, err := constraint(c)
		if err != nil {
			return s, err
		}
		s.fits = append(s.fits, fits)
	}
	return s, nil
}

func constraint(text string) (func(string) bool, error) {
	patterns := map[string]string{
		"int": `^[+-]?\d{1,10}$`, "long": `^[+-]?\d{1,19}$`, "bool": `^(?i:true|false)$`, "alpha": `^[A-Za-z]*$`,
		"guid": `^(?i:[({]?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}[)}]?)$`,
	}
	if p, ok := patterns[text]; ok {
		return regexp.MustCompile(p).MatchString, nil
	}
	name, arg, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	n, err := strconv.Atoi(arg)
	if err == nil {
		switch name {
		case "length":
			return func(s string) bool { return len([]rune(s)) == n }, nil
		case "minlength":
			return func(s string) bool { return len([]rune(s)) >= n }, nil
		case "maxlength":
			return func(s string) bool { return len([]rune(s)) <= n }, nil
		}
	}
	return nil, fmt.Errorf("the local host has no route constraint '%s'", text)
}

// match returns the parameters of a path, null for an optional one that is not there. The method is part of
// the match: a wrong one is no route at all.
func (t template) match(method, path string) (object, bool) {
	if len(t.methods) > 0 && !slices.Contains(t.methods, method) {
		return nil, false
	}
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/")
	params := object{}
	for i, s := range t.segments {
		if s.rest {
			v, err := url.PathUnescape(strings.Join(parts[min(i, len(parts)):], "/"))
			params[s.param] = v
			return params, err == nil
		}
		if i >= len(parts) {
			params[s.param] = nil
			return params, s.optional
		}
		v, err := url.PathUnescape(parts[i])
		if err != nil || !s.match(v) {
			return nil, false
		}
		if s.param != "" {
			params[s.param] = v
		}
	}
	return params, len(parts) == len(t.segments)
}

func (s segment) match(v string) bool {
	if s.param == "" {
		return strings.EqualFold(v, s.literal)
	}
	for _, fits := range s.fits {
		if !fits(v) {
			return false
		}
	}
	return v != ""
}
