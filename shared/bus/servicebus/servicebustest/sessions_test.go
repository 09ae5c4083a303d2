package servicebustest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

func (s *story) next() *azservicebus.SessionReceiver {
	s.Helper()
	r, err := s.client.AcceptNextSessionForQueue(s.within(), "q", nil)
	s.ok(err)
	return r
}

func (s *story) named(id string) *azservicebus.SessionReceiver {
	s.Helper()
	r, err := s.client.AcceptSessionForQueue(s.within(), "q", id, nil)
	s.ok(err)
	return r
}

func TestSessionsAreHeldByOneAndKeepOrder(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	for i := range 3 {
		s.send(inSession("x", fmt.Sprint("x", i)), inSession("y", fmt.Sprint("y", i)))
	}
	x, y := s.next(), s.next()
	if x.SessionID() != "x" || y.SessionID() != "y" || !x.LockedUntil().Equal(start.Add(time.Minute)) {
		t.Fatalf("got %s and %s, locked until %v", x.SessionID(), y.SessionID(), x.LockedUntil())
	}
	_, err := s.client.AcceptSessionForQueue(s.within(), "q", "x", nil)
	s.says(err, "com.microsoft:session-cannot-be-locked")
	var got []string
	for i := 0; i < 3; i++ {
		m := s.receive(x)
		got = append(got, m.MessageID)
		if len(got) == 2 {
			s.ok(x.AbandonMessage(s.within(), m, nil))
			i--
			continue
		}
		s.ok(x.CompleteMessage(s.within(), m, nil))
	}
	if want := "x0 x1 x1 x2"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	s.nothing(x)
	s.counts(servicebustest.Counts{Active: 3})
}

func TestNextSessionTimesOut(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := s.client.AcceptNextSessionForQueue(ctx, "q", nil)
	s.code(err, azservicebus.CodeTimeout)
}

func TestNextSessionWaitsForOne(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	got := make(chan *azservicebus.SessionReceiver)
	for range 2 {
		go func() {
			r, err := s.client.AcceptNextSessionForQueue(s.within(), "q", nil)
			if err != nil {
				t.Error(err)
			}
			got <- r
		}()
	}
	s.send(inSession("x", "1"))
	x := <-got
	s.ok(x.CompleteMessage(s.within(), s.receive(x), nil))
	s.send(inSession("x", "2"), inSession("y", "3")) // x is held: the second waits for y
	if y := <-got; y.SessionID() != "y" {
		t.Errorf("got %s, want y", y.SessionID())
	}
}

func TestSessionIsReleasedOnClose(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	s.send(inSession("x", "1"), inSession("x", "2"))
	r := s.named("x")
	s.receive(r)
	s.counts(servicebustest.Counts{Active: 1, Locked: 1})
	s.ok(r.Close(s.within()))
	again := s.named("x")
	if m := s.receive(again); m.MessageID != "1" || m.DeliveryCount != 1 {
		t.Errorf("got %s, delivery %d: closing a session is no failed delivery", m.MessageID, m.DeliveryCount)
	}
	s.ok(s.client.Close(s.within()))
	s.client = s.connect()
	if m := s.receive(s.named("x")); m.MessageID != "1" || m.DeliveryCount != 1 {
		t.Errorf("got %s, delivery %d: closing a connection is no failed delivery", m.MessageID, m.DeliveryCount)
	}
}

func TestOneExpiredMessageEndsAllThatItsSessionHasReady(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true, DeadLetterOnExpiry: true})
	short := inSession("x", "1")
	short.TimeToLive = ptr(10 * time.Second)
	s.send(inSession("x", "0"), short, inSession("x", "2"), inSession("y", "3"))
	s.receive(s.named("x"))
	s.clock.Advance(10 * time.Second)
	s.counts(servicebustest.Counts{Active: 1, Locked: 1, DeadLettered: 2})
	if got := ids(s.Messages("q/$deadletterqueue")); got != "1 2" {
		t.Errorf("dead letters %s", got)
	}
}

func TestSessionStateCountsTowardsTheQuota(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true, MaxBytes: 1000})
	r := s.named("x")
	s.ok(r.SetSessionState(s.within(), make([]byte, 900), nil))
	s.says(r.SetSessionState(s.within(), make([]byte, 1001), nil), "maximum entity size")
	m := inSession("x", "1")
	m.Body = make([]byte, 200)
	s.says(s.sender().SendMessage(s.within(), m, nil), "maximum entity size")
	s.ok(r.SetSessionState(s.within(), nil, nil))
	s.send(m)
}

