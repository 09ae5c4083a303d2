package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/telemetry"
)

var start = time.Date(2026, 12, 1, 20, 0, 0, 0, time.UTC)

// side answers every call with err.
type side struct {
	target
	err error
}

type target = mailbox.Target

func (s side) Target(context.Context, string) (mailbox.Target, error) { return s, nil }
func (s side) Folders(context.Context) ([]mailbox.Folder, error)      { return nil, s.err }
func (s side) Changes(context.Context, mailbox.FolderID, mailbox.SyncState) (mailbox.Changes, error) {
	return mailbox.Changes{}, s.err
}
func (s side) Import(context.Context, mailbox.FolderID, mailbox.Stream) (mailbox.ItemID, error) {
	return "1", s.err
}

func TestThrottledTimeIsCountedOnce(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClockAt(start)
	ctx, tally := telemetry.WithTally(t.Context(), clock)
	told := func(seconds int) {
		target, _ := telemetry.Targets(side{err: &mailbox.Throttled{Until: clock.Now().Add(time.Duration(seconds) * time.Second)}}).Target(ctx, "")
		_, _ = target.Import(ctx, "", mailbox.Stream{Size: 10})
		_, _ = target.Folders(ctx)
	}
	asked, _ := telemetry.Targets(side{err: &mailbox.Throttled{Until: clock.Now().Add(10 * time.Second)}}).Target(ctx, "")
	if _, err := asked.Changes(ctx, "", ""); err == nil || tally.Of(telemetry.Target).Throttled != 10*time.Second {
		t.Errorf("asked for changes: %v, throttled %s", err, tally.Of(telemetry.Target).Throttled)
	}
	told(10)
	told(10)
	clock.Advance(4 * time.Second)
	told(10) // four seconds more
	told(-5)
	clock.Advance(time.Minute)
	told(6)
	if got := tally.Of(telemetry.Target).Throttled; got != 20*time.Second {
		t.Errorf("throttled %s, want 20s", got)
	}
	if got := tally.Of(telemetry.Source); got.Throttled != 0 || got.Requests != 0 {
		t.Errorf("source %+v, want nothing", got)
	}
	if items, size := tally.Imported(); items != 0 || size != 0 {
		t.Errorf("%d items of %d bytes counted, none was taken", items, size)
	}
}

