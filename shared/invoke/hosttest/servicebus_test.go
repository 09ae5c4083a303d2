package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/invoke"
)

// post is a namespace with the queues of a test, and a client that sends.
type post struct {
	t      *testing.T
	server *servicebustest.Server
	client *azservicebus.Client
}

func newPost(t *testing.T, o servicebustest.Options) *post {
	t.Helper()
	server, err := servicebustest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	client, err := azservicebus.NewClientFromConnectionString(server.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.WithoutCancel(t.Context())) })
	return &post{t, server, client}
}

func (p *post) send(queue string, messages ...*azservicebus.Message) {
	p.t.Helper()
	s, err := p.client.NewSender(queue, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range messages {
		if err := s.SendMessage(p.t.Context(), m, nil); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := s.Close(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
}

func letter(id, session, body string) *azservicebus.Message {
	m := &azservicebus.Message{MessageID: &id, Body: []byte(body)}
	if session != "" {
		m.SessionID = &session
	}
	return m
}

// busFunction is a function.json on a queue.
func busFunction(queue string, sessions bool, dataType string) string {
	return fmt.Sprintf(`{"bindings":[{"name":"msg","type":"serviceBusTrigger","direction":"in","queueName":%q,"connection":"Bus","isSessionsEnabled":%t,"dataType":%q}]}`, queue, sessions, dataType)
}

// eventually polls what no channel tells.
func eventually(t *testing.T, what string, now func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !now() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// through plays a production mux as the handler.
func through(m *invoke.Mux) func(context.Context, cue) act {
	return func(ctx context.Context, c cue) act {
		if c.Method == "" {
			return act{}
		}
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(ctx, c.Method, c.Path, strings.NewReader(c.Body))
		r.Header = c.Header
		m.ServeHTTP(w, r)
		a := act{Status: w.Code, Body: w.Body.String(), Header: map[string]string{}}
		for k := range w.Header() {
			a.Header[k] = w.Header().Get(k)
		}
		return a
	}
}

func newMux() *invoke.Mux {
	return invoke.New(slog.New(slog.DiscardHandler), clockwork.NewRealClock())
}

func TestAMessageFromSenderToFunction(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 2, 10, 0, 0, 500e6, time.UTC)
	clock := clockwork.NewFakeClockAt(at)
	p := newPost(t, servicebustest.Options{Clock: clock, Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
	got := make(chan invoke.Message, 1)
	m := newMux()
	m.Message("copyshard", func(_ context.Context, m invoke.Message) error { got <- m; return nil })
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("%COPY%", true, "binary")}, through(m))
	s.env["Bus"], s.env["COPY"], s.env["AzureFunctionsJobHost__telemetryMode"] = p.server.ConnectionString(), "copy", "OpenTelemetry"
	s.ready(func(c *Config) { c.Clock = clock })

	msg := letter("copy-42-1", "mailbox-42", `{"DeliveryCount":0,"SessionId":"x"}`)
	subject, kind, wave := "copy", "application/json", "wave-7"
	msg.Subject, msg.ContentType, msg.CorrelationID = &subject, &kind, &wave
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg.ApplicationProperties = map[string]any{"turn": int64(2), "ratio": 0.5, "on": true, "traceparent": parent}
	p.send("copy", msg)

	a := <-got
	if !strings.HasPrefix(a.Trace, parent[:36]) || len(a.LockToken) != 36 {
		t.Errorf("trace %q, lock token %q", a.Trace, a.LockToken)
	}
	a.Trace, a.LockToken = "", ""
	want := invoke.Message{
		Function: "copyshard", Body: msg.Body, ID: "copy-42-1", SessionID: "mailbox-42", CorrelationID: "wave-7", DeliveryCount: 1, SequenceNumber: 1,
		Enqueued: at.Truncate(time.Second), Properties: map[string]any{"turn": int64(2), "ratio": 0.5, "on": true, "traceparent": parent},
	}
	if fmt.Sprint(a) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", a, want)
	}
	s.log.await(t, "Executed 'Functions.copyshard' (Succeeded", 1)
	s.log.await(t, "Trigger Details: MessageId: copy-42-1, SequenceNumber: 1, DeliveryCount: 1, SessionId: mailbox-42", 1)
	eventually(t, "completed", func() bool { return p.server.Counts("copy") == servicebustest.Counts{} })

	var e envelope
	if err := json.Unmarshal([]byte(s.calls()[0].Body), &e); err != nil {
		t.Fatal(err)
	}
	keys := []string{"ApplicationProperties", "Client", "ContentType", "CorrelationId", "DeliveryCount", "EnqueuedTime", "EnqueuedTimeUtc", "ExpiresAt", "ExpiresAtUtc", "Label", "LockToken",
		"MessageActions", "MessageId", "MessageReceiver", "MessageSession", "ReceiveActions", "SequenceNumber", "SessionActions", "SessionId", "Subject", "UserProperties", "sys"}
	if k := slices.Sorted(maps.Keys(e.Metadata)); !slices.Equal(k, keys) {
		t.Errorf("metadata %q", k)
	}
	for k, want := range map[string]string{"DeliveryCount": "1", "SessionId": `"mailbox-42"`, "EnqueuedTimeUtc": "2026-11-02T10:00:00", "EnqueuedTime": "2026-11-02T10:00:00+00:00"} {
		if e.Metadata[k] != want {
			t.Errorf("%s: %v", k, e.Metadata[k])
		}
	}
}

func TestAStringTriggerIsPoisoned(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}}})
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "")}, always(ok()))
	s.env["Bus"] = p.server.ConnectionString()
	s.ready()
	p.send("plan", letter("m", "", `{"DeliveryCount":99,"MessageId":"forged"}`))
	s.log.await(t, "Executed 'Functions.planmailbox' (Succeeded", 1)
	var e envelope
	if err := json.Unmarshal([]byte(s.calls()[0].Body), &e); err != nil {
		t.Fatal(err)
	}
	if e.Metadata["DeliveryCount"] != `"99"` || e.Metadata["MessageId"] != `"forged"` || e.Data["msg"] != `"{\"DeliveryCount\":99,\"MessageId\":\"forged\"}"` {
		t.Errorf("envelope %v", e)
	}
	if e.Metadata["SessionActions"] != nil {
		t.Error("session metadata without a session")
	}
}

