package hosttest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// schedule is an NCRONTAB expression: six fields from seconds to weekday, or five from minutes. Unlike in
// cron, day of month and weekday must both match; weekdays are 0 (Sunday) to 6, and 7 is refused.
type schedule struct {
	fields [6][]bool // by value
	often  bool      // more than once within a minute, every minute: the schedule is not monitored
}

// cronField describes one field of an expression.
type cronField struct {
	name     string
	min, max int
	words    []string
}

func cronFields() [6]cronField {
	return [6]cronField{
		{"second", 0, 59, nil}, {"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day", 1, 31, nil},
		{"month", 1, 12, []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}},
		{"weekday", 0, 6, []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}},
	}
}

func parseSchedule(expression string) (*schedule, error) {
	parts := strings.Fields(expression)
	if len(parts) == 5 {
		parts = append([]string{"0"}, parts...)
	}
	if len(parts) != 6 {
		return nil, fmt.Errorf("the schedule expression '%s' was not recognized as a valid cron expression", expression)
	}
	s := &schedule{}
	every := true
	for i, f := range cronFields() {
		set, err := f.parse(parts[i])
		if err != nil {
			return nil, fmt.Errorf("the schedule expression '%s': %s: %w", expression, f.name, err)
		}
		s.fields[i] = set
		if i > 0 && slices.Contains(set[f.min:], false) {
			every = false
		}
	}
	seconds := 0
	for _, on := range s.fields[0] {
		if on {
			seconds++
		}
	}
	s.often = every && seconds > 1
	if s.next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("the schedule expression '%s' never occurs", expression)
	}
	return s, nil
}

func (f cronField) parse(text string) ([]bool, error) {
	set := make([]bool, f.max+1)
	for item := range strings.SplitSeq(text, ",") {
		if err := f.add(set, item); err != nil {
			return nil, err
		}
	}
	return set, nil
}

// add reads one of *, a, a-b, each with an optional /step; a/step runs to the end of the field.
func (f cronField) add(set []bool, item string) error {
	item, stepText, stepped := strings.Cut(item, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(stepText)
		if err != nil {
			return fmt.Errorf("step '%s' is not a number", stepText)
		}
		step = max(n, 1)
	}
	from, to := f.min, f.max
	if item != "*" {
		a, b, isRange := strings.Cut(item, "-")
		var err error
		if from, err = f.value(a); err != nil {
			return err
		}
		switch {
		case isRange:
			if to, err = f.value(b); err != nil {
				return err
			}
		case !stepped:
			to = from
		}
	}
	from, to = min(from, to), max(from, to)
	for v := from; v <= to; v += step {
		set[v] = true
	}
	return nil
}

func (f cronField) value(text string) (int, error) {
	for i, w := range f.words {
		if text != "" && strings.HasPrefix(w, strings.ToLower(text)) {
			return i + f.min, nil
		}
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < f.min || n > f.max {
		return 0, fmt.Errorf("'%s' is not a value between %d and %d", text, f.min, f.max)
	}
	return n, nil
}

// next returns the first occurrence after t, in UTC, or zero when there is none within 50 years.
func (s *schedule) next(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Second).Add(time.Second)
	end := t.AddDate(50, 0, 0)
	for t.Before(end) {
		switch {
		case !s.fields[4][int(t.Month())]:
			t = time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		case !s.fields[3][t.Day()] || !s.fields[5][int(t.Weekday())]:
			t = time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
		case !s.fields[2][t.Hour()]:
			t = t.Truncate(time.Hour).Add(time.Hour)
		case !s.fields[1][t.Minute()]:
			t = t.Truncate(time.Minute).Add(time.Minute)
		case !s.fields[0][t.Second()]:
			t = t.Add(time.Second)
		default:
			return t
		}
	}
	return time.Time{}
}
