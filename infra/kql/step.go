package kql

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

func (e *env) step(s step, t Table) (Table, error) {
	switch s.word {
	case "where":
		return e.where(s, t)
	case "extend":
		return e.extend(s, t)
	case "project":
		return e.project(s, t)
	case "summarize":
		return e.summarize(s, t)
	case "take":
		t.Rows = t.Rows[:min(max(int(s.n), 0), len(t.Rows))]
		return t, nil
	}
	out, err := e.order(s, t)
	if s.word == "top" && err == nil {
		out.Rows = out.Rows[:min(max(int(s.n), 0), len(out.Rows))]
	}
	return out, err
}

func (e *env) where(s step, t Table) (Table, error) {
	out := Table{Columns: t.Columns}
	for _, r := range t.Rows {
		v, err := e.eval(s.cols[0].x, e.known(r, t))
		if err != nil {
			return out, err
		}
		if v == true {
			out.Rows = append(out.Rows, r)
		}
	}
	return out, nil
}

// known is a row with its missing columns as nulls, so that an unknown column is told from an empty one.
func (e *env) known(r Row, t Table) Row {
	out := make(Row, len(t.Columns))
	for _, c := range t.Columns {
		out[c] = r[c]
	}
	return out
}

// label is the name of a column that was given none.
func (c col) label(i int) string {
	switch {
	case c.name != "":
		return c.name
	case c.x.op == "name" || c.x.op == ".":
		return c.x.name
	case len(c.x.args) > 0 && (c.x.args[0].op == "name" || c.x.args[0].op == "."):
		if c.x.op == "bin" {
			return c.x.args[0].name
		}
		return c.x.op + "_" + c.x.args[0].name
	}
	return fmt.Sprintf("Column%d", i+1)
}

