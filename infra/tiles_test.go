package infra_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/infra/kql"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/fleet"
	"github.com/mailferry/mailferry/shared/invoke"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
	"github.com/mailferry/mailferry/shared/pace"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/telemetry"
)

// recording is log lines as Application Insights has them: the handler's standard output, a row per line.
type recording struct {
	mu   sync.Mutex
	rows []kql.Row
}

// Write takes one line; slog writes each with one call.
func (r *recording) Write(line []byte) (int, error) {
	var at struct{ Time time.Time }
	if err := json.Unmarshal(line, &at); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, kql.Row{"timestamp": at.Time, "message": strings.TrimSpace(string(line)), "severityLevel": int64(1)})
	return len(line), nil
}

// log writes JSON lines that are dated by the clock; no two lines have the same time.
func (r *recording) log(c clockwork.Clock) *slog.Logger {
	var lines atomic.Int64
	return slog.New(slog.NewJSONHandler(r, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Time(a.Key, c.Now().Add(time.Duration(lines.Add(1))*time.Millisecond))
		}
		return a
	}}))
}

// tables are the tables that the queries read. Metrics come from Azure alone, so those rows are made up.
func (r *recording) tables() map[string]kql.Table {
	traces := kql.Table{Columns: []string{"timestamp", "message", "severityLevel"}, Rows: r.rows}
	app := kql.Table{Columns: []string{"TimeGenerated", "Message", "SeverityLevel"}}
	for _, row := range r.rows {
		app.Rows = append(app.Rows, kql.Row{"TimeGenerated": row["timestamp"], "Message": row["message"], "SeverityLevel": row["severityLevel"]})
	}
	metrics := kql.Table{Columns: []string{"TimeGenerated", "MetricName", "Total"}, Rows: []kql.Row{
		{"TimeGenerated": pipelinetest.Start, "MetricName": "OnDemandFunctionExecutionUnits", "Total": 2048000.0 * 60}}}
	return map[string]kql.Table{"traces": traces, "AppTraces": app, "AzureMetrics": metrics}
}

// throttle stands before mailboxes and turns some callers away.
type throttle struct {
	sources mailbox.Sources
	targets mailbox.Targets
	clock   clockwork.Clock
	fence   pace.Fence
	mu      sync.Mutex
	calls   map[string]int
}

// busy says whether this is one of the first calls for an address that has to wait.
func (t *throttle) busy(address, prefix string, times int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[address]++
	return strings.HasPrefix(address, prefix) && t.calls[address] <= times
}

func (t *throttle) Source(ctx context.Context, address string) (mailbox.Source, error) {
	if t.busy(address, "box2", 1) {
		until := t.clock.Now().Add(20 * time.Minute)
		t.fence.Raise(until, "ews account")
		return nil, &mailbox.Throttled{Until: until, By: "ews account"}
	}
	return t.sources.Source(ctx, address)
}

// Account implements fleet.Accounts.
func (t *throttle) Account(string) (string, *pace.Fence) { return "ews-1", &t.fence }

func (t *throttle) Target(ctx context.Context, address string) (mailbox.Target, error) {
	if t.busy(address, "box3", 2) {
		return nil, &mailbox.Throttled{Until: t.clock.Now().Add(time.Minute), By: "graph mailbox"}
	}
	return t.targets.Target(ctx, address)
}

// record moves a wave of mailboxes through the real stages. One is throttled on each side, one does not exist on the
// target, one letter keeps failing, and one says nothing because its mailbox is never worked on to the end.
func record(t *testing.T) *recording {
	t.Helper()
	r := &recording{}
	clock := clockwork.NewFakeClockAt(pipelinetest.Start)
	log := r.log(clock)
	l := pipelinetest.New(func(n *pipeline.Needs) {
		th := &throttle{sources: n.Sources, targets: n.Targets, clock: clock, calls: map[string]int{}}
		n.Clock, n.Log, n.Targets = clock, log, th
		n.Sources = &fleet.Sources{Accounts: th, Ledger: n.Ledger, Clock: clock, Log: log}
	})
	l.Clock, l.Bus.Clock = clock, clock
	l.Around = func(letter bus.Letter, deliver func() error) error {
		box, err := l.Ledger.Mailbox(t.Context(), letter.Message.Wave, letter.Message.Mailbox)
		if err == nil && strings.HasPrefix(box.Source, "box5") && letter.Queue == "copy" {
			return errors.New("broken on purpose")
		}
		return deliver()
	}
	var lines []submitter.Line
	for i := range 7 {
		lines = append(lines, submitter.Line{Source: fmt.Sprintf("box%d@old.example", i), Target: fmt.Sprintf("box%d@new.example", i)})
		source, _ := l.Add(lines[i].Source, lines[i].Target)
		fill(t, source, 30)
	}
	delete(l.Targets, lines[4].Target)
	if _, err := l.Submit(t.Context(), submitter.Batch{Mailboxes: lines[:6]}); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if err := l.Parker.Park(t.Context(), parker.Letter{Queue: "plan", ID: "x", Body: []byte("not a message"), Deliveries: 10}); err != nil {
		t.Fatal(err)
	}
	invocations(t, log, clock)
	stall(t, l, lines[6])
	return r
}