func TestFailuresEndInTheDeadLetterQueueAtOnce(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "copy", Sessions: true, MaxDeliveryCount: 3}}})
	var mu sync.Mutex
	var counts []int
	dead := make(chan invoke.Message, 1)
	m := newMux()
	m.Message("copyshard", func(_ context.Context, m invoke.Message) error {
		mu.Lock()
		defer mu.Unlock()
		counts = append(counts, m.DeliveryCount)
		return errors.New("boom")
	})
	m.Message("copydead", func(_ context.Context, m invoke.Message) error { dead <- m; return nil })
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("copy", true, "binary"), "copydead": busFunction("copy/$DeadLetterQueue", false, "binary")}, through(m))
	s.env["Bus"] = p.server.ConnectionString()
	s.ready()
	p.send("copy", letter("m", "mailbox-42", "{}"))
	got := <-dead
	if got.DeadLetterReason != "MaxDeliveryCountExceeded" || got.SessionID != "mailbox-42" || got.ID != "m" {
		t.Errorf("dead letter %+v", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(counts, []int{1, 2, 3}) {
		t.Errorf("delivery counts %v", counts)
	}
	eventually(t, "completed", func() bool { return p.server.Counts("copy") == servicebustest.Counts{} })
}

// gate lets a test see and hold every invocation.
type gate struct {
	mu      sync.Mutex
	open    map[string]chan act
	entered chan invoke.Message
}

func newGate() *gate {
	return &gate{open: map[string]chan act{}, entered: make(chan invoke.Message, 100)}
}

// mux passes each message to the test and waits for release.
func (g *gate) mux(functions ...string) *invoke.Mux {
	m := newMux()
	for _, f := range functions {
		m.Message(f, func(ctx context.Context, m invoke.Message) error {
			c := make(chan act, 1)
			g.mu.Lock()
			g.open[m.ID] = c
			g.mu.Unlock()
			g.entered <- m
			select {
			case a := <-c:
				if a.Status == http.StatusOK {
					return nil
				}
				return errors.New("told to fail")
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}
	return m
}

func (g *gate) next(t *testing.T) invoke.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case m := <-g.entered:
		return m
	case <-ctx.Done():
		t.Fatal("no message came")
		return invoke.Message{}
	}
}

func (g *gate) release(id string, status int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[id] <- act{Status: status}
}

func TestSessionsAreServedInOrderAndInParallel(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("copy", true, "binary")}, through(g.mux("copyshard")))
	s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions"] = p.server.ConnectionString(), "2"
	for i := range 2 {
		for _, session := range []string{"a", "b", "c"} {
			p.send("copy", letter(fmt.Sprint(session, i), session, ""))
		}
	}
	s.ready()
	first, second := g.next(t), g.next(t)
	if first.SessionID == second.SessionID || first.ID[1] != '0' || second.ID[1] != '0' {
		t.Fatalf("got %s and %s", first.ID, second.ID)
	}
	if n := p.server.Counts("copy"); n.Locked != 2 || n.Active != 4 {
		t.Errorf("more than two sessions at work: %+v", n)
	}
	g.release(first.ID, 500)
	if again := g.next(t); again.ID != first.ID || again.DeliveryCount != 2 {
		t.Errorf("after a failure came %s (%d)", again.ID, again.DeliveryCount)
	}
	g.release(first.ID, 200)
	if after := g.next(t); after.ID != first.SessionID+"1" {
		t.Errorf("after %s came %s", first.ID, after.ID)
	}
	g.release(first.SessionID+"1", 200)
}