func (e *env) extend(s step, t Table) (Table, error) {
	out := Table{Columns: slices.Clone(t.Columns)}
	for i, c := range s.cols {
		if !slices.Contains(out.Columns, c.label(i)) {
			out.Columns = append(out.Columns, c.label(i))
		}
	}
	for _, r := range t.Rows {
		from := e.known(r, t)
		row := e.known(r, t)
		for i, c := range s.cols {
			v, err := e.eval(c.x, from)
			if err != nil {
				return out, err
			}
			row[c.label(i)] = v
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func (e *env) project(s step, t Table) (Table, error) {
	wide, err := e.extend(s, t)
	out := Table{Rows: wide.Rows}
	for i, c := range s.cols {
		out.Columns = append(out.Columns, c.label(i))
	}
	return out, err
}

func (e *env) order(s step, t Table) (Table, error) {
	out := Table{Columns: t.Columns, Rows: slices.Clone(t.Rows)}
	var failed error
	sort.SliceStable(out.Rows, func(i, j int) bool {
		for _, c := range s.by {
			x, err := e.eval(c.x, e.known(out.Rows[i], t))
			y, err2 := e.eval(c.x, e.known(out.Rows[j], t))
			if err != nil || err2 != nil {
				failed = err
				return false
			}
			if n := compare(x, y); n != 0 {
				return (n < 0) != c.desc
			}
		}
		return false
	})
	return out, failed
}

// summarize groups rows by the values of the by columns, in the order in which they come.
func (e *env) summarize(s step, t Table) (Table, error) {
	var out Table
	for i, c := range s.by {
		out.Columns = append(out.Columns, c.label(i))
	}
	groups := map[string][]Row{}
	var order []string
	heads := map[string]Row{}
	for _, r := range t.Rows {
		from, head, key := e.known(r, t), Row{}, ""
		for i, c := range s.by {
			v, err := e.eval(c.x, from)
			if err != nil {
				return out, err
			}
			if _, dynamic := v.(map[string]any); dynamic {
				return out, fmt.Errorf("by a dynamic value")
			}
			head[c.label(i)] = v
			b, _ := json.Marshal(v)
			key += string(b) + "\x00"
		}
		if _, there := heads[key]; !there {
			heads[key] = head
			order = append(order, key)
		}
		groups[key] = append(groups[key], from)
	}
	if len(s.by) == 0 && len(order) == 0 { // without by there is always one row
		order, heads = []string{""}, map[string]Row{"": {}}
	}
	for _, key := range order {
		row := heads[key]
		for i, c := range s.cols {
			columns, err := e.aggregate(c, i, groups[key], row)
			if err != nil {
				return out, err
			}
			for _, name := range columns {
				if !slices.Contains(out.Columns, name) {
					out.Columns = append(out.Columns, name)
				}
			}
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// aggregate puts one aggregate of a group into a row and returns the columns that it filled.
func (e *env) aggregate(c col, i int, group []Row, row Row) ([]string, error) {
	if c.x.op == "arg_max" {
		return e.argMax(c.x.args, group, row)
	}
	name := c.label(i)
	if c.name == "" && c.x.op == "count" {
		name = "count_"
	}
	v, err := e.over(c.x, group)
	row[name] = v
	return []string{name}, err
}

// argMax copies columns of the row in which the first is greatest.
func (e *env) argMax(args []*node, group []Row, row Row) ([]string, error) {
	var best Row
	for _, r := range group {
		x, err := e.eval(args[0], r)
		if err != nil {
			return nil, err
		}
		if best == nil || compare(x, best[args[0].name]) > 0 {
			best = r
		}
	}
	var names []string
	for _, a := range args {
		if a.op != "name" {
			return nil, fmt.Errorf("arg_max of an expression: extend it first")
		}
		if _, ok := best[a.name]; best != nil && !ok {
			return nil, fmt.Errorf("there is no column %s", a.name)
		}
		row[a.name] = best[a.name]
		names = append(names, a.name)
	}
	return names, nil
}

// over evaluates an expression of aggregates.
func (e *env) over(x *node, group []Row) (any, error) {
	if aggregates[x.op] {
		return e.fold(x, group)
	}
	if x.op == "value" {
		return x.value, nil
	}
	if x.op == "name" {
		return nil, fmt.Errorf("%s is neither aggregated nor in by", x.name)
	}
	args := make([]*node, len(x.args))
	for i, a := range x.args {
		v, err := e.over(a, group)
		if err != nil {
			return nil, err
		}
		args[i] = &node{op: "value", value: v}
	}
	return e.eval(&node{op: x.op, name: x.name, args: args}, nil)
}

var aggregates = map[string]bool{"count": true, "countif": true, "sum": true, "sumif": true, "min": true, "max": true, "dcount": true,
	"dcountif": true, "percentile": true, "maxif": true}

// fold evaluates one aggregate.
func (e *env) fold(x *node, group []Row) (any, error) {
	f, args := x.op, x.args
	if plain, ok := strings.CutSuffix(f, "if"); ok {
		f = plain
		when := args[len(args)-1]
		args = args[:len(args)-1]
		var kept []Row
		for _, r := range group {
			v, err := e.eval(when, r)
			if err != nil {
				return nil, err
			}
			if v == true {
				kept = append(kept, r)
			}
		}
		group = kept
	}
	if f == "count" {
		return int64(len(group)), nil
	}
	var values []any
	for _, r := range group {
		v, err := e.eval(args[0], r)
		if err != nil {
			return nil, err
		}
		if v != nil {
			values = append(values, v)
		}
	}
	return reduce(f, args, values)
}

func reduce(f string, args []*node, values []any) (any, error) {
	switch f {
	case "dcount":
		seen := map[string]bool{}
		for _, v := range values {
			b, _ := json.Marshal(v)
			seen[string(b)] = true
		}
		return int64(len(seen)), nil
	case "sum":
		var total any = int64(0)
		for _, v := range values {
			var err error
			if total, err = arithmetic("+", total, v); err != nil {
				return nil, err
			}
		}
		return total, nil
	}
	slices.SortFunc(values, compare)
	if len(values) == 0 {
		return nil, nil
	}
	switch f {
	case "min":
		return values[0], nil
	case "max":
		return values[len(values)-1], nil
	}
	p, ok := args[1].value.(int64)
	if !ok || p < 0 || p > 100 {
		return nil, fmt.Errorf("percentile wants a number from 0 to 100")
	}
	return values[min(len(values)-1, len(values)*int(p)/100)], nil
}
