package servicebustest_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/jonboulle/clockwork"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// raw is a client that says exactly what a test wants.
type raw struct {
	*testing.T
	nc net.Conn
	r  *bufio.Reader
}

// pipe connects without a word.
func pipe(t *testing.T, o servicebustest.Options) *raw {
	t.Helper()
	o.Listen = servicebustest.NoListen
	s, err := servicebustest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	nc, err := s.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &raw{t, nc, bufio.NewReader(nc)}
}

func queues() servicebustest.Options {
	return servicebustest.Options{Queues: []servicebustest.Queue{{Name: "q"}, {Name: "s", Sessions: true}}}
}

// opened connects as far as an open connection with session 0.
func opened(t *testing.T, o servicebustest.Options) *raw {
	t.Helper()
	c := pipe(t, o)
	c.header(wire.ProtocolAMQP)
	c.say(0, wire.CodeOpen, "raw")
	c.hear(wire.CodeOpen)
	c.say(0, wire.CodeBegin, nil, uint32(0), uint32(100), uint32(100))
	c.hear(wire.CodeBegin)
	return c
}

func (c *raw) write(b []byte) {
	c.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.Fatal(err)
	}
}

func (c *raw) header(protocol byte) {
	c.Helper()
	h := wire.ProtocolHeader(protocol)
	c.write(h[:])
	var got wire.Header
	if _, err := io.ReadFull(c.r, got[:]); err != nil || got != h {
		c.Fatalf("header % x, %v", got, err)
	}
}

func (c *raw) say(channel uint16, code uint64, fields ...any) {
	c.Helper()
	c.sayWith(nil, channel, code, fields...)
}

func (c *raw) sayWith(payload []byte, channel uint16, code uint64, fields ...any) {
	c.Helper()
	c.write(wire.AppendFrame(nil, wire.FrameAMQP, channel, func(b []byte) []byte {
		return append(wire.AppendComposite(b, code, fields...), payload...)
	}))
}

// hear reads on to the next performative of a kind.
func (c *raw) hear(code uint64) *wire.Composite {
	c.Helper()
	p, _ := c.hearWith(code)
	return p
}

func (c *raw) hearWith(code uint64) (*wire.Composite, []byte) {
	c.Helper()
	for {
		f, err := wire.ReadFrame(c.r, 1<<20)
		if err != nil {
			c.Fatalf("waiting for 0x%x: %v", code, err)
		}
		if len(f.Body) == 0 {
			continue
		}
		p, payload, err := wire.ReadComposite(f.Body)
		if err != nil {
			c.Fatal(err)
		}
		if p.Code == code {
			return p, payload
		}
	}
}

// complains reads on to an end of something, which must have this error.
func (c *raw) complains(code uint64, field int, want string) {
	c.Helper()
	e, ok := wire.AsComposite(c.hear(code).Any(field))
	if !ok || e.Any(0) != wire.Symbol(want) {
		c.Fatalf("error %+v, want %s", e, want)
	}
}

func (c *raw) over() {
	c.Helper()
	if _, err := c.r.ReadByte(); err == nil {
		c.Error("the connection goes on")
	}
}

const receiving, sending = true, false

func (c *raw) attach(name string, handle uint32, role bool, address string, more ...any) {
	c.Helper()
	source, target := wire.NewComposite(wire.CodeSource, address), wire.NewComposite(wire.CodeTarget, "here")
	if role == sending {
		source, target = wire.NewComposite(wire.CodeSource, "here"), wire.NewComposite(wire.CodeTarget, address)
	}
	c.say(0, wire.CodeAttach, append([]any{name, handle, role, nil, nil, source, target}, more...)...)
}

func (c *raw) transfer(handle, id uint32, settled bool, m *amqp.Message) {
	c.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		c.Fatal(err)
	}
	c.sayWith(b, 0, wire.CodeTransfer, handle, id, []byte{byte(id)}, uint32(0), settled)
}

func (c *raw) credit(handle, seen, credit uint32, more ...any) {
	c.Helper()
	c.say(0, wire.CodeFlow, append([]any{uint32(0), uint32(100), uint32(0), uint32(100), handle, seen, credit}, more...)...)
}

