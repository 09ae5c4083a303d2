package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jonboulle/clockwork"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/telemetry"
)

// app is the handler in this process, called as the host calls it. Everything that leaves it is kept.
type app struct {
	*pipelinetest.Local
	http    http.Handler
	clock   *clockwork.FakeClock
	log     *lines
	spans   *tracetest.InMemoryExporter
	metrics *sdkmetric.ManualReader
	stored  *records // tables and blobs
	sent    *keptBus // messages
	answers *records // of the HTTP functions
	hosts   int      // invocations so far
}

// newApp puts a handler together over stores in memory; change may replace what it stands on.
func newApp(t *testing.T, entra bool, change func(*pipeline.Needs)) *app {
	t.Helper()
	a := &app{log: &lines{}, spans: tracetest.NewInMemoryExporter(), metrics: sdkmetric.NewManualReader(), stored: &records{}, answers: &records{}}
	log := slog.New(slog.NewJSONHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var tel *telemetry.Telemetry
	a.Local = pipelinetest.New(func(n *pipeline.Needs) {
		a.clock = n.Clock.(*clockwork.FakeClock)
		var err error
		if tel, err = telemetry.New(n.Clock, sdktrace.NewSimpleSpanProcessor(a.spans), a.metrics, nil); err != nil {
			t.Fatal(err)
		}
		n.Log, n.Telemetry = log, tel
		l := n.Ledger
		l.Waves, l.Mailboxes, l.Groups = a.table("waves", l.Waves), a.table("mailboxes", l.Mailboxes), a.table("groups", l.Groups)
		l.Fences, l.Problems = a.table("fences", l.Fences), a.table("problems", l.Problems)
		n.Manifests, n.Staging = a.blobs("manifests", n.Manifests), a.blobs("staging", n.Staging)
		n.Reports, n.Receipts = a.blobs("reports", n.Reports), a.blobs("receipts", n.Receipts)
		a.sent = &keptBus{Bus: n.Bus}
		n.Bus = a.sent
		if change != nil {
			change(n)
		}
	})
	a.http = telemetry.Host(routes(a.Pipeline, newGate(entra, a.clock, log, tel)))
	return a
}

// run delivers messages until none is left, each at its time.
func (a *app) run(t *testing.T) {
	t.Helper()
	for range 200 {
		at, more := a.Bus.Next()
		if !more {
			return
		}
		if wait := at.Sub(a.clock.Now()); wait > 0 {
			a.clock.Advance(wait)
		}
		a.deliver(t)
	}
	t.Fatal("the pipeline is still busy after 200 deliveries")
}

var functionOf = map[migration.Queue]string{"plan": "planmailbox", "copy": "copyshard", "verify": "verifymailbox"}

// deliver hands the next message to its function, as the host does.
func (a *app) deliver(t *testing.T) {
	t.Helper()
	l, ok := a.Bus.Take(a.clock.Now())
	if !ok {
		t.Fatal("no message is due")
	}
	quote := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	body, err := json.Marshal(map[string]any{
		"Data": map[string]any{"message": base64.StdEncoding.EncodeToString(l.Message.Encode())},
		"Metadata": map[string]any{"MessageId": quote(l.Message.ID(l.Queue)), "SessionId": quote(string(l.Message.Mailbox)), "DeliveryCount": "1",
			"EnqueuedTimeUtc":       a.clock.Now().UTC().Format("2006-01-02T15:04:05"),
			"ApplicationProperties": map[string]any{"traceparent": l.Trace.Parent, "tracestate": l.Trace.State}}})
	if err != nil {
		t.Fatal(err)
	}
	if w := a.call(t, http.MethodPost, "/"+functionOf[l.Queue], "application/json", string(body)); w.Code != http.StatusOK {
		t.Fatalf("%s answers %d: %s", functionOf[l.Queue], w.Code, w.Body)
	}
}

// hostSpan is the traceparent of the host's n-th invocation.
func hostSpan(n int) string { return fmt.Sprintf("00-%032x-%016x-01", 0xabc0000+n, 0xdef0000+n) }

// call sends a request as the host does.
func (a *app) call(t *testing.T, method, path, kind, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	a.hosts++
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Traceparent", hostSpan(a.hosts))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.http.ServeHTTP(w, r)
	return w
}

// get asks an HTTP function and keeps what it answers.
func (a *app) get(t *testing.T, what, path string) string {
	t.Helper()
	w := a.call(t, http.MethodGet, path, "", "")
	a.answers.add("answer of "+what, w.Body.String())
	return w.Body.String()
}

// submit submits pairs of addresses and returns the wave's ID.
func (a *app) submit(t *testing.T, pairs ...[2]string) migration.WaveID {
	t.Helper()
	csv := "source,target\n"
	for _, p := range pairs {
		csv += p[0] + "," + p[1] + "\n"
	}
	w := a.call(t, http.MethodPost, "/api/batches", "text/csv", csv)
	if w.Code != http.StatusAccepted {
		t.Fatalf("submission answers %d: %s", w.Code, w.Body)
	}
	a.answers.add("answer of submitbatch", w.Body.String())
	var s submitted
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	return s.Wave
}

// boxes returns the mailboxes of a wave.
func (a *app) boxes(t *testing.T, w migration.WaveID) []migration.Mailbox {
	t.Helper()
	var out []migration.Mailbox
	for b, err := range a.Ledger.WaveMailboxes(t.Context(), w) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// measured collects the metrics by name.
func (a *app) measured(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := a.metrics.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	out := map[string]metricdata.Aggregation{}
	for _, s := range rm.ScopeMetrics {
		for _, m := range s.Metrics {
			out[m.Name] = m.Data
		}
	}
	return out
}

// logged returns the lines with a message, decoded.
func (a *app) logged(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for l := range strings.Lines(a.log.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("log line is no JSON: %v", err)
		}
		if v["msg"] == msg {
			out = append(out, v)
		}
	}
	return out
}

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// record is something that was let out, and where.
type record struct{ where, text string }

// records keeps everything, also what is deleted later.
type records struct {
	mu  sync.Mutex
	all []record
}

func (r *records) add(where, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, record{where, text})
}

