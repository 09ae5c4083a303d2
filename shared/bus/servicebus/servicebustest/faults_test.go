package servicebustest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

func TestDroppedConnectionsAreMadeAnew(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	sender := s.sender()
	s.ok(sender.SendMessage(s.within(), message("a"), nil))
	r := s.connect()
	rcv, err := r.NewReceiverForQueue("q", nil)
	s.ok(err)
	s.ok(rcv.CompleteMessage(s.within(), s.receive(rcv), nil))
	if n := s.DropConnections(); n != 2 {
		t.Errorf("dropped %d connections, want 2", n)
	}
	s.ok(sender.SendMessage(s.within(), message("b"), nil))
	if got := s.receive(rcv); got.MessageID != "b" {
		t.Errorf("got %s", got.MessageID)
	}
	if !s.DropConnection() {
		t.Error("nothing dropped")
	}
}

func TestAMessageStaysLockedWhenItsConnectionIsDropped(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	s.send(message("a"))
	r := s.receiver(nil)
	m := s.receive(r)
	s.DropConnections()
	s.counts(servicebustest.Counts{Locked: 1})
	again, err := s.connect().NewReceiverForQueue("q", nil)
	s.ok(err)
	s.ok(again.CompleteMessage(s.within(), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	s.counts(servicebustest.Counts{})
}

func TestASessionIsFreeWhenItsConnectionIsDropped(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	s.send(inSession("x", "1"))
	s.receive(s.next())
	s.DropConnections()
	r, err := s.connect().AcceptNextSessionForQueue(s.within(), "q", nil)
	s.ok(err)
	if m := s.receive(r); m.MessageID != "1" || m.DeliveryCount != 2 {
		t.Errorf("got %s, delivery %d", m.MessageID, m.DeliveryCount)
	}
}

func TestLoseLock(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	s.send(message("a"))
	r := s.receiver(nil)
	m := s.receive(r)
	if n := s.LoseLock("q", "a"); n != 1 {
		t.Errorf("%d locks lost, want 1", n)
	}
	if n := s.LoseLock("q", "a"); n != 0 {
		t.Errorf("%d locks lost, want none", n)
	}
	s.code(r.CompleteMessage(s.within(), m, nil), azservicebus.CodeLockLost)
	if m = s.receive(r); m.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", m.DeliveryCount)
	}
	s.ok(r.CompleteMessage(s.within(), m, nil))
}

func TestLoseSession(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	s.send(inSession("x", "1"))
	r := s.next()
	s.receive(r)
	if !s.LoseSession("q", "x") || s.LoseSession("q", "x") || s.LoseSession("q", "y") {
		t.Error("want one session lost, once")
	}
	other := s.next()
	if m := s.receive(other); m.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", m.DeliveryCount)
	}
	s.says(r.RenewSessionLock(s.within(), nil), "com.microsoft:session-cannot-be-locked") // the client tried to get it back
}

func TestBusy(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	impatient, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: -1}})
	s.ok(err)
	defer func() { _ = impatient.Close(s.within()) }()
	sender, err := impatient.NewSender("q", nil)
	s.ok(err)
	s.ok(sender.SendMessage(s.within(), message("a"), nil))
	s.Busy(1)
	s.says(sender.SendMessage(s.within(), message("b"), nil), "com.microsoft:server-busy")
	s.ok(sender.SendMessage(s.within(), message("b"), nil))
	s.Busy(2)
	s.send(message("c")) // three retries
	s.BusyWhen(func(o servicebustest.Operation) bool {
		return o.Kind == servicebustest.Send && o.Queue == "q" && o.MessageID == "d"
	})
	s.send(message("e"))
	s.says(sender.SendMessage(s.within(), message("d"), nil), "com.microsoft:server-busy")
	s.BusyWhen(nil)
	s.ok(sender.SendMessage(s.within(), message("d"), nil))
	if got := ids(s.Messages("q")); got != "a b c e d" {
		t.Errorf("messages %s", got)
	}
	r := s.receiver(nil)
	m := s.receive(r)
	s.BusyWhen(func(o servicebustest.Operation) bool { return o.Request == "com.microsoft:renew-lock" })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.RenewMessageLock(ctx, m, nil); err == nil {
		t.Error("renewed while busy")
	}
}

func TestBusySettlement(t *testing.T) {
	s := tell(t, servicebustest.Queue{})
	s.send(message("a"))
	r := s.receiver(nil)
	m := s.receive(r)
	s.BusyWhen(func(o servicebustest.Operation) bool { return o.Kind == servicebustest.Settle })
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := r.CompleteMessage(ctx, m, nil); err == nil {
		t.Error("completed while busy")
	}
	s.counts(servicebustest.Counts{Locked: 1})
}

