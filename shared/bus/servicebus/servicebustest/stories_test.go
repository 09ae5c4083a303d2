package servicebustest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/jonboulle/clockwork"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

// story is a server with one queue "q" on a clock that stands still, and a client.
type story struct {
	*testing.T
	*servicebustest.Server
	clock  *clockwork.FakeClock
	client *azservicebus.Client
}

var start = time.Date(2026, 3, 2, 18, 0, 0, 0, time.UTC)

func tell(t *testing.T, q servicebustest.Queue) *story {
	t.Helper()
	t.Parallel()
	if q.Name == "" {
		q.Name = "q"
	}
	clock := clockwork.NewFakeClockAt(start)
	s, err := servicebustest.Start(servicebustest.Options{Queues: []servicebustest.Queue{q}, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	st := &story{T: t, Server: s, clock: clock}
	st.client = st.connect()
	return st
}

func (s *story) connect() *azservicebus.Client {
	s.Helper()
	c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 10 * time.Millisecond},
	})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// within is the patience of one call; passing it is a failure.
func (s *story) within() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	s.Cleanup(cancel)
	return ctx
}

func (s *story) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *story) sender() *azservicebus.Sender {
	s.Helper()
	sender, err := s.client.NewSender("q", nil)
	s.ok(err)
	return sender
}

func (s *story) send(ms ...*azservicebus.Message) {
	s.Helper()
	sender := s.sender()
	for _, m := range ms {
		s.ok(sender.SendMessage(s.within(), m, nil))
	}
	s.ok(sender.Close(s.within()))
}

func message(id string) *azservicebus.Message {
	return &azservicebus.Message{MessageID: &id, Body: []byte("body of " + id)}
}

func inSession(session, id string) *azservicebus.Message {
	m := message(id)
	m.SessionID = &session
	return m
}

func (s *story) receiver(o *azservicebus.ReceiverOptions) *azservicebus.Receiver {
	s.Helper()
	r, err := s.client.NewReceiverForQueue("q", o)
	s.ok(err)
	return r
}

type receiver interface {
	ReceiveMessages(context.Context, int, *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
}

// receive gets one message. The client may come back with none after it has lost its connection.
func (s *story) receive(r receiver) *azservicebus.ReceivedMessage {
	s.Helper()
	for ctx := s.within(); ; {
		ms, err := r.ReceiveMessages(ctx, 1, nil)
		s.ok(err)
		if len(ms) > 0 {
			return ms[0]
		}
	}
}

// nothing is what a receiver gets when there is nothing: its own patience ends.
func (s *story) nothing(r receiver) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if ms, err := r.ReceiveMessages(ctx, 1, nil); len(ms) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		s.Fatalf("got %d messages and %v, want none", len(ms), err)
	}
}

func (s *story) counts(want servicebustest.Counts) {
	s.Helper()
	if got := s.Counts("q"); got != want {
		s.Errorf("counts %+v, want %+v", got, want)
	}
}

func (s *story) code(err error, want azservicebus.Code) {
	s.Helper()
	var e *azservicebus.Error
	if !errors.As(err, &e) || e.Code != want {
		s.Fatalf("error %v, want code %s", err, want)
	}
}

func (s *story) says(err error, want string) {
	s.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		s.Fatalf("error %v, want one that says %q", err, want)
	}
}

func ids(ms []servicebustest.Message) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.ID)
	}
	return strings.Join(out, " ")
}

func ptr[T any](v T) *T { return &v }

func TestCompleteRemovesAndAbandonGivesBack(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	m := message("a")
	m.Subject, m.CorrelationID, m.ContentType = ptr("a subject"), ptr("a correlation"), ptr("text/plain")
	m.To, m.ReplyTo, m.ReplyToSessionID = ptr("to"), ptr("reply"), ptr("reply session")
	m.ApplicationProperties = map[string]any{"n": int64(7), "s": "text", "t": start, "b": true}
	s.send(m)
	r := s.receiver(nil)
	got := s.receive(r)
	if got.MessageID != "a" || string(got.Body) != "body of a" || *got.Subject != "a subject" || got.DeliveryCount != 1 ||
		*got.CorrelationID != "a correlation" || *got.ContentType != "text/plain" || *got.ReplyToSessionID != "reply session" {
		t.Errorf("received %+v", got)
	}
	if fmt.Sprint(got.ApplicationProperties) != fmt.Sprint(m.ApplicationProperties) {
		t.Errorf("properties %v, want %v", got.ApplicationProperties, m.ApplicationProperties)
	}
	if !got.LockedUntil.Equal(start.Add(time.Minute)) || !got.EnqueuedTime.Equal(start) || *got.SequenceNumber != 1 {
		t.Errorf("locked until %v, enqueued %v, number %d", got.LockedUntil, got.EnqueuedTime, *got.SequenceNumber)
	}
	s.counts(servicebustest.Counts{Locked: 1})
	s.ok(r.AbandonMessage(s.within(), got, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"why": "again"}}))
	got = s.receive(r)
	if got.DeliveryCount != 2 || got.ApplicationProperties["why"] != "again" || got.ApplicationProperties["s"] != "text" {
		t.Errorf("delivery %d, properties %v", got.DeliveryCount, got.ApplicationProperties)
	}
	s.ok(r.CompleteMessage(s.within(), got, nil))
	s.counts(servicebustest.Counts{})
}