func (a *app) table(name string, t ledger.Table) ledger.Table { return keptTable{t, name, a.stored} }
func (a *app) blobs(name string, s blob.Store) blob.Store     { return keptBlobs{s, name, a.stored} }

type keptTable struct {
	ledger.Table
	name string
	r    *records
}

func (k keptTable) keep(rows ...ledger.Row) {
	for _, r := range rows {
		k.r.add("keys of table "+k.name, r.Partition+" "+r.Key)
		k.r.add("rows of table "+k.name, string(r.Body))
		k.r.add("columns of table "+k.name, fmt.Sprint(r.Shown))
	}
}

func (k keptTable) Insert(ctx context.Context, rows ...ledger.Row) error {
	k.keep(rows...)
	return k.Table.Insert(ctx, rows...)
}

func (k keptTable) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	k.keep(r)
	return k.Table.Replace(ctx, r)
}

type keptBlobs struct {
	blob.Store
	name string
	r    *records
}

func (k keptBlobs) Put(ctx context.Context, name string, r io.Reader) error {
	var b bytes.Buffer
	err := k.Store.Put(ctx, name, io.TeeReader(r, &b))
	k.r.add("names of blobs in "+k.name, name)
	k.r.add("blobs in "+k.name, b.String())
	return err
}

// keptBus keeps the letters as they are sent.
type keptBus struct {
	bus.Bus
	mu      sync.Mutex
	letters []bus.Letter
	also    bus.Bus // gets them too
}

func (k *keptBus) Send(ctx context.Context, letters ...bus.Letter) error {
	k.mu.Lock()
	k.letters = append(k.letters, slices.Clone(letters)...)
	k.mu.Unlock()
	if k.also != nil {
		if err := k.also.Send(ctx, letters...); err != nil {
			return err
		}
	}
	return k.Bus.Send(ctx, letters...)
}
