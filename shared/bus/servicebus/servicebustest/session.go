package servicebustest

import (
	"fmt"
	"maps"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Windows of ours (2.5.6): transfers a client may have on the way in one session, and what it may attach.
const (
	ourWindow = 5000
	handleMax = 255
)

// session is an AMQP session: not what Service Bus calls one. It belongs to its connection's loop.
type session struct {
	c       *conn
	channel uint16
	ended   bool // we have sent end
	links   map[uint32]*link

	nextIncoming uint32 // number of the next transfer we get
	incoming     uint32 // how many more may come
	nextOutgoing uint32
	outgoing     uint32 // how many more we may send
	handleMax    uint32

	nextDelivery uint32
	unsettled    map[uint32]unsettled
	queue        []*outgoing
}

// unsettled is a delivery the client has not decided about.
type unsettled struct {
	l     *link
	token [16]byte
}

// outgoing waits for the client's window: a delivery, or a flow that must come after those before it.
type outgoing struct {
	l       *link
	token   [16]byte
	tag     []byte
	settled bool
	payload []byte
	id      *uint32 // set with the first frame
	flow    func()
}

func newSession(c *conn, channel uint16, b wire.Begin) *session {
	s := &session{c: c, channel: channel, links: map[uint32]*link{}, nextIncoming: b.NextOutgoing, incoming: ourWindow,
		outgoing: b.Incoming, handleMax: min(b.HandleMax, handleMax), unsettled: map[uint32]unsettled{}}
	s.send(func(b []byte) []byte {
		return wire.AppendComposite(b, wire.CodeBegin, channel, s.nextOutgoing, s.incoming, uint32(ourWindow), uint32(handleMax))
	})
	return s
}

func (s *session) send(write func([]byte) []byte) { s.c.send(s.channel, write) }

// drop lets go of everything the session's links hold.
func (s *session) drop(failed bool) {
	for _, l := range s.links {
		l.release(failed)
	}
	s.links, s.queue = map[uint32]*link{}, nil
	clear(s.unsettled)
}

// fail ends the session with an error.
func (s *session) fail(condition, text string) {
	s.drop(true)
	s.ended = true
	s.send(func(b []byte) []byte { return wire.AppendComposite(b, wire.CodeEnd, wire.NewError(condition, text)) })
}

func (s *session) perform(p *wire.Composite, payload []byte) error {
	if p.Code == wire.CodeEnd {
		s.drop(false)
		if !s.ended {
			s.send(func(b []byte) []byte { return wire.AppendComposite(b, wire.CodeEnd) })
		}
		delete(s.c.sessions, s.channel)
		return nil
	}
	if s.ended {
		return nil
	}
	switch p.Code {
	case wire.CodeAttach:
		return s.attach(p)
	case wire.CodeFlow:
		return s.flow(p)
	case wire.CodeTransfer:
		return s.transfer(p, payload)
	case wire.CodeDisposition:
		return s.disposition(p)
	case wire.CodeDetach:
		return s.detach(p)
	}
	return fmt.Errorf("unknown performative 0x%02x", p.Code)
}

func (s *session) attach(p *wire.Composite) error {
	a, err := wire.ParseAttach(p)
	if err != nil {
		return err
	}
	if a.Handle > s.handleMax || s.links[a.Handle] != nil {
		s.fail(handleInUse, fmt.Sprintf("Handle %d is in use or too high.", a.Handle))
		return nil
	}
	s.c.steal(a)
	s.links[a.Handle] = newLink(s, a)
	return nil
}

// steal detaches the link of the same name and direction that the connection has already (2.6.1).
func (c *conn) steal(a wire.Attach) {
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.a.Name == a.Name && l.a.Receiver == a.Receiver && !l.detached {
				l.fail(linkStolen, "The link was attached anew.")
			}
		}
	}
}

func (s *session) detach(p *wire.Composite) error {
	d, err := wire.ParseDetach(p)
	if err != nil {
		return err
	}
	l := s.links[d.Handle]
	if l == nil {
		s.fail(unattached, fmt.Sprintf("Handle %d is not attached.", d.Handle))
		return nil
	}
	delete(s.links, d.Handle)
	l.release(false)
	maps.DeleteFunc(s.unsettled, func(_ uint32, u unsettled) bool { return u.l == l })
	if !l.detached {
		l.answerAttach()
		s.send(wire.Detach{Handle: d.Handle, Closed: d.Closed}.Append)
	}
	return nil
}

func (s *session) flow(p *wire.Composite) error {
	f, err := wire.ParseFlow(p)
	if err != nil {
		return err
	}
	next := uint32(0) // until it has seen our begin, a client counts from our first
	if f.NextIncoming != nil {
		next = *f.NextIncoming
	}
	s.outgoing = uint32(max(0, int32(next+f.Incoming-s.nextOutgoing)))
	s.flush()
	if f.Handle == nil {
		if f.Echo {
			s.sendFlow(wire.Flow{})
		}
		return nil
	}
	l := s.links[*f.Handle]
	if l == nil {
		s.fail(unattached, fmt.Sprintf("Handle %d is not attached.", *f.Handle))
		return nil
	}
	l.flow(f)
	return nil
}

// sendFlow writes a flow with the session's numbers filled in.
func (s *session) sendFlow(f wire.Flow) {
	next := s.nextIncoming
	f.NextIncoming, f.Incoming, f.NextOutgoing, f.Outgoing = &next, s.incoming, s.nextOutgoing, ourWindow
	s.send(f.Append)
}