func TestAnIdleSessionIsLetGo(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	p := newPost(t, servicebustest.Options{Clock: clock, Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("copy", true, "binary")}, through(g.mux("copyshard")))
	s.env["Bus"] = p.server.ConnectionString()
	s.env["AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions"] = "1"
	s.env["AzureFunctionsJobHost__extensions__serviceBus__sessionIdleTimeout"] = "00:00:10"
	s.ready(func(c *Config) { c.Clock = clock })
	p.send("copy", letter("a0", "a", ""))
	g.next(t)
	p.send("copy", letter("b0", "b", ""))
	g.release("a0", 200)
	p.send("copy", letter("a1", "a", ""))
	if m := g.next(t); m.ID != "a1" {
		t.Fatalf("session a was let go while it had messages: %s", m.ID)
	}
	g.release("a1", 200)
	s.log.await(t, "Executed 'Functions.copyshard' (Succeeded", 2)
	eventually(t, "a1 completed", func() bool { return len(p.server.Messages("copy")) == 1 })
	begin := clock.Now()
	got := make(chan invoke.Message, 1)
	go func() { got <- g.next(t) }()
	eventually(t, "session b", func() bool {
		select {
		case m := <-got:
			return m.ID == "b0"
		default:
			clock.Advance(10 * time.Millisecond)
			return false
		}
	})
	// at least nearly all of it, as some may have passed before the last receive began; and not much more
	if idle := clock.Since(begin); idle < 9*time.Second || idle > 30*time.Second {
		t.Errorf("session a was held for %v without messages", idle)
	}
	g.release("b0", 200)
}

func TestCallsAreLimited(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary")}, through(g.mux("planmailbox")))
	s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls"] = p.server.ConnectionString(), "2"
	for i := range 5 {
		p.send("plan", letter(fmt.Sprint("m", i), "", ""))
	}
	s.ready()
	under := []string{g.next(t).ID, g.next(t).ID}
	for range 3 {
		if n := p.server.Counts("plan").Locked; n != 2 {
			t.Errorf("%d at once", n)
		}
		g.release(under[0], 200)
		under = []string{under[1], g.next(t).ID}
	}
	g.release(under[0], 200)
	g.release(under[1], 200)
	eventually(t, "all completed", func() bool { return p.server.Counts("plan") == servicebustest.Counts{} })
}

