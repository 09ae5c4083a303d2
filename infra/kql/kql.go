// Package kql runs the queries of the workbook and the alerts over rows in memory, so that a test can show that each has
// something to say about what the handler logs. It knows the operators and functions that these queries use and refuses
// the rest; whether a query is good KQL is for Microsoft's own parser to say, which infra/check asks.
package kql

import (
	"fmt"
	"time"
)

// Row is one row; a missing column is null.
//
// Values are nil, bool, int64, float64, string, time.Time, time.Duration, map[string]any and []any.
type Row map[string]any

// Table is rows under columns.
type Table struct {
	Columns []string
	Rows    []Row
}

// Run runs a query. now is what now() says.
func Run(query string, tables map[string]Table, now time.Time) (Table, error) {
	p, err := parse(query)
	if err != nil {
		return Table{}, err
	}
	e := &env{tables: tables, now: now, scalars: map[string]any{}}
	for _, l := range p.lets {
		v, err := e.let(l)
		if err != nil {
			return Table{}, fmt.Errorf("let %s: %w", l.name, err)
		}
		e.scalars[l.name] = v
	}
	return e.pipe(p.pipe)
}

// env is what a query sees.
type env struct {
	tables  map[string]Table
	now     time.Time
	scalars map[string]any
}

// let works out a constant: an expression, or toscalar of a query, which is its first value.
func (e *env) let(l let) (any, error) {
	if l.pipe == nil {
		return e.eval(l.value, nil)
	}
	t, err := e.pipe(*l.pipe)
	if err != nil || len(t.Rows) == 0 {
		return nil, err
	}
	return t.Rows[0][t.Columns[0]], nil
}

func (e *env) pipe(p pipe) (Table, error) {
	t, ok := e.tables[p.table]
	if !ok {
		return t, fmt.Errorf("there is no table %s", p.table)
	}
	for _, s := range p.steps {
		var err error
		if t, err = e.step(s, t); err != nil {
			return t, fmt.Errorf("%s: %w", s.word, err)
		}
	}
	return t, nil
}
