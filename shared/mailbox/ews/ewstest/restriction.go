package ewstest

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// lookup returns the value of a property of the thing that is looked at, nil when it has none.
type lookup func(path) any

// condition is a restriction, compiled. A nil condition matches all.
type condition func(lookup) bool

// readRestriction compiles a Restriction; an absent or empty one matches all.
func readRestriction(e *element) (condition, *problem) {
	if e == nil || len(e.kids) == 0 {
		return nil, nil
	}
	return compile(e.kids[0])
}

func compile(e *element) (condition, *problem) {
	switch e.name.Local {
	case "And", "Or":
		return compileMany(e)
	case "Not":
		inner, p := compile(e.kids0())
		if p != nil {
			return nil, p
		}
		return func(l lookup) bool { return !inner(l) }, nil
	}
	of, p := readPath(e.kids0())
	if p != nil {
		return nil, p
	}
	if of.index != "" || heavyPath(of.uri) {
		return nil, newProblem("ErrorUnsupportedPathForQuery")
	}
	return compileLeaf(e, of)
}

// heavyPath names what a table cannot be restricted by.
func heavyPath(uri string) bool {
	switch uri {
	case "item:MimeContent", "item:Attachments", "item:InternetMessageHeaders", "item:ItemId", "item:ParentFolderId", "item:EffectiveRights", "folder:FolderId",
		"folder:ParentFolderId", "folder:EffectiveRights", "item:ConversationId", "item:Flag":
		return true
	}
	return false
}

func compileMany(e *element) (condition, *problem) {
	var list []condition
	for _, k := range e.kids {
		f, p := compile(k)
		if p != nil {
			return nil, p
		}
		list = append(list, f)
	}
	all := e.name.Local == "And"
	return func(l lookup) bool {
		for _, f := range list {
			if f(l) != all {
				return !all
			}
		}
		return all
	}, nil
}

func compileLeaf(e *element, of path) (condition, *problem) {
	switch e.name.Local {
	case "Exists":
		return func(l lookup) bool { return l(of) != nil }, nil
	case "Contains":
		return compileContains(e, of), nil
	case "Excludes":
		mask, err := strconv.ParseInt(e.child("Bitmask").attr("Value"), 0, 64)
		if err != nil {
			return nil, newProblem("ErrorInvalidExcludesRestriction")
		}
		return func(l lookup) bool { n, _ := l(of).(int32); return int64(n)&mask == 0 }, nil
	case "IsEqualTo", "IsNotEqualTo", "IsGreaterThan", "IsGreaterThanOrEqualTo", "IsLessThan", "IsLessThanOrEqualTo":
		return compileCompare(e, of)
	}
	return nil, newProblem("ErrorUnsupportedQueryFilter")
}

func compileContains(e *element, of path) condition {
	mode, loose := e.attr("ContainmentMode"), strings.HasPrefix(e.attr("ContainmentComparison"), "Ignore") || e.attr("ContainmentComparison") == "Loose"
	fold := func(s string) string {
		if loose {
			return strings.ToLower(s)
		}
		return s
	}
	want := fold(e.child("Constant").attr("Value"))
	return func(l lookup) bool {
		for _, s := range textsIn(l(of)) {
			if holds(fold(s), want, mode) {
				return true
			}
		}
		return false
	}
}

func textsIn(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []string:
		return v
	}
	return nil
}

func holds(s, want, mode string) bool {
	switch mode {
	case "Prefixed":
		return strings.HasPrefix(s, want)
	case "Substring", "ExactPhrase":
		return strings.Contains(s, want)
	case "PrefixOnWords":
		for _, w := range strings.Fields(s) {
			if strings.HasPrefix(w, want) {
				return true
			}
		}
		return false
	}
	return s == want
}

func compileCompare(e *element, of path) (condition, *problem) {
	right := e.child("FieldURIOrConstant").kids0()
	value := func(_ lookup, like any) (any, bool) { return parseLike(right.attr("Value"), like) }
	if right.name.Local != "Constant" {
		other, p := readPath(right)
		if p != nil {
			return nil, p
		}
		value = func(l lookup, _ any) (any, bool) { v := l(other); return v, v != nil }
	}
	op := e.name.Local
	return func(l lookup) bool {
		left := l(of)
		if list, ok := left.([]string); ok { // a value of many equals what one of them equals
			return anyEqual(list, right.attr("Value")) == (op != "IsNotEqualTo")
		}
		v, ok := value(l, left)
		if left == nil || !ok {
			return op == "IsNotEqualTo"
		}
		n, ok := compare(left, v)
		return ok && satisfies(op, n)
	}, nil
}

func anyEqual(list []string, want string) bool {
	for _, s := range list {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

func satisfies(op string, n int) bool {
	switch op {
	case "IsEqualTo":
		return n == 0
	case "IsNotEqualTo":
		return n != 0
	case "IsGreaterThan":
		return n > 0
	case "IsGreaterThanOrEqualTo":
		return n >= 0
	case "IsLessThan":
		return n < 0
	}
	return n <= 0
}

// parseLike reads a constant as a value of the same type.
func parseLike(s string, like any) (any, bool) {
	switch like.(type) {
	case string:
		return s, true
	case bool:
		b, err := strconv.ParseBool(strings.ToLower(s))
		return b, err == nil
	case int, int16, int32, int64:
		n, err := strconv.ParseInt(s, 0, 64)
		return n, err == nil
	case float64:
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	case time.Time:
		t, err := parseTime(s)
		return t, err == nil
	case []byte:
		b, err := base64.StdEncoding.DecodeString(s)
		return b, err == nil
	}
	return nil, false
}

// parseTime reads an xs:dateTime; without zone it is UTC.
func parseTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse("2006-01-02T15:04:05", s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02", s)
}

// compare orders two values of one type; strings without regard to case. Times have seconds, as on the wire.
func compare(a, b any) (int, bool) {
	if x, ok := integer(a); ok {
		y, ok := integer(b)
		return cmp.Compare(x, y), ok
	}
	switch a := a.(type) {
	case string:
		s, ok := b.(string)
		return strings.Compare(strings.ToLower(a), strings.ToLower(s)), ok
	case bool:
		s, ok := b.(bool)
		return cmp.Compare(ordinal(a), ordinal(s)), ok
	case float64:
		s, ok := b.(float64)
		return cmp.Compare(a, s), ok
	case time.Time:
		s, ok := b.(time.Time)
		return a.Truncate(time.Second).Compare(s.Truncate(time.Second)), ok
	case []byte:
		s, ok := b.([]byte)
		return bytes.Compare(a, s), ok
	}
	return 0, false
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int16:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

func ordinal(b bool) int {
	if b {
		return 1
	}
	return 0
}