func TestReceiveAndDelete(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	s.send(message("a"), message("b"))
	r := s.receiver(&azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if got := s.receive(r); got.MessageID != "a" {
		t.Errorf("got %s", got.MessageID)
	}
	if got := s.receive(r); got.MessageID != "b" {
		t.Errorf("got %s", got.MessageID)
	}
	s.counts(servicebustest.Counts{})
}

func TestLockExpires(t *testing.T) {
	s := tell(t, servicebustest.Queue{LockDuration: 30 * time.Second})
	s.send(message("a"))
	r := s.receiver(nil)
	first := s.receive(r)
	s.clock.Advance(29 * time.Second)
	s.ok(r.RenewMessageLock(s.within(), first, nil))
	if want := start.Add(59 * time.Second); !first.LockedUntil.Equal(want) {
		t.Errorf("locked until %v, want %v", first.LockedUntil, want)
	}
	s.clock.Advance(29 * time.Second)
	s.counts(servicebustest.Counts{Locked: 1})
	s.clock.Advance(time.Second)
	s.counts(servicebustest.Counts{Active: 1})
	second := s.receive(r)
	if second.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", second.DeliveryCount)
	}
	s.code(r.CompleteMessage(s.within(), first, nil), azservicebus.CodeLockLost)
	s.code(r.RenewMessageLock(s.within(), first, nil), azservicebus.CodeLockLost)
	s.ok(r.CompleteMessage(s.within(), second, nil))
}

