package graphtest

import (
	"cmp"
	"strings"
	"time"
)

// row is an entity as filters and orders see it.
type row interface {
	field(name string) any // by the name in entity; nil is null
	extended(p propID) any // the raw value, nil when absent
}

// matches evaluates a checked filter.
func (n *node) matches(r row) bool {
	switch n.op {
	case "and":
		for _, k := range n.kids {
			if !k.matches(r) {
				return false
			}
		}
		return true
	case "or":
		for _, k := range n.kids {
			if k.matches(r) {
				return true
			}
		}
		return false
	case "not":
		return !n.kids[0].matches(r)
	case "any":
		id, err := n.kids[0].lambdaID()
		if err != nil {
			return false
		}
		v := r.extended(id)
		return v != nil && n.kids[0].matchesProp(id, v)
	}
	if want, ok := n.value.(string); ok && isKey(n.path) && (n.op == "eq" || n.op == "ne") {
		return (r.field(n.path) == any(want)) == (n.op == "eq")
	}
	return n.compare(r.field(n.path))
}

// isKey says whether a property's case matters.
func isKey(path string) bool { return path == "id" || path == "parentFolderId" || path == "changeKey" }

// matchesProp evaluates the condition of any() for the one property it names.
func (n *node) matchesProp(id propID, v any) bool {
	switch {
	case n.op == "and":
		return n.kids[0].matchesProp(id, v) && allMatch(n.kids[1:], id, v)
	case n.op == "or":
		for _, k := range n.kids {
			if k.matchesProp(id, v) {
				return true
			}
		}
		return false
	case n.op == "not":
		return !n.kids[0].matchesProp(id, v)
	case lastPart(n.path) == "id":
		return true
	}
	if vs, ok := id.texts(v); ok && id.multi {
		for _, t := range vs {
			if n.compare(t) {
				return true
			}
		}
		return false
	}
	if _, ok := id.text(v); !ok || id.multi {
		return false
	}
	if text, ok := n.value.(string); ok {
		shown, _ := id.text(v)
		return n.typed(id, text, shown)
	}
	return n.compare(v)
}

func allMatch(ns []*node, id propID, v any) bool {
	for _, k := range ns {
		if !k.matchesProp(id, v) {
			return false
		}
	}
	return true
}

// typed compares a value given as text by the kind of the property.
func (n *node) typed(id propID, want, have string) bool {
	p := &filterParser{kind: tokWord, word: want}
	if v, err := p.literal(); err == nil && id.kind != "String" && id.kind != "Binary" && id.kind != "CLSID" {
		q := &filterParser{kind: tokWord, word: have}
		if h, err := q.literal(); err == nil {
			return (&node{op: n.op, value: v}).compare(h)
		}
	}
	return n.compare(have)
}

// lambdaID finds the one "ep/id eq '…'" of a condition of any().
func (n *node) lambdaID() (propID, error) {
	var found []string
	n.collectIDs(&found)
	if len(found) != 1 {
		return propID{}, badRequest("Invalid filter clause: any() needs exactly one id eq '…' of an extended property.")
	}
	return parsePropID(found[0])
}

func (n *node) collectIDs(out *[]string) {
	for _, k := range n.kids {
		k.collectIDs(out)
	}
	if s, ok := n.value.(string); ok && n.op == "eq" && lastPart(n.path) == "id" {
		*out = append(*out, s)
	}
}

func lastPart(path string) string {
	return strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
}

// compare applies the operator. Strings compare without regard to case, as the service does; null equals null only.
func (n *node) compare(have any) bool {
	switch n.op {
	case "startswith", "endswith", "contains":
		h, _ := have.(string)
		return affix(n.op, strings.ToLower(h), strings.ToLower(n.value.(string)))
	}
	if have == nil || n.value == nil {
		same := have == nil && n.value == nil
		return n.op == "eq" && same || n.op == "ne" && !same
	}
	c, ok := order(have, n.value)
	if !ok {
		return n.op == "ne"
	}
	switch n.op {
	case "eq":
		return c == 0
	case "ne":
		return c != 0
	case "gt":
		return c > 0
	case "ge":
		return c >= 0
	case "lt":
		return c < 0
	}
	return c <= 0
}

func affix(op, have, want string) bool {
	switch op {
	case "startswith":
		return strings.HasPrefix(have, want)
	case "endswith":
		return strings.HasSuffix(have, want)
	}
	return strings.Contains(have, want)
}

// order compares two values of one kind. ok is false when they are of different kinds.
func order(a, b any) (c int, ok bool) {
	if x, ok := number(a); ok {
		y, ok := number(b)
		return cmp.Compare(x, y), ok
	}
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return cmp.Compare(strings.ToLower(a), strings.ToLower(b)), ok
	case time.Time:
		b, ok := b.(time.Time)
		return a.Compare(b), ok
	case bool:
		b, ok := b.(bool)
		return cmp.Compare(bit(a), bit(b)), ok
	}
	return 0, false
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	n, ok := integer(v)
	return float64(n), ok
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