// stall plans a mailbox, from a message that waited an hour, and then nothing more happens to it.
func stall(t *testing.T, l *pipelinetest.Local, line submitter.Line) {
	t.Helper()
	if _, err := l.Submit(t.Context(), submitter.Batch{Mailboxes: []submitter.Line{line}}); err != nil {
		t.Fatal(err)
	}
	letter, ok := l.Bus.Take(l.Clock.Now())
	if !ok {
		t.Fatal("there is no plan message")
	}
	arrived := telemetry.Arrived(t.Context(), nil, l.Clock.Now().Add(-time.Hour))
	if err := l.Deliver(arrived, letter.Queue, letter.Message.Encode()); err != nil {
		t.Fatal(err)
	}
	l.Clock.Advance(2 * time.Hour)
}

// invocations calls functions through the mux, as the host does: one that is fine, some that fail, and one that panics.
func invocations(t *testing.T, log *slog.Logger, clock clockwork.Clock) {
	t.Helper()
	m := invoke.New(log, clock)
	m.Tick("startwaves", func(context.Context, invoke.Tick) error { return nil })
	m.Message("copyshard", func(_ context.Context, msg invoke.Message) error {
		if msg.DeliveryCount > 1 {
			panic("on purpose")
		}
		return errors.New("on purpose")
	})
	post(m, "startwaves", `{"Data":{"tick":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{}}`)
	for range 5 {
		post(m, "copyshard", `{"Data":{"message":"e30="},"Metadata":{"DeliveryCount":"1","MessageId":"\"x\""}}`)
	}
	post(m, "copyshard", `{"Data":{"message":"e30="},"Metadata":{"DeliveryCount":"2","MessageId":"\"x\""}}`)
}

func post(h http.Handler, function, body string) {
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/"+function, strings.NewReader(body)))
}

// fill adds n messages to the inbox.
func fill(t *testing.T, m *exchangetest.Mailbox, n int) {
	t.Helper()
	inbox, err := m.Known("inbox")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		raw := fmt.Sprintf("From: a@example.org\r\nTo: b@example.org\r\nSubject: Letter %d\r\nMessage-ID: <%d@example.org>\r\nDate: Mon, 2 Nov 2026 10:%02d:00 +0000\r\n\r\nBody\r\n", i, i, i)
		mail, err := compose.MIME(strings.NewReader(raw), compose.Options{Received: time.Date(2026, 11, 2, 10, i, 0, 0, time.UTC)})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := fts.Write(&b, mail, fts.Version{Major: 15, Minor: 1, Build: 2507, Revision: 6}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Add(inbox.ID, exchangetest.Bytes(b.Bytes())); err != nil {
			t.Fatal(err)
		}
	}
}

// Each tile has something to show, and each alert something to say, about a run in which what it is for has happened.
func TestEveryQueryFindsRows(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := s.queries()
	if err != nil {
		t.Fatal(err)
	}
	r := record(t)
	now := r.rows[len(r.rows)-1]["timestamp"].(time.Time).Add(2 * time.Hour)
	for _, q := range queries {
		t.Run(q.name, func(t *testing.T) {
			t.Parallel()
			tables := r.tables()
			if q.name == "alert-ferrytrial-tick" { // it is about what is not there
				tables["traces"] = kql.Table{Columns: tables["traces"].Columns}
			}
			text := strings.NewReplacer("{Wave}", "", "{Price}", "0.000026").Replace(q.text)
			out, err := kql.Run(text, tables, now)
			if err != nil {
				t.Fatal(err)
			}
			if len(out.Rows) == 0 {
				t.Error("has no rows")
			}
			for _, column := range out.Columns {
				if !slices.ContainsFunc(out.Rows, func(r kql.Row) bool { return r[column] != nil }) {
					t.Errorf("column %s is empty:\n%s", column, table(out))
				}
			}
		})
	}
}

// Of a run in which nothing happens, alerts say nothing.
func TestAlertsAreQuietWhenAllIsWell(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := s.queries()
	if err != nil {
		t.Fatal(err)
	}
	r := &recording{}
	clock := clockwork.NewFakeClockAt(pipelinetest.Start)
	l := pipelinetest.New(func(n *pipeline.Needs) { n.Clock, n.Log = clock, r.log(clock) })
	l.Clock, l.Bus.Clock = clock, clock
	source, _ := l.Add("box@old.example", "box@new.example")
	fill(t, source, 30)
	if _, err := l.Submit(t.Context(), submitter.Batch{Mailboxes: []submitter.Line{{Source: "box@old.example", Target: "box@new.example"}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	m := invoke.New(r.log(clock), clock)
	m.Tick("startwaves", func(context.Context, invoke.Tick) error { return nil })
	post(m, "startwaves", `{"Data":{"tick":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{}}`)
	for _, q := range queries {
		if !strings.HasPrefix(q.name, "alert-") {
			continue
		}
		out, err := kql.Run(q.text, r.tables(), clock.Now().Add(3*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Rows) > 0 {
			t.Errorf("%s fires:\n%s", q.name, table(out))
		}
	}
}

// table shows a table as text.
func table(t kql.Table) string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(t.Columns, " | "))
	for _, r := range t.Rows {
		for i, c := range t.Columns {
			if i > 0 {
				io.WriteString(&b, " | ")
			}
			fmt.Fprint(&b, r[c])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