func withID(id string) *amqp.Message {
	return &amqp.Message{Properties: &amqp.MessageProperties{MessageID: id}, Data: [][]byte{[]byte("body")}}
}

func TestProtocolHeaders(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{"another protocol": "GET / HT", "TLS inside": "AMQP\x02\x01\x00\x00", "an old version": "AMQP\x00\x00\x09\x01"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := pipe(t, queues())
			c.write([]byte(in))
			got, _ := io.ReadAll(c.r)
			if want := wire.ProtocolHeader(wire.ProtocolSASL); string(got) != string(want[:]) {
				t.Errorf("answer % x, want the header we speak and the end", got)
			}
		})
	}
}

func TestSASL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, mechanism, response string
		want                      uint8
	}{
		{"anonymous", "ANONYMOUS", "", 0},
		{"token later", "MSSBCBS", "", 0},
		{"key", "PLAIN", "\x00RootManageSharedAccessKey\x00SAS_KEY_VALUE", 0},
		{"wrong key", "PLAIN", "\x00RootManageSharedAccessKey\x00x", 1},
		{"unknown", "EXTERNAL", "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := pipe(t, queues())
			r.header(wire.ProtocolSASL)
			r.hear(wire.CodeSASLMechanisms)
			r.write(wire.AppendFrame(nil, wire.FrameSASL, 0, func(b []byte) []byte {
				return wire.AppendComposite(b, wire.CodeSASLInit, wire.Symbol(c.mechanism), []byte(c.response))
			}))
			if got := r.hear(wire.CodeSASLOutcome).Any(0); got != c.want {
				t.Errorf("outcome %v, want %d", got, c.want)
			}
			if c.want != 0 {
				r.over()
				return
			}
			r.header(wire.ProtocolAMQP)
			r.say(0, wire.CodeOpen, "raw")
			r.hear(wire.CodeOpen)
			r.say(0, wire.CodeClose)
			r.hear(wire.CodeClose)
			r.over()
		})
	}
}

func TestConnectionErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		do         func(*raw)
	}{
		{"begin before open", "amqp:illegal-state", func(c *raw) { c.say(0, wire.CodeBegin, nil, uint32(0), uint32(1), uint32(1)) }},
		{"open without container", "amqp:decode-error", func(c *raw) { c.say(0, wire.CodeOpen) }},
		{"opened twice", "amqp:illegal-state", func(c *raw) { c.say(0, wire.CodeOpen, "raw"); c.say(0, wire.CodeOpen, "raw") }},
		{"SASL too late", "amqp:connection:framing-error", func(c *raw) { c.write(wire.AppendFrame(nil, wire.FrameSASL, 0, nil)) }},
		{"not a value", "amqp:decode-error", func(c *raw) {
			c.write(wire.AppendFrame(nil, wire.FrameAMQP, 0, func(b []byte) []byte { return append(b, 0xff) }))
		}},
		{"no such performative", "amqp:decode-error", func(c *raw) {
			c.say(0, wire.CodeOpen, "raw")
			c.say(0, wire.CodeBegin, nil, uint32(0), uint32(1), uint32(1))
			c.say(0, 0x19)
		}},
		{"no such session", "amqp:connection:framing-error", func(c *raw) { c.say(0, wire.CodeOpen, "raw"); c.say(3, wire.CodeEnd) }},
		{"channel too high", "amqp:connection:framing-error", func(c *raw) {
			c.say(0, wire.CodeOpen, "raw")
			c.say(5000, wire.CodeBegin, nil, uint32(0), uint32(1), uint32(1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := pipe(t, queues())
			r.header(wire.ProtocolAMQP)
			go c.do(r)
			r.complains(wire.CodeClose, 0, c.want)
		})
	}
}

func TestAFrameThatIsTooLongEndsTheConnection(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.write([]byte{0x10, 0, 0, 0, 2, 0, 0, 0})
	c.over()
}

func TestSessionErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		do         func(*raw)
	}{
		{"handle in use", "amqp:session:handle-in-use", func(c *raw) { c.attach("a", 0, sending, "q"); c.attach("b", 0, sending, "q") }},
		{"handle too high", "amqp:session:handle-in-use", func(c *raw) { c.attach("a", 256, sending, "q") }},
		{"flow on no link", "amqp:session:unattached-handle", func(c *raw) { c.credit(9, 0, 1) }},
		{"transfer on no link", "amqp:session:unattached-handle", func(c *raw) { c.transfer(9, 0, false, withID("a")) }},
		{"detach of no link", "amqp:session:unattached-handle", func(c *raw) { c.say(0, wire.CodeDetach, uint32(9), true) }},
		{"transfer by a receiver", "amqp:session:errant-link", func(c *raw) { c.attach("a", 0, receiving, "q"); c.transfer(0, 0, false, withID("a")) }},
		{"no delivery id", "amqp:invalid-field", func(c *raw) { c.attach("a", 0, sending, "q"); c.say(0, wire.CodeTransfer, uint32(0)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := opened(t, queues())
			go c.do(r)
			r.complains(wire.CodeEnd, 0, c.want)
		})
	}
}