func (s *session) transfer(p *wire.Composite, payload []byte) error {
	t, err := wire.ParseTransfer(p)
	if err != nil {
		return err
	}
	s.nextIncoming++
	if s.incoming--; s.incoming < ourWindow/2 {
		s.incoming = ourWindow
		s.sendFlow(wire.Flow{})
	}
	l := s.links[t.Handle]
	switch {
	case l == nil:
		s.fail(unattached, fmt.Sprintf("Handle %d is not attached.", t.Handle))
	case l.a.Receiver:
		s.fail(errantLink, "A receiver cannot transfer.")
	case !l.detached:
		l.transfer(t, payload)
	}
	return nil
}

// disposition is the client's decision about deliveries of ours. What it says about its own transfers is of no
// use: those were settled when they were answered.
func (s *session) disposition(p *wire.Composite) error {
	d, err := wire.ParseDisposition(p)
	if err != nil || !d.Receiver {
		return err
	}
	if int32(d.Last-d.First) < 0 {
		return fmt.Errorf("disposition from %d to %d", d.First, d.Last)
	}
	if int(d.Last-d.First) > len(s.unsettled) { // a long range of mostly nothing
		for id := range s.unsettled {
			if id-d.First <= d.Last-d.First {
				s.settle(id, d)
			}
		}
		return nil
	}
	for id := d.First; ; id++ {
		s.settle(id, d)
		if id == d.Last {
			return nil
		}
	}
}

// settle carries out one decision and answers it, unless the client wants no answer. A refusal for the moment
// leaves the delivery as it was, so that the client can try again.
func (s *session) settle(id uint32, d wire.Disposition) {
	u, ok := s.unsettled[id]
	outcome, final := outcomeOf(d)
	if !ok || !final {
		return
	}
	u.l.use()
	state, err := d.State, s.c.s.settle(u, outcome)
	if outcome.Verb == broker.DeadLetter { // clients take an error that comes back for a refusal
		state = wire.NewComposite(wire.CodeRejected)
	}
	if err != nil {
		state = wire.Rejected(err.Condition, err.Text)
	}
	if err == nil || err.Condition != broker.ServerBusy {
		delete(s.unsettled, id)
	}
	if !d.Settled {
		s.send(wire.Disposition{First: id, Last: id, Settled: true, State: state}.Append)
	}
}

func (s *Server) settle(u unsettled, o broker.Outcome) *broker.Error {
	if err := s.isBusy(Operation{Kind: Settle, Queue: u.l.node.entity.Queue().Name}); err != nil {
		return err
	}
	return u.l.node.entity.Settle(u.token, o)
}

// outcomeOf translates a delivery state (3.4). It is not final while a receiver only tells how far it is.
func outcomeOf(d wire.Disposition) (o broker.Outcome, final bool) {
	p, ok := wire.AsComposite(d.State)
	if !ok { // settled without an outcome: nothing was done with it
		return broker.Outcome{Verb: broker.Release}, d.Settled
	}
	switch p.Code {
	case wire.CodeAccepted:
		return broker.Outcome{Verb: broker.Complete}, true
	case wire.CodeReleased:
		return broker.Outcome{Verb: broker.Release}, true
	case wire.CodeRejected:
		return rejection(p), true
	case wire.CodeModified:
		o = broker.Outcome{Verb: broker.Abandon, Properties: wire.Or(p, 2, wire.Map(nil))}
		if wire.Or(p, 1, false) {
			o.Verb = broker.Defer
		}
		return o, true
	}
	return o, false
}

// rejection dead-letters; the reason stands in the error's info, or is the error itself.
func rejection(p *wire.Composite) broker.Outcome {
	o := broker.Outcome{Verb: broker.DeadLetter}
	e, ok := wire.AsComposite(p.Any(0))
	if !ok {
		return o
	}
	for _, pair := range wire.Or(e, 2, wire.Map(nil)) {
		text, _ := pair.Value.(string)
		switch key(pair.Key) {
		case "DeadLetterReason":
			o.Reason = text
		case "DeadLetterErrorDescription":
			o.Description = text
		default:
			o.Properties = append(o.Properties, pair)
		}
	}
	if condition := wire.Or(e, 0, wire.Symbol("")); condition != "com.microsoft:dead-letter" && o.Reason == "" {
		o.Reason, o.Description = string(condition), wire.Or(e, 1, "")
	}
	return o
}

func key(k any) string {
	switch k := k.(type) {
	case string:
		return k
	case wire.Symbol:
		return string(k)
	}
	return ""
}

// enqueue sends something in order, as far as the client's window allows.
func (s *session) enqueue(o *outgoing) {
	s.queue = append(s.queue, o)
	s.flush()
}

func (s *session) flush() {
	for len(s.queue) > 0 {
		o := s.queue[0]
		if !o.l.detached && !s.emit(o) {
			return
		}
		s.queue[0] = nil
		s.queue = s.queue[1:]
	}
}

// emit writes what fits the window and tells whether that was all.
func (s *session) emit(o *outgoing) bool {
	if o.flow != nil {
		o.flow()
		return true
	}
	const head = 64 // more than a frame header and a transfer need
	room := int(s.c.maxFrame) - head
	for s.outgoing > 0 {
		t := wire.Transfer{Handle: o.l.a.Handle}
		if o.id == nil {
			id, format := s.nextDelivery, uint32(0)
			s.nextDelivery++
			o.id, t.DeliveryID, t.Tag, t.Format = &id, &id, o.tag, &format
			if !o.settled {
				s.unsettled[id] = unsettled{o.l, o.token}
			}
		}
		part := o.payload[:min(room, len(o.payload))]
		o.payload = o.payload[len(part):]
		t.Settled, t.More = o.settled, len(o.payload) > 0
		s.send(func(b []byte) []byte { return append(t.Append(b), part...) })
		s.nextOutgoing++
		s.outgoing--
		if !t.More {
			return true
		}
	}
	return false
}