func TestTooManyDeliveriesAreDeadLettered(t *testing.T) {
	s := tell(t, servicebustest.Queue{MaxDeliveryCount: 3})
	s.send(message("a"))
	r := s.receiver(nil)
	for range 3 {
		s.ok(r.AbandonMessage(s.within(), s.receive(r), nil))
	}
	s.counts(servicebustest.Counts{DeadLettered: 1})
	d := s.receiver(&azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	got := s.receive(d)
	if got.MessageID != "a" || *got.DeadLetterReason != "MaxDeliveryCountExceeded" || string(got.Body) != "body of a" {
		t.Errorf("dead letter %s, reason %v", got.MessageID, got.DeadLetterReason)
	}
	s.ok(d.CompleteMessage(s.within(), got, nil))
	s.counts(servicebustest.Counts{})
}

func TestDeadLetterWithReason(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	m := message("a")
	m.ApplicationProperties = map[string]any{"kept": "yes"}
	s.send(m)
	r := s.receiver(nil)
	s.ok(r.DeadLetterMessage(s.within(), s.receive(r), &azservicebus.DeadLetterOptions{Reason: ptr("bad"),
		ErrorDescription: ptr("very"), PropertiesToModify: map[string]any{"step": "copy"}}))
	dead := s.Messages("q/$DeadLetterQueue")
	if len(dead) != 1 || dead[0].Reason != "bad" || dead[0].Description != "very" || dead[0].Properties["kept"] != "yes" || dead[0].Properties["step"] != "copy" {
		t.Fatalf("dead letters %+v", dead)
	}
	d := s.receiver(&azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	got := s.receive(d)
	s.ok(d.AbandonMessage(s.within(), got, nil))
	got = s.receive(d)
	s.says(d.DeadLetterMessage(s.within(), got, nil), "amqp:not-allowed")
}

func TestDefer(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	s.send(message("a"), message("b"))
	r := s.receiver(nil)
	a := s.receive(r)
	s.ok(r.DeferMessage(s.within(), a, nil))
	s.counts(servicebustest.Counts{Active: 1, Deferred: 1})
	if got := s.receive(r); got.MessageID != "b" {
		t.Errorf("got %s, want b", got.MessageID)
	}
	got, err := r.ReceiveDeferredMessages(s.within(), []int64{*a.SequenceNumber}, nil)
	s.ok(err)
	if got[0].MessageID != "a" || got[0].State != azservicebus.MessageStateDeferred {
		t.Errorf("got %s in state %d", got[0].MessageID, got[0].State)
	}
	s.ok(r.AbandonMessage(s.within(), got[0], nil))
	s.counts(servicebustest.Counts{Locked: 1, Deferred: 1})
	got, err = r.ReceiveDeferredMessages(s.within(), []int64{*a.SequenceNumber}, nil)
	s.ok(err)
	s.ok(r.CompleteMessage(s.within(), got[0], nil))
	_, err = r.ReceiveDeferredMessages(s.within(), []int64{*a.SequenceNumber}, nil)
	s.code(err, azservicebus.CodeNotFound)
	s.counts(servicebustest.Counts{Locked: 1})
}

func TestScheduleAndCancel(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	m := message("annotated")
	m.ScheduledEnqueueTime = ptr(start.Add(time.Minute))
	s.send(m)
	sender := s.sender()
	seqs, err := sender.ScheduleMessages(s.within(), []*azservicebus.Message{message("asked"), message("cancelled")}, start.Add(2*time.Minute), nil)
	s.ok(err)
	s.counts(servicebustest.Counts{Scheduled: 3})
	s.ok(sender.CancelScheduledMessages(s.within(), seqs[1:], nil))
	s.code(sender.CancelScheduledMessages(s.within(), seqs[1:], nil), azservicebus.CodeNotFound)
	s.counts(servicebustest.Counts{Scheduled: 2})
	r := s.receiver(nil)
	s.nothing(r)
	s.clock.Advance(time.Minute)
	got := s.receive(r)
	if got.MessageID != "annotated" || !got.EnqueuedTime.Equal(start.Add(time.Minute)) || !got.ScheduledEnqueueTime.Equal(start.Add(time.Minute)) {
		t.Errorf("got %s enqueued %v", got.MessageID, got.EnqueuedTime)
	}
	s.ok(r.CompleteMessage(s.within(), got, nil))
	s.clock.Advance(time.Minute)
	if got := s.receive(r); got.MessageID != "asked" {
		t.Errorf("got %s", got.MessageID)
	}
	s.code(sender.CancelScheduledMessages(s.within(), seqs[:1], nil), azservicebus.CodeNotFound)
}

func TestDuplicateDetection(t *testing.T) {
	s := tell(t, servicebustest.Queue{DuplicateWindow: 10 * time.Minute})
	s.send(message("a"), message("a"), message("b"))
	s.counts(servicebustest.Counts{Active: 2})
	r := s.receiver(nil)
	s.ok(r.CompleteMessage(s.within(), s.receive(r), nil))
	s.clock.Advance(9 * time.Minute)
	s.send(message("a"))
	_, err := s.sender().ScheduleMessages(s.within(), []*azservicebus.Message{message("a"), message("c")}, start.Add(time.Hour), nil)
	s.ok(err)
	s.send(message("c"))
	s.counts(servicebustest.Counts{Active: 1, Scheduled: 1})
	s.clock.Advance(time.Minute)
	s.send(message("a"))
	s.counts(servicebustest.Counts{Active: 2, Scheduled: 1})
}

func TestTimeToLive(t *testing.T) {
	for _, c := range []struct {
		name  string
		queue servicebustest.Queue
		want  servicebustest.Counts
	}{
		{"gone", servicebustest.Queue{TTL: time.Hour}, servicebustest.Counts{Active: 1}},
		{"dead-lettered", servicebustest.Queue{TTL: time.Hour, DeadLetterOnExpiry: true}, servicebustest.Counts{Active: 1, DeadLettered: 1}},
		{"the message's own", servicebustest.Queue{DeadLetterOnExpiry: true}, servicebustest.Counts{Active: 1, DeadLettered: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, c.queue)
			m := message("a")
			m.TimeToLive = ptr(time.Minute)
			s.send(m, message("b"))
			s.clock.Advance(time.Minute - time.Millisecond)
			s.counts(servicebustest.Counts{Active: 2})
			s.clock.Advance(time.Millisecond)
			s.counts(c.want)
			for _, d := range s.Messages("q/$deadletterqueue") {
				if d.ID != "a" || d.Reason != "TTLExpiredException" {
					t.Errorf("dead letter %s, reason %s", d.ID, d.Reason)
				}
			}
			s.clock.Advance(time.Hour)
			if c.queue.TTL > 0 {
				c.want.DeadLettered *= 2
				c.want.Active = 0
			}
			s.counts(c.want)
		})
	}
}

func TestALockedMessageExpiresOnlyWhenItComesBack(t *testing.T) {
	s := tell(t, servicebustest.Queue{TTL: time.Second, DeadLetterOnExpiry: true})
	s.send(message("a"))
	r := s.receiver(nil)
	got := s.receive(r)
	s.clock.Advance(2 * time.Second)
	s.counts(servicebustest.Counts{Locked: 1})
	s.ok(r.AbandonMessage(s.within(), got, nil))
	s.counts(servicebustest.Counts{DeadLettered: 1})
}

func TestTheServiceSaysWhenAMessageExpires(t *testing.T) {
	s := tell(t, servicebustest.Queue{TTL: time.Minute})
	past := start.AddDate(-1, 0, 0)
	s.ok(s.sender().SendAMQPAnnotatedMessage(s.within(), &azservicebus.AMQPAnnotatedMessage{
		Body:       azservicebus.AMQPAnnotatedMessageBody{Data: [][]byte{[]byte("a")}},
		Properties: &azservicebus.AMQPAnnotatedMessageProperties{CreationTime: &past, AbsoluteExpiryTime: &past, Subject: ptr("kept")},
	}, nil))
	p := s.receive(s.receiver(nil)).RawAMQPMessage.Properties
	if want := start.Add(time.Minute); !p.AbsoluteExpiryTime.Equal(want) || !p.CreationTime.Equal(start) || *p.Subject != "kept" {
		t.Errorf("created %v, expires %v, want %v and %v", p.CreationTime, p.AbsoluteExpiryTime, start, want)
	}
}

func TestADeferredMessageExpiresOnlyWhenItIsAskedFor(t *testing.T) {
	s := tell(t, servicebustest.Queue{TTL: time.Minute, DeadLetterOnExpiry: true})
	s.send(message("a"))
	r := s.receiver(nil)
	m := s.receive(r)
	s.ok(r.DeferMessage(s.within(), m, nil))
	s.clock.Advance(time.Hour)
	s.counts(servicebustest.Counts{Deferred: 1})
	_, err := r.ReceiveDeferredMessages(s.within(), []int64{*m.SequenceNumber}, nil)
	s.says(err, "does not exist")
	s.counts(servicebustest.Counts{DeadLettered: 1})
}

func TestScheduledForOneMomentComeInTheirOrder(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	var ms []*azservicebus.Message
	for i := range 20 {
		ms = append(ms, message(fmt.Sprint(i)))
	}
	_, err := s.sender().ScheduleMessages(s.within(), ms, start.Add(time.Hour), nil)
	s.ok(err)
	s.clock.Advance(time.Hour)
	if got, want := ids(s.Messages("q")), "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestBatch(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	sender := s.sender()
	batch, err := sender.NewMessageBatch(s.within(), nil)
	s.ok(err)
	n := 0
	for ; n < 4500; n++ {
		if err := batch.AddMessage(message(fmt.Sprint(n)), nil); errors.Is(err, azservicebus.ErrMessageTooLarge) {
			break
		}
	}
	s.ok(sender.SendMessageBatch(s.within(), batch, nil))
	s.counts(servicebustest.Counts{Active: n})
	for i, m := range s.Messages("q") {
		if m.ID != fmt.Sprint(i) || string(m.Body) != "body of "+m.ID {
			t.Fatalf("message %d is %s", i, m.ID)
		}
	}
	r, seen := s.receiver(nil), map[string]bool{}
	for len(seen) < n { // what comes after the client has stopped listening, it releases
		ms, err := r.ReceiveMessages(s.within(), 500, nil)
		s.ok(err)
		for _, m := range ms {
			if seen[m.MessageID] || m.DeliveryCount != 1 {
				t.Fatalf("message %s came again, delivery %d", m.MessageID, m.DeliveryCount)
			}
			seen[m.MessageID] = true
		}
	}
}

func TestABatchOfTooMany(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	sender := s.sender()
	batch, err := sender.NewMessageBatch(s.within(), nil)
	s.ok(err)
	for range 4501 {
		s.ok(batch.AddMessage(&azservicebus.Message{MessageID: ptr("x")}, nil))
	}
	s.says(sender.SendMessageBatch(s.within(), batch, nil), "amqp:not-allowed")
	s.counts(servicebustest.Counts{})
}

func TestPeek(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	late := message("late")
	late.ScheduledEnqueueTime = ptr(start.Add(time.Hour))
	s.send(message("a"), message("b"), late, message("c"))
	r := s.receiver(nil)
	s.ok(r.DeferMessage(s.within(), s.receive(r), nil))
	locked := s.receive(r)
	peeked, err := r.PeekMessages(s.within(), 3, nil)
	s.ok(err)
	more, err := r.PeekMessages(s.within(), 3, nil)
	s.ok(err)
	var got []string
	for _, m := range append(peeked, more...) {
		got = append(got, fmt.Sprintf("%s %d", m.MessageID, m.State))
	}
	if want := "a 1,b 0,late 2,c 0"; strings.Join(got, ",") != want {
		t.Errorf("peeked %v, want %s", got, want)
	}
	again, err := r.PeekMessages(s.within(), 3, nil)
	s.ok(err)
	if len(again) != 0 {
		t.Errorf("peeked %d past the end", len(again))
	}
	s.ok(r.CompleteMessage(s.within(), locked, nil))
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 129)
	for _, c := range []struct {
		name    string
		queue   servicebustest.Queue
		message *azservicebus.Message
		want    string
	}{
		{"no session on a session queue", servicebustest.Queue{Sessions: true}, message("a"), "amqp:not-allowed"},
		{"message id too long", servicebustest.Queue{}, message(long), "amqp:not-allowed"},
		{"session id too long", servicebustest.Queue{Sessions: true}, inSession(long, "a"), "amqp:not-allowed"},
		{"message too large", servicebustest.Queue{MaxMessageBytes: 1000}, &azservicebus.Message{Body: make([]byte, 1001)}, "too large"},
		{"properties too large", servicebustest.Queue{}, &azservicebus.Message{ApplicationProperties: map[string]any{"p": strings.Repeat("x", 65<<10)}}, "amqp:not-allowed"},
		{"keys differ", servicebustest.Queue{}, &azservicebus.Message{SessionID: ptr("a"), PartitionKey: ptr("b")}, "amqp:not-allowed"},
		{"queue full", servicebustest.Queue{MaxBytes: 1000}, &azservicebus.Message{Body: make([]byte, 1001)}, "amqp:resource-limit-exceeded"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := tell(t, c.queue)
			s.says(s.sender().SendMessage(s.within(), c.message, nil), c.want)
			s.counts(servicebustest.Counts{})
		})
	}
	t.Run("at the limits", func(t *testing.T) {
		s := tell(t, servicebustest.Queue{Sessions: true})
		s.send(inSession(long[1:], long[1:]))
		s.counts(servicebustest.Counts{Active: 1})
	})
}