func TestWhatTheTargetTookIsCounted(t *testing.T) {
	t.Parallel()
	ctx, tally := telemetry.WithTally(t.Context(), clockwork.NewFakeClock())
	target, err := telemetry.Targets(side{}).Target(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, ctx := range []context.Context{ctx, ctx, t.Context()} { // the last one counts for nobody
		if _, err := target.Import(ctx, "", mailbox.Stream{Size: 10}); err != nil {
			t.Fatal(err)
		}
	}
	if items, size := tally.Imported(); items != 2 || size != 20 {
		t.Errorf("%d items of %d bytes, want 2 of 20", items, size)
	}
}

// collector keeps what is exported.
type collector struct {
	mu   sync.Mutex
	got  map[string]string
	body func()
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	if c.body != nil {
		c.body()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got[r.URL.Path+" "+r.Header.Get("Content-Type")] += string(b)
}

func deliver(t *testing.T, tel *telemetry.Telemetry) migration.Message {
	t.Helper()
	m := migration.Message{Wave: "w1", Mailbox: "m1", Pass: 1}
	ctx, d := tel.Begin(t.Context(), migration.PlanQueue, m)
	d.End(ctx, telemetry.Retried, "out of order")
	tel.Ended(ctx, migration.Mailbox{Wave: "w1", ID: "m1", State: migration.Failed, Submitted: start, Finished: start.Add(time.Hour)})
	return m
}

func TestSpansAndMetricsAreExportedByOTLP(t *testing.T) {
	t.Parallel()
	c := &collector{got: map[string]string{}}
	s := httptest.NewServer(c)
	defer s.Close()
	var log bytes.Buffer
	tel, err := telemetry.Open(t.Context(), telemetry.Options{Endpoint: s.URL + "/otlp/", Version: "1.2.3", Clock: clockwork.NewFakeClockAt(start), Log: slog.New(slog.NewJSONHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tel)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"/otlp/v1/traces application/x-protobuf":  {"mailferry", "1.2.3", "plan", "w1", "m1", "out of order", "mailbox", "failed"},
		"/otlp/v1/metrics application/x-protobuf": {"mailferry.deliveries", "mailferry.mailboxes", "retried", "failed", "service.instance.id"},
	} {
		for _, w := range want {
			if !strings.Contains(c.got[path], w) {
				t.Errorf("%s: no %q in %q", path, w, c.got[path])
			}
		}
	}
	if len(c.got) != 2 || log.Len() > 0 {
		t.Errorf("exports to %d paths; log %s", len(c.got), log.String())
	}
}

// A collector that hangs must not keep the process from ending.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	c := &collector{got: map[string]string{}, body: func() { <-release }}
	s := httptest.NewServer(c)
	defer s.Close()
	defer close(release)
	tel, err := telemetry.Open(t.Context(), telemetry.Options{Endpoint: s.URL, Clock: clockwork.NewFakeClockAt(start), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tel)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	began := time.Now()
	err = tel.Shutdown(ctx)
	if took := time.Since(began); err == nil || took > 3*time.Second {
		t.Errorf("shut down with %v after %s", err, took)
	}
	if err != nil && strings.Contains(err.Error(), s.URL) {
		t.Errorf("the error tells the URL: %v", err)
	}
}

// sentBus keeps what is sent.
type sentBus struct{ letters []bus.Letter }

func (s *sentBus) Send(_ context.Context, letters ...bus.Letter) error {
	s.letters = append(s.letters, letters...)
	return nil
}

func TestLettersCarryTheTraceOfTheirMailbox(t *testing.T) {
	t.Parallel()
	s := &sentBus{}
	tel := telemetry.None(clockwork.NewFakeClockAt(start))
	one := migration.Message{Wave: "w1", Mailbox: "m1", Pass: 1}
	two, again, other := one, one, one
	two.Pass, again.Epoch, other.Mailbox = 2, 1, "m2"
	for _, m := range []migration.Message{one, two, again, other} {
		if err := telemetry.Bus(s).Send(t.Context(), bus.Letter{Queue: migration.PlanQueue, Message: m}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, _ := tel.Begin(t.Context(), migration.PlanQueue, one)
	if err := telemetry.Bus(s).Send(ctx, bus.Letter{Message: other}, bus.Letter{Message: two}); err != nil {
		t.Fatal(err)
	}
	ids := func(n int) (trace, span string) {
		p := strings.Split(s.letters[n].Trace.Parent, "-")
		if len(p) != 4 || len(p[1]) != 32 || len(p[2]) != 16 || p[3] != "01" {
			t.Fatalf("traceparent %q", s.letters[n].Trace.Parent)
		}
		return p[1], p[2]
	}
	trace, span := ids(0)
	tests := []struct {
		name                string
		letter              int
		sameTrace, sameSpan bool
	}{
		{"the next pass", 1, true, true},
		{"taken back into work", 2, true, false},
		{"another mailbox", 3, false, false},
		{"another mailbox, from within the first one's delivery", 4, false, false},
		{"the mailbox's own, from within its delivery", 5, true, true},
	}
	for _, tt := range tests {
		if tr, sp := ids(tt.letter); (tr == trace) != tt.sameTrace || (sp == span) != tt.sameSpan {
			t.Errorf("%s: trace %s, span %s; the first has %s, %s", tt.name, tr, sp, trace, span)
		}
	}
	if state := s.letters[4].Trace.State; state != "mailferry="+trace+"-"+span {
		t.Errorf("tracestate %q does not name the sender", state)
	}
}

func FuzzArrived(f *testing.F) {
	f.Add("00-"+strings.Repeat("ab", 16)+"-"+strings.Repeat("cd", 8)+"-01", "mailferry="+strings.Repeat("ab", 16)+"-"+strings.Repeat("cd", 8))
	f.Add("00-abc", "mailferry=x,=,a=b")
	f.Add("", "")
	tel := telemetry.None(clockwork.NewFakeClockAt(start))
	f.Fuzz(func(t *testing.T, parent, state string) {
		ctx := telemetry.Arrived(t.Context(), map[string]any{"traceparent": parent, "tracestate": state}, start)
		m := migration.Message{Wave: "w1", Mailbox: "m1", Pass: 1}
		_, plain := tel.Begin(t.Context(), migration.PlanQueue, m)
		ctx, d := tel.Begin(ctx, migration.PlanQueue, m)
		if d.End(ctx, telemetry.Done, "").Trace != plain.End(t.Context(), telemetry.Done, "").Trace {
			t.Error("properties have led to another trace")
		}
	})
}