func TestLocksAreRenewedForAsLongAsAllowed(t *testing.T) {
	t.Parallel()
	for _, sessions := range []bool{false, true} {
		t.Run(fmt.Sprintf("sessions %t", sessions), func(t *testing.T) {
			t.Parallel()
			clock := clockwork.NewFakeClock()
			p := newPost(t, servicebustest.Options{Clock: clock, Queues: []servicebustest.Queue{{Name: "q", Sessions: sessions, LockDuration: 30 * time.Second}}})
			g := newGate()
			s := newStage(t, plainHost, map[string]string{"f": busFunction("q", sessions, "binary")}, through(g.mux("f")))
			s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__maxAutoLockRenewalDuration"] = p.server.ConnectionString(), "00:03:00"
			s.ready(func(c *Config) { c.Clock = clock })
			session := ""
			if sessions {
				session = "s"
			}
			p.send("q", letter("m", session, ""))
			if m := g.next(t); m.DeliveryCount != 1 {
				t.Fatalf("delivery %d", m.DeliveryCount)
			}
			begin := clock.Now()
			for clock.Since(begin) < 2*time.Minute+40*time.Second {
				clock.Advance(20 * time.Second)
				eventually(t, "renewed", func() bool { // a little later when the last answer came after the clock had moved
					clock.Advance(5 * time.Millisecond)
					m := p.server.Messages("q")
					return len(m) == 1 && m[0].LockedUntil.Sub(clock.Now()) > 25*time.Second
				})
			}
			got := make(chan invoke.Message, 1)
			go func() { got <- g.next(t) }()
			eventually(t, "delivered again", func() bool {
				select {
				case m := <-got:
					return m.DeliveryCount == 2
				default:
					clock.Advance(time.Second)
					return false
				}
			})
			if held := clock.Since(begin); held < 3*time.Minute {
				t.Errorf("held for %v only", held)
			}
		})
	}
}

func TestACrashAbandonsWhatWasUnderWay(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("copy", true, "binary")}, through(g.mux("copyshard")))
	s.env["Bus"] = p.server.ConnectionString()
	h := s.ready()
	p.send("copy", letter("a", "a", ""), letter("b", "b", ""))
	g.next(t)
	g.next(t)
	if err := h.Kill("copyshard"); err != nil {
		t.Fatal(err)
	}
	x, y := g.next(t), g.next(t)
	if x.DeliveryCount != 2 || y.DeliveryCount != 2 {
		t.Errorf("deliveries %d and %d", x.DeliveryCount, y.DeliveryCount)
	}
	g.release("a", 200)
	g.release("b", 200)
	eventually(t, "completed", func() bool { return p.server.Counts("copy") == servicebustest.Counts{} })
	if p := h.Processes()[0]; p.Restarts != 1 {
		t.Errorf("process %+v", p)
	}
}

func TestALostCompletionDeliversTwice(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary")}, through(g.mux("planmailbox")))
	s.env["Bus"] = p.server.ConnectionString()
	h := s.ready()
	if err := h.Inject(Fault{Function: "planmailbox", On: 1, Twice: true}); err != nil {
		t.Fatal(err)
	}
	p.send("plan", letter("m", "", ""))
	for delivery := 1; delivery <= 2; delivery++ {
		if m := g.next(t); m.DeliveryCount != delivery {
			t.Errorf("delivery %d counts %d", delivery, m.DeliveryCount)
		}
		g.release("m", 200)
	}
	eventually(t, "completed", func() bool { return p.server.Counts("plan") == servicebustest.Counts{} })
}

func TestDrainFinishesMessages(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}, {Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary"), "copyshard": busFunction("copy", true, "binary")}, through(g.mux("planmailbox", "copyshard")))
	s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls"] = p.server.ConnectionString(), "1"
	h := s.ready()
	p.send("plan", letter("p0", "", ""), letter("p1", "", ""))
	p.send("copy", letter("c0", "a", ""), letter("c1", "a", ""))
	g.next(t)
	g.next(t)
	drained := make(chan error, 1)
	go func() { drained <- h.Drain(t.Context()) }()
	<-h.listening.Done()
	g.release("p0", 200)
	g.release("c0", 200)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, q := range []string{"plan", "copy"} {
		if n := p.server.Counts(q); n != (servicebustest.Counts{Active: 1}) {
			t.Errorf("%s: %+v", q, n)
		}
	}
}

func TestWithoutAutoCompleteNothingIsSettled(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}}})
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary")}, always(ok()))
	s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__autoCompleteMessages"] = p.server.ConnectionString(), "false"
	h := s.ready()
	p.send("plan", letter("m", "", ""))
	s.log.await(t, "Executed 'Functions.planmailbox' (Succeeded", 1)
	if err := h.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := p.server.Counts("plan"); n.Locked != 1 {
		t.Errorf("counts %+v", n)
	}
}

