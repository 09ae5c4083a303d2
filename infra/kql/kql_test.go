package kql_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/infra/kql"
)

var start = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

func tables() map[string]kql.Table {
	line := func(minute int, message string) kql.Row {
		return kql.Row{"timestamp": start.Add(time.Duration(minute) * time.Minute), "message": message}
	}
	return map[string]kql.Table{"traces": {Columns: []string{"timestamp", "message"}, Rows: []kql.Row{
		line(0, `{"msg":"a","box":"x","n":5,"until":"2026-12-01T20:20:00Z"}`),
		line(3, `{"msg":"a","box":"y","n":7}`),
		line(9, `{"msg":"b","box":"x","n":1,"why":"throttled by ews account until 2026"}`),
		line(12, `not json`),
	}}}
}

func TestRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, query, want string }{
		{"count", "traces | summarize n = count()", "n=4"},
		{"count of nothing", "traces | where message == 'z' | summarize n = count() | where n == 0", "n=0"},
		{"by of nothing", "traces | where message == 'z' | summarize count() by message", ""},
		{"where and property", "traces | extend d = parse_json(message) | where d.msg == 'a' and d.n > 5 | project box = tostring(d.box)", "box=y"},
		{"quoted property", "traces | extend d = parse_json(message) | where d['msg'] == 'b' | project n = d['n']", "n=1"},
		{"in", "traces | extend d = parse_json(message) | where d.msg in ('b', 'c') | project n = tolong(d.n)", "n=1"},
		{"sum by bin", "traces | extend d = parse_json(message) | summarize n = sum(tolong(d.n)) by bin(timestamp, 5m) | order by timestamp asc | project n",
			"n=12; n=1; n=0"},
		{"arg_max", "traces | extend d = parse_json(message) | where d.n > 0 | extend box = tostring(d.box), m = tostring(d.msg) | summarize arg_max(timestamp, m) by box | order by box asc | project box, m",
			"box=x m=b; box=y m=a"},
		{"times", "traces | extend d = parse_json(message) | extend u = todatetime(d.until) | where u > timestamp + 15m | project wait = (u - timestamp) / 1m", "wait=20"},
		{"case and extract", "traces | extend d = parse_json(message) | where d.why has 'EWS' | project by_ = extract('throttled by ([a-z]+)', 1, tostring(d.why)), k = case(d.n == 2, 'two', d.n == 1, 'one', 'other')",
			"by_=ews k=one"},
		{"let", "let half = 1 / 2.0; let n = toscalar(traces | summarize count()); traces | take 1 | project x = n * half", "x=2"},
		{"top", "traces | extend d = parse_json(message) | extend n = tolong(d.n) | top 2 by n | project n", "n=7; n=5"},
		{"percentile and if", "traces | extend d = parse_json(message) | summarize p = percentile(tolong(d.n), 95), a = countif(d.msg == 'a'), s = sumif(tolong(d.n), d.msg == 'a'), x = dcountif(tostring(d.box), d.n > 0), m = max(d.n) * 2",
			"p=7 a=2 s=12 x=2 m=14"},
		{"null", "traces | extend d = parse_json(message) | where isempty(tostring(d.msg)) | project k = iff(d.n == 5, 1, 2)", "k=2"},
		{"old", "traces | where timestamp < now() - 1h | summarize count()", "count_=4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, err := kql.Run(c.query, tables(), start.Add(2*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if got := show(out); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func show(t kql.Table) string {
	var rows []string
	for _, r := range t.Rows {
		var cells []string
		for _, c := range t.Columns {
			cells = append(cells, fmt.Sprintf("%s=%v", c, r[c]))
		}
		rows = append(rows, strings.Join(cells, " "))
	}
	return strings.Join(rows, "; ")
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, query, want string }{
		{"table", "nothing", "there is no table nothing"},
		{"column", "traces | where level == 1", "there is no column level"},
		{"operator", "traces | frob x", "operator is not understood"},
		{"function", "traces | extend x = frob(1)", "frob with 1 arguments is not understood"},
		{"not aggregated", "traces | summarize message", "neither aggregated nor in by"},
		{"dynamic", "traces | extend d = parse_json(message) | summarize count() by d", "by a dynamic value"},
		{"rest", "traces | take 1 traces", "want the end"},
		{"odd", "traces | where x ~ 1", "not understood"},
		{"deep", "traces | where " + strings.Repeat("(", 300), "nests too deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := kql.Run(c.query, tables(), start); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzRun(f *testing.F) {
	f.Add("traces | extend d = parse_json(message) | where d.n > 5 | summarize arg_max(timestamp, d) by bin(timestamp, 5m)")
	f.Add("let a = toscalar(traces | summarize count()); traces | top 2 by timestamp asc | project -a, x = 'y'")
	f.Fuzz(func(_ *testing.T, q string) { _, _ = kql.Run(q, tables(), start) })
}
