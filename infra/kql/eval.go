package kql

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// eval evaluates an expression over a row.
func (e *env) eval(x *node, r Row) (any, error) {
	switch x.op {
	case "value":
		return x.value, nil
	case "name":
		if v, ok := r[x.name]; ok {
			return v, nil
		}
		if v, ok := e.scalars[x.name]; ok {
			return v, nil
		}
		return nil, fmt.Errorf("there is no column %s", x.name)
	case ".":
		v, err := e.eval(x.args[0], r)
		o, _ := v.(map[string]any)
		return o[x.name], err
	case "and", "or":
		return e.logic(x, r)
	case "iff", "case":
		return e.choose(x.args, r)
	}
	args := make([]any, len(x.args))
	for i, a := range x.args {
		var err error
		if args[i], err = e.eval(a, r); err != nil {
			return nil, err
		}
	}
	if len(args) == 2 && strings.ContainsAny(x.op, "+-*/%") {
		return arithmetic(x.op, args[0], args[1])
	}
	if v, ok := relate(x.op, args); ok {
		return v, nil
	}
	return e.function(x.op, args)
}

func (e *env) logic(x *node, r Row) (any, error) {
	a, err := e.eval(x.args[0], r)
	if err != nil {
		return nil, err
	}
	b, err := e.eval(x.args[1], r)
	if x.op == "or" {
		return a == true || b == true, err
	}
	return a == true && b == true, err
}

// choose evaluates condition, value, condition, value, …, otherwise.
func (e *env) choose(args []*node, r Row) (any, error) {
	for ; len(args) > 2; args = args[2:] {
		v, err := e.eval(args[0], r)
		if err != nil {
			return nil, err
		}
		if v == true {
			return e.eval(args[1], r)
		}
	}
	return e.eval(args[len(args)-1], r)
}

// relate compares. A null is neither equal to anything nor different from it.
func relate(op string, args []any) (any, bool) {
	if len(args) < 2 {
		return nil, false
	}
	x, y := args[0], args[1]
	switch op {
	case "==":
		return x != nil && y != nil && compare(x, y) == 0, true
	case "!=":
		return x == nil || y == nil || compare(x, y) != 0, true
	case "<":
		return x != nil && y != nil && compare(x, y) < 0, true
	case ">":
		return x != nil && y != nil && compare(x, y) > 0, true
	case "<=":
		return x != nil && y != nil && compare(x, y) <= 0, true
	case ">=":
		return x != nil && y != nil && compare(x, y) >= 0, true
	case "in":
		for _, y := range args[1:] {
			if x != nil && compare(x, y) == 0 {
				return true, true
			}
		}
		return false, true
	case "has", "contains":
		return strings.Contains(strings.ToLower(text(x)), strings.ToLower(text(y))), true
	case "startswith":
		return strings.HasPrefix(strings.ToLower(text(x)), strings.ToLower(text(y))), true
	}
	return nil, false
}

// compare orders values of one kind; values of different kinds by how they read.
func compare(x, y any) int {
	switch a := x.(type) {
	case time.Time:
		if b, ok := y.(time.Time); ok {
			return a.Compare(b)
		}
	case time.Duration:
		if b, ok := y.(time.Duration); ok {
			return cmp.Compare(a, b)
		}
	case int64, float64:
		if b, ok := float(y); ok {
			f, _ := float(a)
			return cmp.Compare(f, b)
		}
	}
	return strings.Compare(text(x), text(y))
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.UTC().Format("2006-01-02T15:04:05.0000000Z")
	case map[string]any, []any:
		b, _ := json.Marshal(v)
		return string(b)
	}
	return fmt.Sprint(v)
}

func arithmetic(op string, x, y any) (any, error) {
	if x == nil || y == nil {
		return nil, nil
	}
	switch a := x.(type) {
	case time.Time:
		switch b := y.(type) {
		case time.Time:
			return a.Sub(b), nil
		case time.Duration:
			if op == "-" {
				b = -b
			}
			return a.Add(b), nil
		}
	case time.Duration:
		if b, ok := y.(time.Duration); ok {
			if op == "/" {
				return float64(a) / float64(b), nil
			}
			v, err := arithmetic(op, int64(a), int64(b))
			n, _ := v.(int64)
			return time.Duration(n), err
		}
	case int64:
		if b, ok := y.(int64); ok {
			return whole(op, a, b)
		}
	}
	a, ok := float(x)
	b, ok2 := float(y)
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
	case "/":
		return a / b, nil
	}
	return math.Mod(a, b), nil
}

func whole(op string, a, b int64) (any, error) {
	if b == 0 && (op == "/" || op == "%") {
		return nil, nil
	}
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/":
		return a / b, nil
	}
	return a % b, nil
}

// function evaluates a function of values.
func (e *env) function(f string, args []any) (any, error) {
	switch f {
	case "now":
		return e.now, nil
	case "ago":
		return arithmetic("-", e.now, args[0])
	case "not":
		return args[0] != true, nil
	case "parse_json":
		return parseJSON(text(args[0])), nil
	case "tostring":
		return text(args[0]), nil
	case "tolong":
		return tolong(args[0]), nil
	case "todouble":
		return todouble(args[0]), nil
	case "todatetime":
		if t, err := time.Parse(time.RFC3339Nano, text(args[0])); err == nil {
			return t, nil
		}
		return nil, nil
	case "bin":
		return bin(args[0], args[1])
	case "round":
		n, ok := float(args[0])
		if !ok {
			return nil, nil
		}
		at := 1.0
		if len(args) > 1 {
			digits, _ := float(args[1])
			at = math.Pow(10, digits)
		}
		return math.Round(n*at) / at, nil
	case "extract":
		return extract(args)
	case "isempty":
		return text(args[0]) == "", nil
	case "strcat":
		var b strings.Builder
		for _, a := range args {
			b.WriteString(text(a))
		}
		return b.String(), nil
	}
	return nil, fmt.Errorf("%s is an aggregate: it belongs into summarize", f)
}

// parseJSON reads a dynamic value; what is no JSON stays a string, as in KQL.
func parseJSON(s string) any {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return s
	}
	return plain(v)
}

// plain turns JSON's numbers into int64 and float64.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for k, x := range v {
			v[k] = plain(x)
		}
	case []any:
		for i, x := range v {
			v[i] = plain(x)
		}
	}
	return v
}

func tolong(v any) any {
	if f, ok := float(v); ok {
		return int64(f)
	}
	if n, err := strconv.ParseInt(text(v), 10, 64); err == nil {
		return n
	}
	return nil
}

func todouble(v any) any {
	if f, ok := float(v); ok {
		return f
	}
	if f, err := strconv.ParseFloat(text(v), 64); err == nil {
		return f
	}
	return nil
}

func bin(v, size any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case time.Time:
		if d, ok := size.(time.Duration); ok && d > 0 {
			return v.UTC().Truncate(d), nil
		}
	case int64:
		if n, ok := size.(int64); ok && n > 0 {
			return v - v%n, nil
		}
	}
	return nil, fmt.Errorf("bin of %T by %T", v, size)
}

func extract(args []any) (any, error) {
	re, err := regexp.Compile(text(args[0]))
	if err != nil {
		return nil, err
	}
	n, _ := args[1].(int64)
	m := re.FindStringSubmatch(text(args[2]))
	if m == nil || int(n) >= len(m) || n < 0 {
		return "", nil
	}
	return m[n], nil
}