func TestSessionLockExpires(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true, LockDuration: time.Minute})
	s.send(inSession("x", "1"))
	r := s.next()
	m := s.receive(r)
	s.clock.Advance(59 * time.Second)
	s.ok(r.RenewSessionLock(s.within(), nil))
	if want := start.Add(119 * time.Second); !r.LockedUntil().Equal(want) {
		t.Errorf("locked until %v, want %v", r.LockedUntil(), want)
	}
	s.clock.Advance(59 * time.Second)
	s.counts(servicebustest.Counts{Locked: 1})
	s.clock.Advance(time.Second)
	s.counts(servicebustest.Counts{Active: 1})
	again, err := s.connect().AcceptSessionForQueue(s.within(), "q", "x", nil)
	s.ok(err)
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := r.CompleteMessage(ctx, m, nil); err == nil {
		t.Error("completed a message of a lost session")
	}
	if err := r.RenewSessionLock(ctx, nil); err == nil {
		t.Error("renewed a lost session")
	}
	if got := s.receive(again); got.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", got.DeliveryCount)
	}
}

func TestSessionState(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	r := s.named("x")
	state := func() string {
		b, err := r.GetSessionState(s.within(), nil)
		s.ok(err)
		return string(b)
	}
	if got := state(); got != "" {
		t.Errorf("state %q at first", got)
	}
	s.ok(r.SetSessionState(s.within(), []byte("cursor 7"), nil))
	s.ok(r.Close(s.within()))
	r = s.named("x")
	if got := state(); got != "cursor 7" {
		t.Errorf("state %q", got)
	}
	s.send(inSession("y", "1"))
	list := func() string {
		var all []string
		p := s.client.NewListSessionsForQueuePager("q", nil)
		for p.More() {
			page, err := p.NextPage(s.within())
			s.ok(err)
			all = append(all, page.Sessions...)
		}
		return strings.Join(all, " ")
	}
	if got := list(); got != "x y" {
		t.Errorf("sessions %q", got)
	}
	s.ok(r.SetSessionState(s.within(), nil, nil))
	if got := list(); got != "y" {
		t.Errorf("sessions %q", got)
	}
}

func TestSessionOnlyReceivers(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	_, err := s.receiver(nil).ReceiveMessages(s.within(), 1, nil)
	s.says(err, "amqp:not-allowed")
	plain := story{T: t, Server: servicebustest.New(t, servicebustest.Queue{Name: "q"})}
	plain.client = plain.connect()
	_, err = plain.client.AcceptSessionForQueue(s.within(), "q", "x", nil)
	s.says(err, "amqp:not-allowed")
}

func TestDeadLettersOfASessionQueueNeedNoSession(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true, MaxDeliveryCount: 2})
	s.send(inSession("x", "1"), inSession("x", "2"))
	r := s.next()
	for range 2 {
		m := s.receive(r)
		if m.MessageID != "1" {
			t.Fatalf("got %s before 1 was done with", m.MessageID)
		}
		s.ok(r.AbandonMessage(s.within(), m, nil))
	}
	if m := s.receive(r); m.MessageID != "2" {
		t.Errorf("got %s, want 2", m.MessageID)
	}
	d := s.receive(s.receiver(&azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter}))
	if d.MessageID != "1" || *d.SessionID != "x" {
		t.Errorf("dead letter %s of session %v", d.MessageID, d.SessionID)
	}
}

func TestDeferredInASession(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	s.send(inSession("x", "1"), inSession("x", "2"))
	r := s.next()
	m := s.receive(r)
	s.ok(r.DeferMessage(s.within(), m, nil))
	if got := s.receive(r); got.MessageID != "2" {
		t.Errorf("got %s, want 2", got.MessageID)
	}
	got, err := r.ReceiveDeferredMessages(s.within(), []int64{*m.SequenceNumber}, nil)
	s.ok(err)
	s.ok(r.CompleteMessage(s.within(), got[0], nil))
	s.ok(r.Close(s.within()))
	s.counts(servicebustest.Counts{Active: 1})
}

func TestScheduledInASession(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true, LockDuration: 5 * time.Minute, DuplicateWindow: time.Hour})
	_, err := s.sender().ScheduleMessages(s.within(), []*azservicebus.Message{inSession("x", "next")}, start.Add(time.Minute), nil)
	s.ok(err)
	s.send(inSession("x", "now"), inSession("x", "next"))
	r := s.next()
	s.ok(r.CompleteMessage(s.within(), s.receive(r), nil))
	s.nothing(r)
	s.clock.Advance(time.Minute)
	if m := s.receive(r); m.MessageID != "next" {
		t.Errorf("got %s", m.MessageID)
	}
}