func TestTheConnectionComesBack(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}, {Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary"), "copyshard": busFunction("copy", true, "binary")}, through(g.mux("planmailbox", "copyshard")))
	s.env["Bus"] = p.server.ConnectionString()
	s.ready()
	p.send("plan", letter("p0", "", ""))
	p.send("copy", letter("c0", "a", ""))
	g.next(t)
	g.next(t)
	g.release("p0", 200)
	g.release("c0", 200)
	eventually(t, "completed", func() bool {
		return p.server.Counts("plan") == servicebustest.Counts{} && p.server.Counts("copy") == servicebustest.Counts{}
	})
	p.server.DropConnections()
	q := newPost(t, servicebustest.Options{}) // the sender's own connection went with the others
	q.client, _ = azservicebus.NewClientFromConnectionString(p.server.ConnectionString(), nil)
	q.send("plan", letter("p1", "", ""))
	q.send("copy", letter("c1", "b", ""))
	a, b := g.next(t), g.next(t)
	g.release(a.ID, 200)
	g.release(b.ID, 200)
	eventually(t, "completed", func() bool {
		return p.server.Counts("plan") == servicebustest.Counts{} && p.server.Counts("copy") == servicebustest.Counts{}
	})
}

func TestInstancesFollowTheQueue(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "copy", Sessions: true}}})
	g := newGate()
	s := newStage(t, plainHost, map[string]string{"copyshard": busFunction("copy", true, "binary"), "wake": tick}, through(g.mux("copyshard")))
	s.env["Bus"], s.env["AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions"] = p.server.ConnectionString(), "2"
	var mu sync.Mutex
	load := 50
	h := s.ready(func(c *Config) {
		c.Clock, c.MaxInstances = clock, 3
		c.Counts = func(queue string) int {
			mu.Lock()
			defer mu.Unlock()
			if queue != "copy" {
				t.Errorf("asked for %s", queue)
			}
			return load
		}
	})
	running := func() (n int) {
		for _, p := range h.Processes() {
			if p.Group == "function:copyshard" {
				n++
			}
		}
		return n
	}
	for i := range 5 {
		p.send("copy", letter(fmt.Sprint(i), fmt.Sprint(i), ""))
	}
	if n := running(); n != 1 {
		t.Errorf("started with %d", n)
	}
	eventually(t, "three instances", func() bool { clock.Advance(scaleEvery); return running() == 3 })
	seen := map[string]bool{}
	for range 5 { // two on the first instance alone, five on three
		seen[g.next(t).ID] = true
	}
	if len(seen) != 5 {
		t.Errorf("at work: %v", seen)
	}
	mu.Lock()
	load = 0
	mu.Unlock()
	eventually(t, "one instance", func() bool { clock.Advance(scaleEvery); return running() == 1 })
	for id := range seen {
		g.release(id, 200)
	}
	eventually(t, "completed", func() bool { return p.server.Counts("copy") == servicebustest.Counts{} })
	if s.log.count("(Failed") != 0 {
		t.Error("scaling in failed an invocation")
	}
}

func TestStartNamesAMissingConnection(t *testing.T) {
	t.Parallel()
	s := newStage(t, plainHost, map[string]string{"f": busFunction("q", false, "binary")}, always(ok()))
	s.env["Bus__fullyQualifiedNamespace"] = "ns.servicebus.windows.net"
	if _, err := Start(t.Context(), Config{Root: s.root, Env: s.env}); !says(err, "function f: the local host has no identity: set Bus") {
		t.Errorf("got %v", err)
	}
	empty := newStage(t, plainHost, nil, always(ok()))
	if _, err := Start(t.Context(), Config{Root: empty.root, Env: empty.env}); !says(err, "no job functions found") {
		t.Errorf("got %v", err)
	}
}

func TestInvokeByHand(t *testing.T) {
	t.Parallel()
	p := newPost(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "plan"}}})
	got := make(chan invoke.Message, 1)
	m := newMux()
	m.Message("planmailbox", func(_ context.Context, m invoke.Message) error { got <- m; return nil })
	s := newStage(t, plainHost, map[string]string{"planmailbox": busFunction("plan", false, "binary")}, through(m))
	s.env["Bus"] = p.server.ConnectionString()
	h := s.ready()
	if err := h.Invoke(t.Context(), "planmailbox", "by hand"); err != nil {
		t.Fatal(err)
	}
	if a := <-got; string(a.Body) != "by hand" || a.ID != "" || a.DeliveryCount != 0 {
		t.Errorf("message %+v", a)
	}
}
