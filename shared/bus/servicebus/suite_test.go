package servicebus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/bus/bustest"
	"github.com/mailferry/mailferry/shared/bus/servicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/migration"
)

// namespace is a Service Bus with the queues as infra makes them, a client and the bus over it.
type namespace struct {
	server *servicebustest.Server
	clock  *clockwork.FakeClock
	client *azservicebus.Client
	bus    *servicebus.Bus
	open   map[migration.Queue]receiver // for queues without sessions
}

type receiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	CompleteMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.CompleteMessageOptions) error
}

func open(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{clock: clockwork.NewFakeClock(), open: map[migration.Queue]receiver{}}
	var queues []servicebustest.Queue
	for _, q := range migration.Queues {
		queues = append(queues, servicebustest.Queue{Name: string(q), Sessions: q == migration.CopyQueue, DuplicateWindow: bustest.Window})
	}
	var err error
	if n.server, err = servicebustest.Start(servicebustest.Options{Queues: queues, Clock: n.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.server.Close() })
	n.client, err = azservicebus.NewClientFromConnectionString(n.server.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 10 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.client.Close(context.Background()) })
	n.bus = servicebus.New(n.client)
	return n
}

// receive takes and completes the next messages of a queue.
func (n *namespace) receive(t *testing.T, q migration.Queue) []*azservicebus.ReceivedMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := n.receiver(t, ctx, q)
	if s, ok := r.(*azservicebus.SessionReceiver); ok {
		defer s.Close(ctx)
	}
	ms, err := r.ReceiveMessages(ctx, 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range ms {
		if err := r.CompleteMessage(ctx, m, nil); err != nil {
			t.Fatal(err)
		}
	}
	return ms
}

// receiver is one for the next session, or the only one for a queue without.
func (n *namespace) receiver(t *testing.T, ctx context.Context, q migration.Queue) receiver {
	t.Helper()
	if q == migration.CopyQueue {
		r, err := n.client.AcceptNextSessionForQueue(ctx, string(q), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if n.open[q] == nil {
		r, err := n.client.NewReceiverForQueue(string(q), nil)
		if err != nil {
			t.Fatal(err)
		}
		n.open[q] = r
	}
	return n.open[q]
}

func letterOf(t *testing.T, q migration.Queue, m *azservicebus.ReceivedMessage) bus.Letter {
	t.Helper()
	got, err := migration.DecodeMessage(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	l := bus.Letter{Queue: q, Message: got}
	l.Trace.Parent, _ = m.ApplicationProperties["traceparent"].(string)
	l.Trace.State, _ = m.ApplicationProperties["tracestate"].(string)
	return l
}

func TestBus(t *testing.T) {
	t.Parallel()
	bustest.Bus(t, func(t *testing.T) bustest.Post {
		n := open(t)
		taken := map[migration.Queue][]bus.Letter{}
		return bustest.Post{Bus: n.bus, Clock: n.clock, Take: func(t *testing.T, q migration.Queue) (bus.Letter, bool) {
			if c := n.server.Counts(string(q)); len(taken[q]) == 0 && c.Active+c.Locked > 0 {
				for _, m := range n.receive(t, q) {
					taken[q] = append(taken[q], letterOf(t, q, m))
				}
			}
			if len(taken[q]) == 0 {
				return bus.Letter{}, false
			}
			l := taken[q][0]
			taken[q] = taken[q][1:]
			return l, true
		}}
	})
}

func TestWhatStandsInTheQueue(t *testing.T) {
	t.Parallel()
	n := open(t)
	m := migration.Message{Wave: "w1", Mailbox: "m1", Pass: 1, Plan: "p1", Shard: 2, Turn: 3}
	at := n.clock.Now().Add(time.Hour).Truncate(time.Second)
	if err := n.bus.Send(t.Context(), bus.Letter{Queue: migration.CopyQueue, Message: m, At: at}, bus.Letter{Queue: migration.PlanQueue, Message: m}); err != nil {
		t.Fatal(err)
	}
	got := n.server.Messages("copy")
	if len(got) != 1 || got[0].ID != m.ID(migration.CopyQueue) || got[0].SessionID != "m1" || got[0].ContentType != "application/json" ||
		string(got[0].Body) != string(m.Encode()) || !got[0].Scheduled.Equal(at) {
		t.Errorf("in queue copy: %+v", got)
	}
	got = n.server.Messages("plan")
	if len(got) != 1 || got[0].SessionID != "" || !got[0].Scheduled.IsZero() || len(got[0].Properties) != 0 {
		t.Errorf("in queue plan: %+v", got)
	}
}

func TestAQueueThatIsNotThereIsNamed(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Queue{Name: "plan"})
	client, err := azservicebus.NewClientFromConnectionString(server.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	err = servicebus.New(client).Send(t.Context(), bus.Letter{Queue: migration.VerifyQueue, Message: migration.Message{Wave: "w", Mailbox: "m", Pass: 1}})
	if err == nil || !strings.Contains(err.Error(), "queue verify") {
		t.Errorf("err = %v, want one that names the queue", err)
	}
}

// A connection that is gone is made anew by the next send.
func TestSendingGoesOnAfterALostConnection(t *testing.T) {
	t.Parallel()
	n := open(t)
	for pass := 1; pass <= 3; pass++ {
		if err := n.bus.Send(t.Context(), bus.Letter{Queue: migration.PlanQueue, Message: migration.Message{Wave: "w", Mailbox: "m", Pass: pass}}); err != nil {
			t.Fatal(err)
		}
		n.server.DropConnections()
	}
	if c := n.server.Counts("plan"); c.Active != 3 {
		t.Errorf("%+v, want 3 messages", c)
	}
}
