package broker

import (
	"container/heap"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// State is where a message stands.
type State int

// States. The first three are also what peeking says.
const (
	Active State = iota
	Deferred
	Scheduled
	Locked
)

type message struct {
	body     *wire.Message
	id       string // message id as text, "" when there is none
	seq      int64
	session  *session
	state    State
	deferred bool // once deferred, it comes back only by number
	twice    bool // to be delivered to two receivers at once
	count    uint32
	ttl      time.Duration // 0 for ever
	enqueued time.Time
	due      time.Time // zero when not scheduled
	expires  time.Time // zero for never
	alarm    alarm
	index    int // in a readyHeap plus one
	locks    []*lock
}

// Limits of the service: https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
const (
	maxID         = 128
	maxProperties = 64 << 10
)

// Annotations a sender sets, and those only the service does.
const (
	PartitionKey  = "x-opt-partition-key"
	ScheduledTime = "x-opt-scheduled-enqueue-time"
)

// draft checks a message as the service does and makes it ready to be accepted. One without an id gets one.
func (q *Queue) draft(w *wire.Message) (*message, *Error) {
	if id := w.Properties.MessageID; id == nil || id == "" {
		w = w.WithMessageID(strings.ReplaceAll(uuid.NewString(), "-", ""))
	}
	m := &message{body: w, ttl: q.TTL, id: IDText(w.Properties.MessageID)}
	if err := q.checkLengths(m); err != nil {
		return nil, err
	}
	if err := checkSession(w, q.Sessions); err != nil {
		return nil, err
	}
	if at := w.Annotations.Find(ScheduledTime); at != nil {
		ts, ok := at.(wire.Timestamp)
		if !ok {
			return nil, refuse(NotAllowed, ScheduledTime+" is not a timestamp.")
		}
		m.due = time.UnixMilli(int64(ts))
	}
	if ttl := timeToLive(w); ttl > 0 && (m.ttl == 0 || ttl < m.ttl) {
		m.ttl = ttl
	}
	return m, nil
}

func (q *Queue) checkLengths(m *message) *Error {
	if n := utf8.RuneCountInString(m.id); n > maxID {
		return refuse(NotAllowed, fmt.Sprintf("The MessageId is %d characters long. The maximum is %d.", n, maxID))
	}
	if g := m.body.Properties.GroupID; g != nil {
		if err := checkSessionID(*g); err != nil {
			return err
		}
	}
	if n := m.body.Size(); q.MaxMessage > 0 && n > q.MaxMessage {
		return refuse(SizeExceeded, fmt.Sprintf("The message of %d bytes exceeds the limit of %d bytes.", n, q.MaxMessage))
	}
	if n := m.body.PropertySize(); n > maxProperties {
		return refuse(NotAllowed, fmt.Sprintf("The properties are %d bytes long. The maximum is %d.", n, maxProperties))
	}
	return nil
}

func checkSessionID(id string) *Error {
	if n := utf8.RuneCountInString(id); n > maxID {
		return refuse(NotAllowed, fmt.Sprintf("The SessionId is %d characters long. The maximum is %d.", n, maxID))
	}
	return nil
}

func checkSession(w *wire.Message, needed bool) *Error {
	group := w.Properties.GroupID
	if needed && group == nil {
		return refuse(NotAllowed, "The SessionId was not set on a message, and it cannot be sent to the entity. "+
			"Entities that have session support enabled can only receive messages that have the SessionId set to a valid value.")
	}
	key := w.Annotations.Find(PartitionKey)
	if key == nil {
		return nil
	}
	text, ok := key.(string)
	if !ok || utf8.RuneCountInString(text) > maxID {
		return refuse(NotAllowed, fmt.Sprintf("The PartitionKey is not a string of at most %d characters.", maxID))
	}
	if group != nil && *group != text {
		return refuse(NotAllowed, "The PartitionKey and the SessionId are both set and differ.")
	}
	return nil
}

// timeToLive reads the header's, or, where that is at its limit, the span between the two times the properties
// hold, which count for nothing else. 0 is for ever.
func timeToLive(w *wire.Message) time.Duration {
	if w.Header.TTL == nil {
		return 0
	}
	if *w.Header.TTL < wire.MaxTTL {
		return time.Duration(*w.Header.TTL) * time.Millisecond
	}
	p := w.Properties
	if p.Expiry == nil || p.Created == nil || *p.Expiry <= *p.Created {
		return 0
	}
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(int64(*p.Expiry-*p.Created), longest)) * time.Millisecond
}

// IDText is a message id as text: ids of different types are never the same.
func IDText(id any) string {
	switch id := id.(type) {
	case string:
		return id
	case uint64:
		return fmt.Sprintf("ulong:%d", id)
	case wire.UUID:
		return fmt.Sprintf("uuid:%x", id[:])
	case []byte:
		return fmt.Sprintf("binary:%x", id)
	}
	return ""
}