func TestDeliverTwice(t *testing.T) {
	for _, when := range []string{"locked", "not locked yet"} {
		t.Run(when, func(t *testing.T) {
			s := tell(t, servicebustest.Queue{})
			s.send(message("a"))
			one, two := s.receiver(nil), s.receiver(nil)
			var first *azservicebus.ReceivedMessage
			if when == "locked" {
				first = s.receive(one)
			}
			if n := s.DeliverTwice("q", "a"); n != 1 {
				t.Fatalf("%d messages have the id", n)
			}
			if first == nil {
				first = s.receive(one)
			}
			second := s.receive(two)
			if first.MessageID != "a" || second.MessageID != "a" || first.LockToken == second.LockToken {
				t.Errorf("got %s and %s", first.MessageID, second.MessageID)
			}
			s.ok(two.CompleteMessage(s.within(), second, nil))
			s.code(one.CompleteMessage(s.within(), first, nil), azservicebus.CodeLockLost)
			s.counts(servicebustest.Counts{})
		})
	}
}

func TestDeliverTwiceInASession(t *testing.T) {
	s := tell(t, servicebustest.Queue{Sessions: true})
	s.send(inSession("x", "1"))
	one := s.next()
	first := s.receive(one)
	s.DeliverTwice("q", "1")
	two, err := s.connect().AcceptNextSessionForQueue(s.within(), "q", nil)
	s.ok(err)
	second := s.receive(two)
	if second.MessageID != "1" || second.DeliveryCount != 2 {
		t.Errorf("got %s, delivery %d", second.MessageID, second.DeliveryCount)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := one.CompleteMessage(ctx, first, nil); err == nil {
		t.Error("completed a message of a session that has passed on")
	}
	s.ok(two.CompleteMessage(s.within(), second, nil))
}

func TestTokens(t *testing.T) {
	t.Parallel()
	server, err := servicebustest.Start(servicebustest.Options{CheckTokens: true, Queues: []servicebustest.Queue{{Name: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s := &story{T: t, Server: server}
	s.client = s.connect()
	s.send(message("a"))
	wrong := fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=wrong;UseDevelopmentEmulator=true;", s.Addr())
	s.client, err = azservicebus.NewClientFromConnectionString(wrong, nil)
	s.ok(err)
	s.code(s.sender().SendMessage(s.within(), message("b"), nil), azservicebus.CodeUnauthorizedAccess)
	if got := ids(s.Messages("q")); got != "a" {
		t.Errorf("messages %s", got)
	}
}

// credential shows a token that says nothing but until when it holds.
type credential struct{ until time.Time }

func (c credential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, c.until.Unix()))
	return azcore.AccessToken{Token: "e30." + claims + ".sig", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestTLSAndTokenCredential(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil) // for its certificate
	web.StartTLS()
	t.Cleanup(web.Close)
	server, err := servicebustest.Start(servicebustest.Options{TLS: &tls.Config{Certificates: web.TLS.Certificates}, CheckTokens: true,
		Queues: []servicebustest.Queue{{Name: "q"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	s := &story{T: t, Server: server}
	for name, until := range map[string]time.Time{"good": time.Now().Add(time.Hour), "expired": start.AddDate(-10, 0, 0)} {
		s.client, err = azservicebus.NewClient("example.com", credential{until}, &azservicebus.ClientOptions{
			CustomEndpoint: server.Addr(), TLSConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}})
		s.ok(err)
		err := s.sender().SendMessage(s.within(), message(name), nil)
		if name == "good" {
			s.ok(err)
		} else {
			s.code(err, azservicebus.CodeUnauthorizedAccess)
		}
		s.ok(s.client.Close(s.within()))
	}
}

func TestQueuesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, q := range []servicebustest.Queue{{}, {Name: "a b"}, {Name: "q/"}, {Name: "$cbs"}, {Name: "q", LockDuration: 6 * time.Minute}, {Name: "q", LockDuration: time.Second}, {Name: "q", TTL: -1}, {Name: "q", DuplicateWindow: time.Second}, {Name: "q", DuplicateWindow: 169 * time.Hour}, {Name: "q", MaxDeliveryCount: 2001}} {
		if _, err := servicebustest.Start(servicebustest.Options{Queues: []servicebustest.Queue{q}, Listen: servicebustest.NoListen}); err == nil {
			t.Errorf("made %+v", q)
		}
	}
	if _, err := servicebustest.Start(servicebustest.Options{Queues: []servicebustest.Queue{{Name: "q"}, {Name: "Q"}}}); err == nil {
		t.Error("made two queues of one name")
	}
}
