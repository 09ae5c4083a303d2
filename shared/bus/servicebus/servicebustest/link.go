package servicebustest

import (
	"fmt"
	"slices"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

const (
	ourCredit   = 1000 // messages a client may send before it hears from us
	maxRequest  = 1 << 20
	nextSession = 60 * time.Second // how long to look for a session when the client does not say
)

// Names of the service on links.
const (
	sessionFilter     = "com.microsoft:session-filter"
	sessionFilterCode = uint64(0x137000000C)
	acceptTimeout     = "com.microsoft:timeout"
	lockedUntil       = "com.microsoft:locked-until-utc"
	maxBatch          = "com.microsoft:max-message-batch-size"
)

// link is one link. It belongs to its connection's loop.
type link struct {
	s        *session
	a        wire.Attach
	node     node
	answered bool // we have sent attach
	detached bool // we have sent detach, or the client has
	used     time.Time

	// What the client sends.
	credit, count uint32
	max           uint64
	partial       *partial

	// What we send: deliveries of a queue, or answers of a request node.
	consumer    *broker.Consumer
	early       *wire.Flow // came before the attach was answered
	giveUp      func() bool
	answers     [][]byte
	answerCount uint32 // answers sent
	answerLimit uint32 // answers the client wants, counted from the first
}

// newLink answers an attach: at once, or, when it wants the next session, when there is one.
func newLink(s *session, a wire.Attach) *link {
	l := &link{s: s, a: a}
	l.use()
	if err := l.start(); err != nil {
		l.refuse(err)
	}
	return l
}

func (l *link) conn() *conn { return l.s.c }

func (l *link) start() *broker.Error {
	end := l.a.Target
	if l.a.Receiver {
		end = l.a.Source
	}
	if end != nil && end.Code == wire.CodeCoordinator {
		return &broker.Error{Condition: broker.NotImplemented, Text: "Transactions are not implemented."}
	}
	n, ok := l.conn().s.find(end.Address())
	if !ok {
		return &broker.Error{Condition: broker.NotFound,
			Text: fmt.Sprintf("The messaging entity '%s' could not be found.", entityPath(end.Address()))}
	}
	l.node = n
	if err := l.admit(); err != nil {
		return err
	}
	switch {
	case !l.a.Receiver:
		return l.startTaking()
	case l.a.Source.Copies():
		return &broker.Error{Condition: broker.NotImplemented, Text: "Browsing over a link is not implemented. Peek by the management node."}
	case n.request():
		l.conn().replies = append(l.conn().replies, l)
		l.accept(nil, nil)
		return nil
	}
	return l.startGiving()
}

// admit checks the link's token, and lets a fault refuse it.
func (l *link) admit() *broker.Error {
	if l.node.cbs {
		return nil
	}
	if !l.conn().allowed(l.node.path) {
		return &broker.Error{Condition: broker.Unauthorized, Text: "Unauthorized access. A token for this entity is required."}
	}
	if l.node.manage {
		return nil
	}
	return l.conn().s.isBusy(Operation{Kind: Attach, Queue: l.node.entity.Queue().Name})
}

// startTaking lets the client send.
func (l *link) startTaking() *broker.Error {
	if l.node.entity != nil && !l.node.manage && l.node.entity == l.node.entity.Queue().Dead {
		return &broker.Error{Condition: broker.NotAllowed, Text: "Nothing can be sent to a dead-letter queue."}
	}
	l.max, l.credit = maxRequest, ourCredit
	var properties wire.Map
	if !l.node.request() {
		l.max = uint64(l.node.entity.Queue().MaxMessage)
		properties = wire.Map{{Key: wire.Symbol(maxBatch), Value: l.max}}
	} else if l.node.manage {
		l.max = max(maxRequest, 2*uint64(l.node.entity.Queue().MaxMessage))
	}
	l.accept(nil, properties)
	l.grant()
	return nil
}

// startGiving lets the client receive from a queue or one of its sessions.
func (l *link) startGiving() *broker.Error {
	filter, want := findPair(l.a.Source.Filter(), sessionFilter)
	e := l.node.entity
	switch {
	case want && !e.Sessions():
		return &broker.Error{Condition: broker.NotAllowed, Text: "A sessionful message receiver cannot be created on an entity that does not require sessions."}
	case !want && e.Sessions():
		return &broker.Error{Condition: broker.NotAllowed, Text: "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."}
	case !want:
		l.consumer = e.Subscribe(l.a.Name, l.peekLock(), l.sink())
		l.accept(nil, nil)
		return nil
	}
	id, ok := sessionOf(filter.Value)
	if !ok {
		return &broker.Error{Condition: broker.NotAllowed, Text: "The session filter is neither null nor a string."}
	}
	return l.acceptSession(id)
}

func findPair(m wire.Map, name string) (wire.Pair, bool) {
	i := slices.IndexFunc(m, func(p wire.Pair) bool { return key(p.Key) == name })
	if i < 0 {
		return wire.Pair{}, false
	}
	return m[i], true
}

// sessionOf reads a session filter: an id or null, described or not.
func sessionOf(v any) (id *string, ok bool) {
	if d, is := v.(wire.Described); is {
		v = d.Value
	}
	if v == nil {
		return nil, true
	}
	s, ok := v.(string)
	return &s, ok
}

func (l *link) acceptSession(id *string) *broker.Error {
	wait := l.acceptTimeout()
	c, err := l.node.entity.Accept(id, l.a.Name, l.peekLock(), l.sink())
	if err != nil {
		return err
	}
	l.consumer = c
	if id == nil {
		l.giveUp = l.conn().later(wait, func() {
			if !l.detached && c.GiveUp() {
				l.refuse(&broker.Error{Condition: broker.Timeout, Text: "No session became available in time."})
			}
		})
	}
	return nil
}

// acceptTimeout is the client's, less what an answer may need to arrive within it.
func (l *link) acceptTimeout() time.Duration {
	ms, ok := l.a.Properties.Find(acceptTimeout).(uint32)
	if !ok {
		return nextSession
	}
	d := time.Duration(ms) * time.Millisecond
	return d - min(d/10, 250*time.Millisecond)
}

// peekLock tells a client that settles from one whose deliveries are gone at once (sender settle mode settled).
func (l *link) peekLock() bool { return l.a.SndSettle != uint8(1) }

func (l *link) sink() broker.Sink {
	post := l.conn().mail.put
	return broker.Sink{
		Deliver: func(d broker.Delivery) { post(func() { l.deliver(d) }) },
		Granted: func(id string, until time.Time) { post(func() { l.granted(id, until) }) },
		Lost:    func(err *broker.Error) { post(func() { l.fail(err.Condition, err.Text) }) },
		Drained: func(count uint32) { post(func() { l.drained(count) }) },
	}
}

// granted answers an attach with the session it got.
func (l *link) granted(id string, until time.Time) {
	if l.giveUp != nil {
		l.giveUp()
	}
	if l.detached {
		return // what was granted has been given back with the link
	}
	filter, _ := findPair(l.a.Source.Filter(), sessionFilter)
	if d, ok := filter.Value.(wire.Described); ok {
		filter.Value = wire.Described{Descriptor: d.Descriptor, Value: id}
	} else {
		filter.Value = id
	}
	l.accept(wire.Map{filter}, wire.Map{{Key: wire.Symbol(lockedUntil), Value: ticks(until)}})
	if f := l.early; f != nil {
		l.early = nil
		l.flow(*f)
	}
}

// ticks are the 100 ns steps since the year 1 that .NET counts.
func ticks(t time.Time) int64 {
	const unixEpoch = 621355968000000000
	return unixEpoch + t.UnixNano()/100
}

// accept answers the attach. Of the filters asked for, only the one given is in force.
func (l *link) accept(filter, properties wire.Map) {
	source := l.a.Source
	if source == nil {
		source = &wire.Composite{Code: wire.CodeSource}
	}
	if len(source.Fields) > wire.SourceFilter {
		source = &wire.Composite{Code: wire.CodeSource, Fields: slices.Clone(source.Fields)}
		if source.Fields[wire.SourceFilter] = nil; filter != nil {
			source.Fields[wire.SourceFilter] = filter
		}
	}
	target := l.a.Target
	if target == nil {
		target = &wire.Composite{Code: wire.CodeTarget}
	}
	l.sendAttach(source, target, properties)
}

// sendAttach mirrors the attach. A null source or target says that a detach follows.
func (l *link) sendAttach(source, target *wire.Composite, properties wire.Map) {
	l.answered = true
	var count, limit, props any
	if l.a.Receiver {
		count = uint32(0)
	} else {
		limit = l.max
	}
	if properties != nil {
		props = properties
	}
	l.s.send(func(b []byte) []byte {
		return wire.AppendComposite(b, wire.CodeAttach, l.a.Name, l.a.Handle, !l.a.Receiver, l.a.SndSettle, l.a.RcvSettle,
			terminus(source), terminus(target), nil, nil, count, limit, nil, nil, props)
	})
}

func terminus(c *wire.Composite) any {
	if c == nil {
		return nil
	}
	return wire.NewComposite(c.Code, c.Fields...)
}

// answerAttach gives a client that detaches before it had an answer the attach that must come first.
func (l *link) answerAttach() {
	if l.answered {
		return
	}
	source, target := l.a.Source, l.a.Target
	if l.a.Receiver {
		source = nil
	} else {
		target = nil
	}
	l.sendAttach(source, target, nil)
}

// refuse answers an attach with an error.
func (l *link) refuse(err *broker.Error) {
	l.conn().log.Debug("link refused", "link", l.a.Name, "condition", err.Condition)
	l.answerAttach()
	l.fail(err.Condition, err.Text)
}

// fail detaches the link with an error.
func (l *link) fail(condition, text string) {
	if l.detached {
		return
	}
	l.release(true)
	l.detached = true
	l.s.send(wire.Detach{Handle: l.a.Handle, Closed: true, Error: wire.NewError(condition, text)}.Append)
}

// release lets go of what the link holds, because the client wants it closed or because it failed. Deliveries of
// a queue without sessions stay locked.
func (l *link) release(failed bool) {
	c := l.conn()
	c.replies = slices.DeleteFunc(c.replies, func(x *link) bool { return x == l })
	if l.giveUp != nil {
		l.giveUp()
	}
	if l.consumer != nil {
		l.consumer.Close(failed)
	}
	l.partial, l.answers = nil, nil
}

// grant gives the client fresh credit.
func (l *link) grant() {
	l.credit = ourCredit
	l.sendState()
}

// sendState tells the client how the link stands.
func (l *link) sendState() {
	handle, count, credit := l.a.Handle, l.count, l.credit
	l.s.sendFlow(wire.Flow{Handle: &handle, DeliveryCount: &count, LinkCredit: &credit})
}

// flow is the client's word on a link.
func (l *link) flow(f wire.Flow) {
	l.use()
	switch {
	case l.detached:
	case !l.a.Receiver:
		if f.Echo {
			l.sendState()
		}
	case !l.answered:
		l.early = &f
	case l.consumer != nil:
		l.flowDeliveries(f)
	default:
		l.flowAnswers(f)
	}
}

func (l *link) flowDeliveries(f wire.Flow) {
	if f.LinkCredit != nil {
		l.consumer.Flow(orZero(f.DeliveryCount), *f.LinkCredit, f.Drain)
	}
	if f.Echo && !f.Drain {
		count, credit := l.consumer.Count()
		l.s.enqueue(&outgoing{l: l, flow: func() { l.sendGiven(count, credit, false) }})
	}
}

func (l *link) sendGiven(count, credit uint32, drain bool) {
	handle := l.a.Handle
	l.s.sendFlow(wire.Flow{Handle: &handle, DeliveryCount: &count, LinkCredit: &credit, Drain: drain})
}

// drained tells the client that nothing more comes until it gives credit anew.
func (l *link) drained(count uint32) {
	l.s.enqueue(&outgoing{l: l, flow: func() { l.sendGiven(count, 0, true) }})
}

func (l *link) flowAnswers(f wire.Flow) {
	if f.LinkCredit != nil {
		l.answerLimit = orZero(f.DeliveryCount) + *f.LinkCredit
	}
	l.sendAnswers()
	if f.Drain {
		l.answerCount = l.answerLimit
		l.drained(l.answerCount)
	} else if f.Echo {
		l.sendGiven(l.answerCount, l.answerLimit-l.answerCount, false)
	}
}

func orZero(p *uint32) uint32 {
	if p == nil {
		return 0
	}
	return *p
}