// accept puts a new message into the queue.
func (e *Entity) accept(m *message, now time.Time) {
	m.enqueued, m.alarm.order = now, m.seq
	e.q.bytes += int64(m.body.Size())
	m.alarm.ring = func(now time.Time) { e.timeUp(m, now) }
	if e.bySess {
		m.session = e.session(*m.body.Properties.GroupID)
		m.session.total++
	}
	if m.due.After(now) {
		e.add(m, Scheduled)
		e.q.alarms.set(&m.alarm, m.due)
		return
	}
	e.activate(m, now)
}

// timeUp is a message's alarm: a scheduled one is due, any other has expired.
func (e *Entity) timeUp(m *message, now time.Time) {
	if m.state != Scheduled {
		e.expireAll(m)
		return
	}
	e.all.remove(m.seq) // it is enqueued as if it came now, with a new number
	e.counts[Scheduled]--
	e.q.next++
	m.seq, m.enqueued = e.q.next, m.due
	e.activate(m, now)
}

func (e *Entity) activate(m *message, now time.Time) {
	if m.ttl > 0 {
		m.expires = m.enqueued.Add(m.ttl)
		e.replace(m, m.body.WithExpiry(timestamp(m.enqueued), timestamp(m.expires)))
	}
	e.add(m, Active)
	e.makeReady(m, now)
}

// replace puts another body in the place of a message's.
func (e *Entity) replace(m *message, body *wire.Message) {
	e.q.bytes += int64(body.Size() - m.body.Size())
	m.body = body
}

func timestamp(t time.Time) wire.Timestamp { return wire.Timestamp(t.UnixMilli()) }

func (e *Entity) add(m *message, s State) {
	m.state = s
	e.counts[s]++
	e.all.add(m)
}

func (e *Entity) move(m *message, s State) {
	e.counts[m.state]--
	e.counts[s]++
	m.state = s
}

// makeReady lets a message be received: by anyone, or by number when it was deferred. A deferred one expires only
// when it is asked for: https://learn.microsoft.com/azure/service-bus-messaging/message-deferral
func (e *Entity) makeReady(m *message, now time.Time) {
	if m.deferred {
		e.move(m, Deferred)
		return
	}
	if !e.dead() && m.expired(now) {
		e.expireAll(m)
		return
	}
	if !e.dead() {
		e.q.alarms.set(&m.alarm, m.expires)
	}
	e.move(m, Active)
	if m.session == nil {
		heap.Push(&e.ready, m)
		return
	}
	heap.Push(&m.session.ready, m)
	e.offer(m.session, now)
}

func (m *message) expired(now time.Time) bool { return !m.expires.IsZero() && !m.expires.After(now) }

// unready takes a message out of what can be received.
func (e *Entity) unready(m *message) {
	e.q.alarms.set(&m.alarm, time.Time{})
	if m.index == 0 {
		return
	}
	if m.session == nil {
		heap.Remove(&e.ready, m.index-1)
		return
	}
	heap.Remove(&m.session.ready, m.index-1)
	e.withdraw(m.session)
}

// remove forgets a message and its locks.
func (e *Entity) remove(m *message) {
	e.unready(m)
	for len(m.locks) > 0 {
		e.drop(m.locks[0])
	}
	e.counts[m.state]--
	e.all.remove(m.seq)
	e.q.bytes -= int64(m.body.Size())
	m.twice = false
	if s := m.session; s != nil {
		m.session = nil
		s.total--
		e.forget(s)
	}
}

// expireAll is the end of a message, and with it of all its session has ready:
// https://learn.microsoft.com/azure/service-bus-messaging/message-sessions#message-expiration
func (e *Entity) expireAll(m *message) {
	s := m.session
	e.expire(m)
	for s != nil && len(s.ready) > 0 {
		e.expire(s.ready[0])
	}
}

func (e *Entity) expire(m *message) {
	if e.q.DeadLetterOnExpiry && !e.dead() {
		e.bury(m, Outcome{Reason: "TTLExpiredException", Description: "The message expired and was dead lettered."})
		return
	}
	e.remove(m)
}

// bury moves a message to the dead-letter queue, where it keeps its number and never expires.
func (e *Entity) bury(m *message, o Outcome) {
	e.remove(m)
	m.body = withProperties(m.body, deadLetterProperties(o))
	m.deferred, m.due = false, time.Time{}
	e.q.bytes += int64(m.body.Size())
	d := e.q.Dead
	d.add(m, Active)
	heap.Push(&d.ready, m)
}

func deadLetterProperties(o Outcome) wire.Map {
	props := o.Properties
	if o.Reason != "" {
		props = props.With("DeadLetterReason", o.Reason)
	}
	if o.Description != "" {
		props = props.With("DeadLetterErrorDescription", o.Description)
	}
	return props
}

// withProperties sets application properties.
func withProperties(w *wire.Message, props wire.Map) *wire.Message {
	if len(props) == 0 {
		return w
	}
	app := w.ApplicationProperties()
	for _, p := range props {
		switch k := p.Key.(type) {
		case string:
			app = app.With(k, p.Value)
		case wire.Symbol:
			app = app.With(string(k), p.Value)
		}
	}
	return w.WithApplicationProperties(app)
}