func TestRefusedLinks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, address, want string
		role                bool
	}{
		{"unknown queue", "nowhere", "amqp:not-found", sending},
		{"unknown queue's dead letters", "nowhere/$DeadLetterQueue", "amqp:not-found", receiving},
		{"management of nothing", "nowhere/$management", "amqp:not-found", receiving},
		{"no address", "", "amqp:not-found", receiving},
		{"sending a dead letter", "q/$DeadLetterQueue", "amqp:not-allowed", sending},
		{"no session", "s", "amqp:not-allowed", receiving},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := opened(t, queues())
			r.attach("l", 0, c.role, c.address)
			a := r.hear(wire.CodeAttach)
			end := 6
			if c.role == receiving {
				end = 5
			}
			if a.Any(end) != nil {
				t.Errorf("attached to %v", a.Any(end))
			}
			r.complains(wire.CodeDetach, 2, c.want)
			r.say(0, wire.CodeDetach, uint32(0), true)
			r.attach("l", 0, sending, "amqps://host:1/Q") // the handle is free again; a URL in other case is the queue
			r.hear(wire.CodeAttach)
			r.hear(wire.CodeFlow)
		})
	}
}

func TestNoTransactions(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.say(0, wire.CodeAttach, "l", uint32(0), sending, nil, nil, nil, wire.NewComposite(wire.CodeCoordinator))
	c.complains(wire.CodeDetach, 2, "amqp:not-implemented")
}

func TestALinkOfTheSameNameTakesOver(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("same", 0, receiving, "q")
	c.hear(wire.CodeAttach)
	c.attach("same", 1, receiving, "q")
	c.complains(wire.CodeDetach, 2, "amqp:link:stolen")
	c.hear(wire.CodeAttach)
}

