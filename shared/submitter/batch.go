package submitter

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMailboxes is how many mailboxes one batch may hold. It keeps a submission within the 230 seconds that Azure's
// front end waits for an answer; larger moves are several batches.
const MaxMailboxes = 100_000

// Batch is one submission.
type Batch struct {
	Name      string    `json:"name,omitempty"`   // what people call the wave
	Start     time.Time `json:"start,omitzero"`   // when its mailboxes begin; zero: at once
	Cutover   time.Time `json:"cutover,omitzero"` // when the last pass begins; zero: the first pass is the last
	Spread    int       `json:"spread,omitempty"` // seconds over which the starts are spread
	Mailboxes []Line    `json:"mailboxes"`
}

// Line is one mailbox of a batch.
type Line struct {
	Source string `json:"source"` // SMTP address
	Target string `json:"target"` // SMTP address
	Line   int    `json:"-"`      // in the file, from 1
}

// Fault is one thing that is wrong with a batch.
type Fault struct {
	Line   int    `json:"line,omitempty"`   // in the file, from 1; of JSON, the mailbox's number; 0: the whole
	Column string `json:"column,omitempty"` // its name
	What   string `json:"what"`
}

// BatchError lists what is wrong with a batch. Nothing of it was submitted.
type BatchError struct{ Faults []Fault }

// maxFaults is how many faults are listed: a file of the wrong kind has one per line.
const maxFaults = 100

func (e *BatchError) add(line int, column, what string) {
	switch n := len(e.Faults); {
	case n < maxFaults:
		e.Faults = append(e.Faults, Fault{line, column, what})
	case n == maxFaults:
		e.Faults = append(e.Faults, Fault{What: "there is more, which is not listed"})
	}
}

func (e *BatchError) orNil() error {
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

// inOrder sorts the faults as they stand in the file, those of the whole last, and is nil when there are none.
func (e *BatchError) inOrder() error {
	place := func(f Fault) int {
		if f.Line == 0 {
			return math.MaxInt
		}
		return f.Line
	}
	slices.SortStableFunc(e.Faults, func(x, y Fault) int { return cmp.Compare(place(x), place(y)) })
	return e.orNil()
}

func (e *BatchError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return "nothing was submitted: " + strings.Join(lines, "; ")
}

func (f Fault) String() string {
	where := ""
	if f.Line > 0 {
		where = fmt.Sprintf("line %d: ", f.Line)
	}
	if f.Column != "" {
		where += f.Column + ": "
	}
	return where + f.What
}

// ParseCSV reads a batch: a header line that names the columns, then one mailbox per line. Columns are source and
// target; start and cutover (RFC 3339) may stand in any line and must be the same in all that have them. A comma,
// semicolon or tab separates columns; a byte order mark and upper case in the header are taken as they come.
func ParseCSV(r io.Reader) (Batch, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return Batch{}, fmt.Errorf("read batch: %w", err)
	}
	raw = bytes.TrimPrefix(raw, []byte("\xEF\xBB\xBF"))
	if !utf8.Valid(raw) {
		return Batch{}, &BatchError{[]Fault{{What: "the file is not UTF-8 text; save it as CSV UTF-8"}}}
	}
	rows := csv.NewReader(bytes.NewReader(raw))
	rows.Comma = separator(raw)
	rows.FieldsPerRecord, rows.TrimLeadingSpace = -1, true
	header, err := rows.Read()
	if err == io.EOF {
		return Batch{}, &BatchError{[]Fault{{Line: 1, What: "the file is empty; it begins with the line source,target"}}}
	}
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return Batch{}, &BatchError{[]Fault{notCSV(parse)}}
	}
	if err != nil {
		return Batch{}, fmt.Errorf("read batch: %w", err)
	}
	columns, err := columnsOf(header)
	if err != nil {
		return Batch{}, err
	}
	bad := &BatchError{}
	b, err := readRows(rows, columns, bad)
	if err != nil {
		return b, err
	}
	b.check("line", bad)
	return b, bad.inOrder()
}

// separator is the one of comma, semicolon and tab that the header has most of.
func separator(raw []byte) rune {
	first, _, _ := bytes.Cut(raw, []byte("\n"))
	return slices.MaxFunc([]rune{',', ';', '\t'}, func(a, b rune) int {
		return bytes.Count(first, []byte(string(a))) - bytes.Count(first, []byte(string(b)))
	})
}

var columnNames = []string{"source", "target", "start", "cutover"}

