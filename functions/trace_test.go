package main

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/telemetry"
)

// attr returns the value of a span's attribute as text.
func attr(s tracetest.SpanStub, key string) string {
	for _, kv := range s.Attributes {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// of returns the spans of a mailbox, in the order in which they ended.
func (a *app) of(m migration.MailboxID) []tracetest.SpanStub {
	return slices.DeleteFunc(a.spans.GetSpans(), func(s tracetest.SpanStub) bool { return attr(s, "mailferry.mailbox") != string(m) })
}

func links(s tracetest.SpanStub) []string {
	var out []string
	for _, l := range s.Links {
		out = append(out, l.SpanContext.TraceID().String()+"-"+l.SpanContext.SpanID().String())
	}
	return out
}

func TestOneMailboxIsOneTraceFromSubmissionToReceipt(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	var pairs [][2]string
	for n := range 2 {
		p := [2]string{fmt.Sprintf("s%d@old.example", n), fmt.Sprintf("t%d@new.example", n)}
		source, _ := a.Add(p[0], p[1])
		fill(t, source, 100)
		pairs = append(pairs, p)
	}
	w := a.submit(t, pairs...)
	submit := a.spans.GetSpans()[0]
	if submit.Name != "submit" || !strings.Contains(hostSpan(1), submit.SpanContext.TraceID().String()) {
		t.Errorf("first span %s in trace %s, want the submission in the host's", submit.Name, submit.SpanContext.TraceID())
	}
	a.clock.Advance(time.Hour) // messages wait
	a.run(t)

	traces := map[string]bool{}
	for _, b := range a.boxes(t, w) {
		spans := a.of(b.ID)
		var names []string
		for _, s := range spans {
			names = append(names, s.Name)
			traces[s.SpanContext.TraceID().String()] = true
		}
		if want := []string{"plan", "copy", "mailbox", "verify"}; !slices.Equal(sorted(names), sorted(want)) {
			t.Fatalf("spans %v, want %v", names, want)
		}
		at := map[string]tracetest.SpanStub{}
		for _, s := range spans {
			at[s.Name] = s
		}
		root := at["mailbox"]
		if root.Parent.IsValid() || !root.StartTime.Equal(b.Submitted) || !root.EndTime.Equal(b.Finished) || attr(root, "mailferry.state") != "done" {
			t.Errorf("root: parent %v, from %s to %s, %v", root.Parent, root.StartTime, root.EndTime, root.Attributes)
		}
		for _, pair := range [][2]string{{"mailbox", "plan"}, {"plan", "copy"}, {"copy", "verify"}} {
			if up, down := at[pair[0]], at[pair[1]]; down.Parent.SpanID() != up.SpanContext.SpanID() {
				t.Errorf("%s is below %s, want %s (%s)", pair[1], down.Parent.SpanID(), pair[0], up.SpanContext.SpanID())
			}
		}
		began := submit.SpanContext.TraceID().String() + "-" + submit.SpanContext.SpanID().String()
		for _, name := range []string{"plan", "copy", "verify", "mailbox"} {
			if !slices.Contains(links(at[name]), began) {
				t.Errorf("%s has no link to the submission: %v", name, links(at[name]))
			}
			if name != "mailbox" && !slices.ContainsFunc(links(at[name]), func(l string) bool { return strings.Contains(l, "abc0") }) {
				t.Errorf("%s has no link to the host's invocation: %v", name, links(at[name]))
			}
		}
		if attr(at["copy"], "mailferry.items") != "4" || attr(at["copy"], "mailferry.outcome") != "done" {
			t.Errorf("copy: %v", at["copy"].Attributes)
		}
	}
	if len(traces) != 2 {
		t.Errorf("%d traces for two mailboxes", len(traces))
	}
	for _, l := range a.logged(t, "delivered") {
		if !traces[l["trace"].(string)] {
			t.Errorf("a line names the trace %v, which is none of theirs", l["trace"])
		}
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// The keys stand in the workbook and in alerts.
func TestEveryDeliveryIsOneLine(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	source, _ := a.Add(sourceAddress, targetAddress)
	fill(t, source, 100)
	w := a.submit(t, [2]string{sourceAddress, targetAddress}, [2]string{"gone@old.example", "gone@new.example"})
	a.clock.Advance(7 * time.Second)
	a.run(t)
	want := []string{"bytes", "failures", "items", "level", "mailbox", "msg", "outcome", "pass", "queue", "reason", "seconds", "shard",
		"sourceRequests", "targetRequests", "throttledSeconds", "time", "trace", "turn", "waitedSeconds", "wave"}
	var seen []string
	for _, l := range a.logged(t, "delivered") {
		if got := slices.Sorted(maps.Keys(l)); !slices.Equal(got, want) {
			t.Errorf("keys %v, want %v", got, want)
		}
		if l["wave"] != string(w) {
			t.Errorf("wave %v", l["wave"])
		}
		seen = append(seen, fmt.Sprintf("%v %v %v", l["queue"], l["outcome"], l["items"]))
	}
	if want := []string{"plan cancelled 0", "plan done 0", "copy done 4", "verify done 0"}; !slices.Equal(sorted(seen), sorted(want)) {
		t.Errorf("lines %q, want %q", seen, want)
	}
}

func sum[N int64 | float64](t *testing.T, d metricdata.Aggregation, of string) N {
	t.Helper()
	var n N
	s, ok := d.(metricdata.Sum[N])
	if !ok {
		t.Fatalf("metric is a %T", d)
	}
	for _, p := range s.DataPoints {
		text := ""
		for _, kv := range p.Attributes.ToSlice() {
			text += fmt.Sprintf("%s=%s ", kv.Key, kv.Value.String())
		}
		if strings.Contains(text, of) {
			n += p.Value
		}
	}
	return n
}

// What is counted is what the other sides saw.
func TestCountsAgreeWithTheServers(t *testing.T) {
	t.Parallel()
	x := &exchanges{}
	a := newApp(t, false, func(n *pipeline.Needs) { connect(t, x, n) })
	x.graph.Next(1, graphtest.ImportItem).Throttle("3")
	x.graph.Next(1, graphtest.ListItems).Throttle("40")
	w := a.submit(t, [2]string{sourceAddress, targetAddress})
	a.run(t)
	if b := a.boxes(t, w)[0]; b.State != migration.Done {
		t.Fatalf("mailbox is %s: %s", b.State, b.Problem)
	}
	m := a.measured(t)
	graph := x.graph.Count(nil, graphtest.Any).Requests
	if got := sum[int64](t, m["mailferry.requests"], "side=target"); got != int64(graph) {
		t.Errorf("%d requests to Graph counted, the server saw %d", got, graph)
	}
	soap := 0
	for _, op := range []string{"GetFolder", "FindFolder", "FindItem", "ExportItems", "SyncFolderItems", "GetItem", "ResolveNames"} {
		soap += x.ews.Requests(op)
	}
	// Signing a connection in takes two requests more, which are refused.
	got := int(sum[int64](t, m["mailferry.requests"], "side=source"))
	if signIns := got - soap; soap == 0 || signIns <= 0 || signIns%2 != 0 {
		t.Errorf("%d requests to Exchange counted, the server saw %d besides signing in", got, soap)
	}
	if got := sum[float64](t, m["mailferry.throttled"], "side=target"); got < 42.9 || got > 43.1 {
		t.Errorf("throttled %g s, want 43", got)
	}
	if got := sum[int64](t, m["mailferry.items"], ""); got != int64(len(x.items)) {
		t.Errorf("%d items counted, want %d", got, len(x.items))
	}
	if got, want := sum[int64](t, m["mailferry.bytes"], ""), a.boxes(t, w)[0].Bytes; got != want {
		t.Errorf("%d bytes counted, the ledger has %d", got, want)
	}
	if got := sum[int64](t, m["mailferry.mailboxes"], "state=done"); got != 1 {
		t.Errorf("%d mailboxes done", got)
	}
	var requests, throttled float64
	for _, l := range a.logged(t, "delivered") {
		requests += l["targetRequests"].(float64)
		throttled += l["throttledSeconds"].(float64)
	}
	if requests != float64(graph) || throttled < 42.9 || throttled > 43.1 {
		t.Errorf("lines tell of %g requests and %g s throttled, want %d and 43", requests, throttled, graph)
	}
	if got := sum[int64](t, m["mailferry.deliveries"], "outcome=snoozed"); got != 1 {
		t.Errorf("%d deliveries snoozed, want 1", got)
	}
}

func TestAMailboxThatFailsEndsItsTrace(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	w := a.submit(t, [2]string{"gone@old.example", "gone@new.example"})
	a.run(t)
	b := a.boxes(t, w)[0]
	spans := a.of(b.ID)
	if len(spans) != 2 || spans[1].Name != "mailbox" || spans[1].Status.Code != codes.Error || spans[0].Status.Code != codes.Error {
		t.Errorf("spans %+v", spans)
	}
	if n := sum[int64](t, a.measured(t)["mailferry.mailboxes"], "state=failed"); n != 1 {
		t.Errorf("%d mailboxes failed", n)
	}
}

func TestAParkedMessageEndsItsTrace(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	w := a.submit(t, [2]string{"s@old.example", "t@new.example"})
	l, _ := a.Bus.Take(a.clock.Now())
	ctx := telemetry.Arrived(t.Context(), map[string]any{"traceparent": l.Trace.Parent}, time.Time{})
	err := a.Park(ctx, parker.Letter{Queue: l.Queue, ID: "x", Body: l.Message.Encode(), Deliveries: 10, Reason: "MaxDeliveryCountExceeded"})
	if err != nil {
		t.Fatal(err)
	}
	b := a.boxes(t, w)[0]
	if spans := a.of(b.ID); b.State != migration.Failed || len(spans) != 2 || spans[1].Name != "mailbox" || spans[0].SpanContext.TraceID() != spans[1].SpanContext.TraceID() {
		t.Errorf("mailbox %s, spans %+v", b.State, a.of(b.ID))
	}
}

// Messages of an earlier version have no properties, and others' messages may have foreign ones.
func TestEveryMessageFindsItsMailboxsTrace(t *testing.T) {
	t.Parallel()
	for name, parent := range map[string]string{"none": "", "foreign": hostSpan(99), "malformed": "00-abc", "zero": "00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, false, nil)
			source, _ := a.Add(sourceAddress, targetAddress)
			fill(t, source, 100)
			w := a.submit(t, [2]string{sourceAddress, targetAddress})
			l, _ := a.Bus.Take(a.clock.Now())
			l.Trace.Parent, l.Trace.State = parent, ""
			a.Bus.Put(l)
			a.run(t)
			traces := map[string]bool{}
			for _, s := range a.of(a.boxes(t, w)[0].ID) {
				traces[s.SpanContext.TraceID().String()] = true
			}
			if len(traces) != 1 {
				t.Errorf("%d traces", len(traces))
			}
		})
	}
}

// A wave that the timer starts is linked to the tick; the mailbox's trace does not depend on who began it.
func TestTheTimerBeginsTraces(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, nil)
	source, _ := a.Add(sourceAddress, targetAddress)
	fill(t, source, 100)
	start := a.clock.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"start":%q,"mailboxes":[{"source":%q,"target":%q}]}`, start, sourceAddress, targetAddress)
	if r := a.call(t, http.MethodPost, "/api/batches", "application/json", body); r.Code != http.StatusAccepted {
		t.Fatalf("submission answers %d: %s", r.Code, r.Body)
	}
	if _, more := a.Bus.Next(); more {
		t.Fatal("the wave has started before its time")
	}
	a.clock.Advance(time.Hour)
	tick := `{"Data":{"timer":{"ScheduleStatus":{},"IsPastDue":false}},"Metadata":{}}`
	if r := a.call(t, http.MethodPost, "/startwaves", "application/json", tick); r.Code != http.StatusOK {
		t.Fatalf("tick answers %d: %s", r.Code, r.Body)
	}
	host := hostSpan(a.hosts)
	a.run(t)
	for _, s := range a.spans.GetSpans() {
		if s.Name == "tick" && !strings.Contains(host, s.SpanContext.TraceID().String()) {
			t.Error("the tick's span is not in the host's trace")
		}
		if s.Name == "plan" && !slices.ContainsFunc(links(s), func(l string) bool { return strings.Contains(host, l[:32]) }) {
			t.Errorf("plan is not linked to the tick: %v", links(s))
		}
	}
}

// Without an endpoint nothing is made, and messages still carry their trace: the host links to it.
func TestWithoutTelemetryMessagesCarryTheirTrace(t *testing.T) {
	t.Parallel()
	a := newApp(t, false, func(n *pipeline.Needs) { n.Telemetry = nil })
	source, _ := a.Add(sourceAddress, targetAddress)
	fill(t, source, 100)
	a.submit(t, [2]string{sourceAddress, targetAddress})
	a.run(t)
	traces := map[string]bool{}
	for _, l := range a.sent.letters {
		traces[strings.Split(l.Trace.Parent, "-")[1]] = true
	}
	lines := a.logged(t, "delivered")
	if len(a.sent.letters) != 3 || len(traces) != 1 || len(lines) != 3 || !traces[lines[0]["trace"].(string)] {
		t.Errorf("%d messages with the traces %v, and %d lines", len(a.sent.letters), traces, len(lines))
	}
	if n := len(a.of(migration.MailboxFor(sourceAddress, targetAddress))); n != 0 {
		t.Errorf("%d spans were made", n)
	}
}