func TestCreditIsRenewed(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("l", 0, sending, "q")
	go func() {
		for i := range uint32(1001) {
			c.transfer(0, i, true, withID("x"))
		}
		c.say(0, wire.CodeDetach, uint32(0), true)
	}()
	for seen := uint32(0); seen < 501; {
		f, err := wire.ParseFlow(c.hear(wire.CodeFlow))
		if err != nil {
			t.Fatal(err)
		}
		if f.DeliveryCount != nil {
			seen = *f.DeliveryCount
		}
	}
	if d := c.hear(wire.CodeDetach); d.Any(2) != nil {
		t.Errorf("detached with %v", d.Any(2))
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	c.transfer(0, 0, false, withID("a"))
	c.hear(wire.CodeDisposition)
	c.attach("out", 1, receiving, "q")
	c.hear(wire.CodeAttach)
	c.credit(1, 0, 10, nil, true)
	c.hear(wire.CodeTransfer)
	f, err := wire.ParseFlow(c.hear(wire.CodeFlow))
	if err != nil || *f.DeliveryCount != 10 || *f.LinkCredit != 0 || !f.Drain {
		t.Errorf("drained %+v, %v", f, err)
	}
	c.transfer(0, 1, false, withID("b"))
	c.hear(wire.CodeDisposition)
	c.credit(1, 10, 1)
	if p := c.hear(wire.CodeTransfer); p.Any(1) != uint32(1) {
		t.Errorf("delivery %v after new credit, want 1", p.Any(1))
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.say(0, wire.CodeFlow, uint32(0), uint32(100), uint32(0), uint32(100), nil, nil, nil, nil, nil, true)
	if f := c.hear(wire.CodeFlow); f.Any(4) != nil || f.Any(0) == nil {
		t.Errorf("flow %+v, want one of the session with next-incoming-id", f)
	}
	c.attach("out", 1, receiving, "q")
	c.hear(wire.CodeAttach)
	c.credit(1, 0, 10, nil, nil, true)
	if f, err := wire.ParseFlow(c.hear(wire.CodeFlow)); err != nil || *f.Handle != 1 || *f.LinkCredit != 10 {
		t.Errorf("flow %+v, %v", f, err)
	}
}

func TestTheClientsWindowIsObeyed(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	for i := range uint32(3) {
		c.transfer(0, i, false, withID("a"))
		c.hear(wire.CodeDisposition)
	}
	c.attach("out", 1, receiving, "q")
	c.hear(wire.CodeAttach)
	c.say(0, wire.CodeFlow, uint32(0), uint32(2), uint32(3), uint32(100), uint32(1), uint32(0), uint32(10))
	c.hear(wire.CodeTransfer)
	c.hear(wire.CodeTransfer)
	c.say(0, wire.CodeFlow, uint32(2), uint32(0), uint32(3), uint32(100), nil, nil, nil, nil, nil, true) // the answer must be the next thing
	f, err := wire.ReadFrame(c.r, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if p, _, _ := wire.ReadComposite(f.Body); p.Code != wire.CodeFlow {
		t.Fatalf("performative 0x%x past the window", p.Code)
	}
	c.say(0, wire.CodeFlow, uint32(2), uint32(5), uint32(3), uint32(100))
	c.hear(wire.CodeTransfer)
}

func TestAMessageInSmallFrames(t *testing.T) {
	t.Parallel()
	c := pipe(t, queues())
	c.header(wire.ProtocolAMQP)
	c.say(0, wire.CodeOpen, "raw", nil, uint32(512))
	c.hear(wire.CodeOpen)
	c.say(0, wire.CodeBegin, nil, uint32(0), uint32(100), uint32(100))
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	m := withID("a")
	m.Data[0] = []byte(strings.Repeat("0123456789", 200))
	b, _ := m.MarshalBinary()
	c.sayWith(b[:100], 0, wire.CodeTransfer, uint32(0), uint32(0), []byte{1}, uint32(0), false, true)
	c.sayWith(b[100:1500], 0, wire.CodeTransfer, uint32(0), nil, nil, nil, nil, true)
	c.sayWith(b[1500:], 0, wire.CodeTransfer, uint32(0))
	c.hear(wire.CodeDisposition)
	c.attach("out", 1, receiving, "q")
	c.credit(1, 0, 1)
	var got []byte
	for more := true; more; {
		p, part := c.hearWith(wire.CodeTransfer)
		got = append(got, part...)
		more = wire.Or(p, 5, false)
	}
	var back amqp.Message
	if err := back.UnmarshalBinary(got); err != nil || string(back.Data[0]) != string(m.Data[0]) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestAnAbortedMessageIsNotKept(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	c.sayWith([]byte("half"), 0, wire.CodeTransfer, uint32(0), uint32(0), []byte{1}, uint32(0), false, true)
	c.say(0, wire.CodeTransfer, uint32(0), nil, nil, nil, nil, nil, nil, nil, nil, true)
	c.transfer(0, 1, false, withID("whole"))
	if d := c.hear(wire.CodeDisposition); d.Any(1) != uint32(1) {
		t.Errorf("disposition of %v, want 1", d.Any(1))
	}
}

func TestARangeOfDispositions(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	c.attach("out", 1, receiving, "q")
	c.hear(wire.CodeAttach)
	c.credit(1, 0, 10)
	for i := range uint32(4) {
		c.transfer(0, i, true, withID("a"))
		c.hear(wire.CodeTransfer)
	}
	named := wire.Described{Descriptor: wire.Symbol("amqp:accepted:list"), Value: []any{}}
	c.say(0, wire.CodeDisposition, true, uint32(0), uint32(2), false, named)
	for range 3 {
		d, err := wire.ParseDisposition(c.hear(wire.CodeDisposition))
		if s, ok := wire.AsComposite(d.State); err != nil || d.Receiver || !d.Settled || !ok || s.Code != wire.CodeAccepted {
			t.Errorf("disposition %+v, %v", d, err)
		}
	}
	c.say(0, wire.CodeDisposition, true, uint32(0), uint32(1<<31-1), false, wire.Accepted())
	if d := c.hear(wire.CodeDisposition); d.Any(1) != uint32(3) {
		t.Errorf("disposition of %v, want 3", d.Any(1))
	}
}

func TestADetachBeforeASessionIsFound(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	source := wire.NewComposite(wire.CodeSource, "s", nil, nil, nil, nil, nil, nil, wire.Map{{Key: wire.Symbol("com.microsoft:session-filter")}})
	c.say(0, wire.CodeAttach, "l", uint32(0), receiving, nil, nil, source, wire.NewComposite(wire.CodeTarget))
	c.say(0, wire.CodeDetach, uint32(0), true)
	if a := c.hear(wire.CodeAttach); a.Any(5) != nil {
		t.Errorf("source %v", a.Any(5))
	}
	c.hear(wire.CodeDetach)
}

func TestARequestWithoutReceiver(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("ask", 0, sending, "q/$management")
	c.hear(wire.CodeFlow)
	m := withID("1")
	c.transfer(0, 0, false, m)
	if s, _ := wire.AsComposite(c.hear(wire.CodeDisposition).Any(4)); s.Code != wire.CodeRejected {
		t.Errorf("state 0x%x", s.Code)
	}
}

// Clients of the C library name no reply-to and take an answer before the settlement of its request for an error.
func TestARequestWithoutReplyToIsSettledAndThenAnswered(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("ask", 0, sending, "q/$management")
	c.hear(wire.CodeFlow)
	c.attach("hear", 1, receiving, "q/$management")
	c.hear(wire.CodeAttach)
	c.credit(1, 0, 10)
	m := withID("1")
	m.ApplicationProperties = map[string]any{"operation": "com.microsoft:peek-message"}
	m.Data, m.Value = nil, map[string]any{"from-sequence-number": int64(0), "message-count": int32(1)}
	c.transfer(0, 0, false, m)
	if p := c.next(); p.Code != wire.CodeDisposition {
		t.Fatalf("first came 0x%x", p.Code)
	}
	if p := c.next(); p.Code != wire.CodeTransfer || p.Any(0) != uint32(1) {
		t.Errorf("then came 0x%x", p.Code)
	}
}

func TestManagementRequests(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, operation, queue string
		body                   wire.Map
		want                   int32
	}{
		{"unknown operation", "dance", "q", nil, 501},
		{"no body", "peek-message", "q", nil, 400},
		{"nothing to peek", "peek-message", "q", wire.Map{{Key: "from-sequence-number", Value: int64(0)}, {Key: "message-count", Value: int32(1)}}, 204},
		{"peek none", "peek-message", "q", wire.Map{{Key: "from-sequence-number", Value: int64(0)}, {Key: "message-count", Value: int32(0)}}, 400},
		{"tokens that are none", "renew-lock", "q", wire.Map{{Key: "lock-tokens", Value: []any{"x"}}}, 400},
		{"a token that is unknown", "renew-lock", "q", wire.Map{{Key: "lock-tokens", Value: []any{wire.UUID{1}}}}, 410},
		{"settled before", "update-disposition", "q", wire.Map{{Key: "lock-tokens", Value: []any{wire.UUID{1}}}, {Key: "disposition-status", Value: "completed"}}, 410},
		{"no such status", "update-disposition", "q", wire.Map{{Key: "lock-tokens", Value: []any{wire.UUID{1}}}, {Key: "disposition-status", Value: "eaten"}}, 400},
		{"not a message", "schedule-message", "q", wire.Map{{Key: "messages", Value: []any{wire.Map{{Key: "message", Value: []byte("x")}}}}}, 400},
		{"no messages", "schedule-message", "q", wire.Map{{Key: "messages", Value: []any{}}}, 400},
		{"no such number", "cancel-scheduled-message", "q", wire.Map{{Key: "sequence-numbers", Value: []any{int64(7)}}}, 404},
		{"no such deferred", "receive-by-sequence-number", "q", wire.Map{{Key: "sequence-numbers", Value: []any{int64(7)}}, {Key: "receiver-settle-mode", Value: uint32(1)}}, 404},
		{"session not held", "renew-session-lock", "s", wire.Map{{Key: "session-id", Value: "x"}}, 410},
		{"state not held", "get-session-state", "s", wire.Map{{Key: "session-id", Value: "x"}}, 410},
		{"sessions of none", "get-message-sessions", "s", wire.Map{{Key: "last-updated-time", Value: wire.Timestamp(253402300800000)}, {Key: "skip", Value: int32(0)}, {Key: "top", Value: int32(10)}}, 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := opened(t, queues())
			r.attach("ask", 0, sending, c.queue+"/$management")
			r.hear(wire.CodeFlow)
			r.attach("hear", 1, receiving, c.queue+"/$management")
			r.hear(wire.CodeAttach)
			r.credit(1, 0, 1)
			m := wire.NewComposite(0x73, "id-1", nil, nil, nil, "hear")
			b := wire.Append(nil, m)
			b = wire.Append(b, wire.Described{Descriptor: uint64(0x74), Value: wire.Map{{Key: "operation", Value: "com.microsoft:" + c.operation}}})
			b = wire.Append(b, wire.Described{Descriptor: uint64(0x77), Value: c.body})
			r.sayWith(b, 0, wire.CodeTransfer, uint32(0), uint32(0), []byte{1})
			_, payload := r.hearWith(wire.CodeTransfer)
			answer, err := wire.ParseMessage(payload)
			if err != nil || answer.Properties.CorrelationID != "id-1" {
				t.Fatalf("answer to %v, %v", answer.Properties.CorrelationID, err)
			}
			if got := answer.ApplicationProperties().Find("statusCode"); got != c.want {
				t.Errorf("status %v, want %d: %v", got, c.want, answer.ApplicationProperties())
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	o := queues()
	o.ConnClock = clock
	c := pipe(t, o)
	c.header(wire.ProtocolAMQP)
	c.say(0, wire.CodeOpen, "raw", nil, nil, nil, uint32(4000))
	c.hear(wire.CodeOpen)
	for range 3 {
		if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		clock.Advance(2 * time.Second)
		if f, err := wire.ReadFrame(c.r, 512); err != nil || len(f.Body) != 0 {
			t.Fatalf("frame %+v, %v, want an empty one", f, err)
		}
	}
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	clock.Advance(4 * time.Minute) // and not a word from the client
	c.complains(wire.CodeClose, 0, "amqp:resource-limit-exceeded")
	c.over()
}

func TestWhoNeverOpensIsCutOff(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	o := queues()
	o.ConnClock = clock
	c := pipe(t, o)
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	c.over()
}

// waits is the next time the connection has nothing to do but to wait for its clock.
func waits(t *testing.T, clock *clockwork.FakeClock, d time.Duration) {
	t.Helper()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	clock.Advance(d)
}

func TestIdleLinksAreDetached(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	o := queues()
	o.ConnClock = clock
	c := opened(t, o)
	c.attach("l", 0, true, "q")
	c.hear(wire.CodeAttach)
	c.credit(0, 0, 1, nil, nil, true)
	c.hear(wire.CodeFlow)
	for range 40 { // not a word on the link, but heartbeats
		waits(t, clock, 15*time.Second)
		c.write(wire.AppendFrame(nil, wire.FrameAMQP, 0, nil))
	}
	c.complains(wire.CodeDetach, 2, "amqp:link:detach-forced")
	c.say(0, wire.CodeDetach, uint32(0), true)
	for range 21 {
		waits(t, clock, 15*time.Second)
		c.write(wire.AppendFrame(nil, wire.FrameAMQP, 0, nil))
	}
	c.complains(wire.CodeClose, 0, "amqp:connection:forced")
}

func TestAConnectionWithoutLinksIsClosed(t *testing.T) {
	t.Parallel()
	clock := clockwork.NewFakeClock()
	o := queues()
	o.ConnClock = clock
	c := opened(t, o)
	for range 4 {
		waits(t, clock, 15*time.Second)
	}
	c.complains(wire.CodeClose, 0, "amqp:connection:forced")
}

func TestOnlyTheSessionFilterIsInForce(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	selector := wire.Map{{Key: wire.Symbol("selector"), Value: "a = 1"}}
	c.say(0, wire.CodeAttach, "l", uint32(0), true, nil, nil,
		wire.NewComposite(wire.CodeSource, "q", nil, nil, nil, nil, nil, nil, selector), wire.NewComposite(wire.CodeTarget, "me"))
	a, err := wire.ParseAttach(c.hear(wire.CodeAttach))
	if err != nil || a.Source.Filter() != nil {
		t.Errorf("filter %v in force, %v", a.Source.Filter(), err)
	}
	c.say(0, wire.CodeAttach, "m", uint32(1), true, nil, nil,
		wire.NewComposite(wire.CodeSource, "q", nil, nil, nil, nil, nil, wire.Symbol("copy")), wire.NewComposite(wire.CodeTarget, "me"))
	c.hear(wire.CodeAttach)
	c.complains(wire.CodeDetach, 2, "amqp:not-implemented")
}

func TestWhoKnowsTheKeyNeedsNoToken(t *testing.T) {
	t.Parallel()
	for mechanism, response := range map[string]string{"PLAIN": "\x00RootManageSharedAccessKey\x00SAS_KEY_VALUE", "ANONYMOUS": ""} {
		o := queues()
		o.CheckTokens = true
		c := pipe(t, o)
		c.header(wire.ProtocolSASL)
		if _, err := wire.ReadFrame(c.r, 512); err != nil { // the mechanisms
			t.Fatal(err)
		}
		c.write(wire.AppendFrame(nil, wire.FrameSASL, 0, func(b []byte) []byte {
			return wire.AppendComposite(b, wire.CodeSASLInit, wire.Symbol(mechanism), []byte(response))
		}))
		if _, err := wire.ReadFrame(c.r, 512); err != nil { // the outcome
			t.Fatal(err)
		}
		c.header(wire.ProtocolAMQP)
		c.say(0, wire.CodeOpen, "raw")
		c.hear(wire.CodeOpen)
		c.say(0, wire.CodeBegin, nil, uint32(0), uint32(100), uint32(100))
		c.hear(wire.CodeBegin)
		c.attach("l", 0, false, "q")
		c.hear(wire.CodeAttach)
		if mechanism == "PLAIN" {
			c.hear(wire.CodeFlow)
		} else {
			c.complains(wire.CodeDetach, 2, "amqp:unauthorized-access")
		}
	}
}

func FuzzConnection(f *testing.F) {
	frame := func(code uint64, fields ...any) []byte {
		return wire.AppendFrame(nil, wire.FrameAMQP, 0, func(b []byte) []byte { return wire.AppendComposite(b, code, fields...) })
	}
	source := wire.NewComposite(wire.CodeSource, "q")
	f.Add(frame(wire.CodeAttach, "l", uint32(0), true, nil, nil, source, nil))
	f.Add(append(frame(wire.CodeAttach, "l", uint32(0), true, nil, nil, source, source), frame(wire.CodeFlow, nil, uint32(1), uint32(0), uint32(0), uint32(0), nil, uint32(5), nil, true, true)...))
	f.Add(frame(wire.CodeDisposition, true, uint32(0), uint32(9), true, wire.Rejected("a", "b")))
	f.Add(frame(wire.CodeAttach, "l", uint32(0), false, nil, nil, nil, wire.NewComposite(wire.CodeTarget, "q/$management")))
	f.Add(frame(wire.CodeTransfer, uint32(0), uint32(0), []byte{1}, uint32(0x80013700)))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := opened(t, queues())
		go func() {
			_, _ = c.nc.Write(in)
			_, _ = c.nc.Write(frame(wire.CodeClose))
			_ = c.nc.Close()
		}()
		_, _ = io.Copy(io.Discard, c.r)
	})
}

// next reads one frame that is not a heartbeat.
func (c *raw) next() *wire.Composite {
	c.Helper()
	for {
		f, err := wire.ReadFrame(c.r, 1<<20)
		if err != nil {
			c.Fatal(err)
		}
		if len(f.Body) > 0 {
			p, _, _ := wire.ReadComposite(f.Body)
			return p
		}
	}
}

func TestASettledDispositionIsNotAnswered(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	c.attach("out", 1, receiving, "q")
	c.hear(wire.CodeAttach)
	c.credit(1, 0, 1)
	c.transfer(0, 0, true, withID("a"))
	c.hear(wire.CodeTransfer)
	c.say(0, wire.CodeDisposition, true, uint32(0), nil, true, wire.Accepted())
	c.say(0, wire.CodeFlow, uint32(1), uint32(100), uint32(1), uint32(100), nil, nil, nil, nil, nil, true)
	if p := c.next(); p.Code != wire.CodeFlow {
		t.Errorf("performative 0x%x, want only the flow asked for", p.Code)
	}
}

func TestReceiveAndDeleteComesSettled(t *testing.T) {
	t.Parallel()
	c := opened(t, queues())
	c.attach("in", 0, sending, "q")
	c.hear(wire.CodeFlow)
	c.transfer(0, 0, true, withID("a"))
	c.say(0, wire.CodeAttach, "out", uint32(1), receiving, uint8(1), uint8(0), wire.NewComposite(wire.CodeSource, "q"), wire.NewComposite(wire.CodeTarget))
	if a := c.hear(wire.CodeAttach); a.Any(3) != uint8(1) || a.Any(4) != uint8(0) {
		t.Errorf("settle modes %v and %v", a.Any(3), a.Any(4))
	}
	c.credit(1, 0, 1)
	if p := c.hear(wire.CodeTransfer); p.Any(4) != true {
		t.Error("not settled")
	}
}

func TestAMessagePastTheLimitIsRejectedButTheLinkGoesOn(t *testing.T) {
	t.Parallel()
	c := opened(t, servicebustest.Options{Queues: []servicebustest.Queue{{Name: "q", MaxMessageBytes: 1000}}})
	c.attach("in", 0, sending, "q")
	if a := c.hear(wire.CodeAttach); a.Any(10) != uint64(1000) {
		t.Errorf("max-message-size %v", a.Any(10))
	}
	c.hear(wire.CodeFlow)
	for range 3 {
		c.sayWith(make([]byte, 400), 0, wire.CodeTransfer, uint32(0), uint32(0), []byte{1}, uint32(0), nil, true)
	}
	c.say(0, wire.CodeTransfer, uint32(0))
	d, _ := wire.AsComposite(c.hear(wire.CodeDisposition).Any(4))
	if e, ok := wire.AsComposite(d.Any(0)); !ok || e.Any(0) != wire.Symbol("amqp:link:message-size-exceeded") {
		t.Errorf("state %+v", d)
	}
	c.transfer(0, 1, false, withID("small"))
	d, _ = wire.AsComposite(c.hear(wire.CodeDisposition).Any(4))
	if d.Code != wire.CodeAccepted {
		t.Errorf("state 0x%x", d.Code)
	}
}