func columnsOf(header []string) (map[string]int, error) {
	columns, bad := map[string]int{}, &BatchError{}
	for i, h := range header {
		name := strings.ToLower(strings.TrimSpace(h))
		if _, twice := columns[name]; twice {
			bad.add(1, name, "the column is there twice")
		}
		if !slices.Contains(columnNames, name) {
			bad.add(1, name, "no such column; the columns are "+strings.Join(columnNames, ", "))
		}
		columns[name] = i
	}
	for _, name := range columnNames[:2] {
		if _, ok := columns[name]; !ok {
			bad.add(1, name, "the column is missing; the first line names the columns: source,target")
		}
	}
	return columns, bad.orNil()
}

// readRows reads mailboxes up to one too many. A row that is no CSV ends it: where the next one begins is not known.
func readRows(rows *csv.Reader, columns map[string]int, bad *BatchError) (Batch, error) {
	var b Batch
	for len(b.Mailboxes) <= MaxMailboxes {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if parse, ok := errors.AsType[*csv.ParseError](err); ok {
			bad.Faults = append(bad.Faults, notCSV(parse))
			return b, bad
		}
		if err != nil {
			return b, fmt.Errorf("read batch: %w", err)
		}
		line, _ := rows.FieldPos(0)
		if len(row) > len(columns) {
			bad.add(line, "", fmt.Sprintf("%d columns, the header names %d", len(row), len(columns)))
		}
		cell := func(name string) string {
			if i, ok := columns[name]; ok && i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		b.Mailboxes = append(b.Mailboxes, Line{cell("source"), cell("target"), line})
		takeTime(&b.Start, cell("start"), Fault{Line: line, Column: "start"}, bad)
		takeTime(&b.Cutover, cell("cutover"), Fault{Line: line, Column: "cutover"}, bad)
	}
	return b, nil
}

func notCSV(e *csv.ParseError) Fault {
	return Fault{Line: e.Line, What: fmt.Sprintf("byte %d: %v; what follows was not read", e.Column, e.Err)}
}

const wantTime = "want a time like 2026-12-01T22:00:00Z"

func takeTime(t *time.Time, cell string, at Fault, bad *BatchError) {
	if cell == "" {
		return
	}
	got, err := time.Parse(time.RFC3339, cell)
	switch {
	case err != nil:
		bad.add(at.Line, at.Column, wantTime)
	case !t.IsZero() && !t.Equal(got):
		bad.add(at.Line, at.Column, "differs from an earlier line; a batch has one "+at.Column+" time")
	default:
		*t = got
	}
}

// ParseJSON reads a batch in the shape of [Batch].
func ParseJSON(r io.Reader) (Batch, error) {
	var b Batch
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	err := d.Decode(&b)
	if err == nil && d.More() {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return b, &BatchError{[]Fault{{What: `want {"mailboxes":[{"source":"…","target":"…"}]}: ` + jsonFault(err)}}}
	}
	for i := range b.Mailboxes {
		b.Mailboxes[i].Line = i + 1
	}
	bad := &BatchError{}
	b.check("mailbox", bad)
	return b, bad.inOrder()
}

// jsonFault says what is wrong in words of the batch, not of the program.
func jsonFault(err error) string {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("byte %d: %v", e.Offset, e)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return strings.TrimLeft(fmt.Sprintf("%s: byte %d: no %s belongs here", e.Field, e.Offset, e.Value), ": ")
	}
	if e, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Sprintf("%q: %s", strings.Trim(e.Value, `"`), wantTime)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// check finds what is wrong with the batch as a whole. A mailbox's place is called a line, or what place says.
func (b Batch) check(place string, bad *BatchError) {
	switch {
	case len(b.Mailboxes) == 0:
		bad.add(0, "", "the batch has no mailboxes")
	case len(b.Mailboxes) > MaxMailboxes:
		bad.add(0, "", fmt.Sprintf("more than %d mailboxes; split the batch", MaxMailboxes))
	}
	if !b.Cutover.IsZero() && b.Cutover.Before(b.Start) {
		bad.add(0, "cutover", "is before the start")
	}
	if b.Spread < 0 || b.Spread > 7*24*3600 {
		bad.add(0, "spread", "want 0 to 604800 seconds")
	}
	sources, targets := seen{}, seen{}
	for _, l := range b.Mailboxes {
		if what := sources.check(l.Line, l.Source, place); what != "" {
			bad.add(l.Line, "source", what)
		}
		if what := targets.check(l.Line, l.Target, place); what != "" {
			bad.add(l.Line, "target", what)
		}
	}
}

// seen is where each address of a column stands.
type seen map[string]int

// check says what is wrong with an address.
func (s seen) check(line int, address, place string) string {
	got, err := mail.ParseAddress(address)
	switch {
	case address == "":
		return "is empty; want an SMTP address"
	case err != nil || got.Address != address || len(address) > 320:
		return "is not an SMTP address"
	}
	key := strings.ToLower(address)
	if first, twice := s[key]; twice {
		return fmt.Sprintf("the same mailbox is in %s %d", place, first)
	}
	s[key] = line
	return ""
}