func TestUnknownQueue(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	sender, err := s.client.NewSender("nowhere", nil)
	s.ok(err)
	s.says(sender.SendMessage(s.within(), message("a"), nil), "amqp:not-found")
	r, err := s.client.NewReceiverForQueue("nowhere", nil)
	s.ok(err)
	_, err = r.ReceiveMessages(s.within(), 1, nil)
	s.says(err, "amqp:not-found")
}

func TestALargeMessageTakesManyFrames(t *testing.T) {
	s := tell(t, servicebustest.Queue{MaxMessageBytes: 1 << 20})
	body := make([]byte, 900<<10)
	for i := range body {
		body[i] = byte(i * 7)
	}
	s.send(&azservicebus.Message{Body: body})
	if got := s.receive(s.receiver(nil)); string(got.Body) != string(body) {
		t.Errorf("got %d other bytes", len(got.Body))
	}
}

func TestCompetingReceiversShare(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	one, two := s.receiver(nil), s.receiver(nil)
	type got struct {
		ms  []*azservicebus.ReceivedMessage
		err error
	}
	ch := make(chan got)
	for _, r := range []*azservicebus.Receiver{one, two} {
		go func() {
			ms, err := r.ReceiveMessages(s.within(), 1, nil)
			ch <- got{ms, err}
		}()
	}
	s.send(message("a"), message("b"))
	x, y := <-ch, <-ch
	s.ok(errors.Join(x.err, y.err))
	if x.ms[0].MessageID == y.ms[0].MessageID {
		t.Errorf("both got %s", x.ms[0].MessageID)
	}
}

func TestInProcessConnection(t *testing.T) {
	t.Parallel()
	server, err := servicebustest.Start(servicebustest.Options{Listen: servicebustest.NoListen, Queues: []servicebustest.Queue{{Name: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{T: t, Server: server}
	s.client, err = azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		NewWebSocketConn: func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) { return s.Dial(ctx) }})
	s.ok(err)
	s.send(message("a"))
	r := s.receiver(nil)
	s.ok(r.CompleteMessage(s.within(), s.receive(r), nil))
	s.ok(s.client.Close(s.within()))
	s.ok(server.Close())
	if _, err := server.Dial(s.within()); err == nil {
		t.Error("a closed server can be dialled")
	}
}
