package broker

import (
	"container/list"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Delivery is a message on its way to a receiver, as it was at that moment.
type Delivery struct {
	Message  *wire.Message
	Token    [16]byte  // of the lock, zero without one
	Until    time.Time // when the lock ends, zero without one
	Seq      int64
	Count    uint32 // failed deliveries before this one
	State    State
	Enqueued time.Time
	Expires  time.Time     // zero for never
	TTL      time.Duration // 0 for ever
	Due      time.Time     // zero when it was not scheduled
}

// Sink is what a consumer hears, in order. Its functions are called with the queue locked.
type Sink struct {
	Deliver func(Delivery)
	Granted func(session string, until time.Time)
	Lost    func(*Error)       // the session's lock
	Drained func(count uint32) // all credit is used; count as in [Consumer.Flow]
}

// Consumer receives from an entity, or from one session of it.
type Consumer struct {
	Link     string // name of its link
	PeekLock bool   // false: what is delivered is removed at once
	e        *Entity
	sink     Sink
	credit   uint32
	count    uint32 // deliveries so far, what AMQP calls delivery-count
	place    *list.Element
	session  *session
	waiting  bool
}

type lock struct {
	token [16]byte
	m     *message
	by    *Consumer // nil when it came through the management node
	until time.Time // the session's while it has one
	alarm alarm
}

// Subscribe makes a consumer of an entity without sessions. It gets nothing until it has credit.
func (e *Entity) Subscribe(link string, peekLock bool, sink Sink) *Consumer {
	return &Consumer{Link: link, PeekLock: peekLock, e: e, sink: sink}
}

// Flow sets the credit as AMQP counts it: the consumer takes deliveries until count is seen + credit. With drain,
// credit that cannot be used now is given up.
func (c *Consumer) Flow(seen, credit uint32, drain bool) {
	c.e.q.do(func(now time.Time) {
		c.credit = uint32(max(0, int32(seen+credit-c.count)))
		c.queue()
		c.e.pump(now)
		if c.session != nil {
			c.e.pumpSession(c.session, now)
		}
		if drain && !c.waiting {
			c.count += c.credit
			c.credit = 0
			c.queue()
			c.sink.Drained(c.count)
		}
	})
}

// Count is how many deliveries were made.
func (c *Consumer) Count() (count, credit uint32) {
	c.e.q.do(func(time.Time) { count, credit = c.count, c.credit })
	return count, credit
}

// queue puts the consumer in line, or takes it out when it has no credit.
func (c *Consumer) queue() {
	if c.e.bySess {
		return
	}
	switch {
	case c.credit > 0 && c.place == nil:
		c.place = c.e.hungry.PushBack(c)
	case c.credit == 0 && c.place != nil:
		c.e.hungry.Remove(c.place)
		c.place = nil
	}
}

// Close ends the consumer. Messages it holds stay locked until their locks expire, but those of a session come
// back at once: with failed each as one more failed delivery, else as if they had not been delivered.
// https://learn.microsoft.com/azure/service-bus-messaging/message-sessions#impact-of-delivery-count
func (c *Consumer) Close(failed bool) {
	c.e.q.do(func(now time.Time) {
		c.credit = 0
		c.queue()
		c.leave()
		if c.session != nil {
			c.e.release(c.session, failed, now)
		}
	})
}

// GiveUp stops waiting for the next session. It returns false when there is nothing to give up: a session was
// granted, or the consumer was closed.
func (c *Consumer) GiveUp() (waited bool) {
	c.e.q.do(func(time.Time) { waited = c.leave() })
	return waited
}

func (c *Consumer) leave() bool {
	if !c.waiting {
		return false
	}
	c.e.waiting.Remove(c.place)
	c.place, c.waiting = nil, false
	return true
}

// pump delivers ready messages to consumers with credit, in turn.
func (e *Entity) pump(now time.Time) {
	e.match(now)
	e.pumpGhosts(now)
	for len(e.ready) > 0 && e.hungry.Len() > 0 {
		c := e.hungry.Front().Value.(*Consumer)
		m := e.ready[0]
		e.give(m, c, now)
		if m.twice {
			e.ghosts = append(e.ghosts, m)
			e.pumpGhosts(now)
		}
	}
}

// pumpGhosts delivers locked messages a second time, to a consumer that does not hold them.
func (e *Entity) pumpGhosts(now time.Time) {
	e.ghosts = slices.DeleteFunc(e.ghosts, func(m *message) bool {
		if !m.twice || m.state != Locked {
			return true
		}
		for p := e.hungry.Front(); p != nil; p = p.Next() {
			if c := p.Value.(*Consumer); c.PeekLock && !slices.ContainsFunc(m.locks, func(l *lock) bool { return l.by == c }) {
				m.twice = false
				e.give(m, c, now)
				return true
			}
		}
		return false
	})
}

// give delivers m to c.
func (e *Entity) give(m *message, c *Consumer, now time.Time) {
	c.credit--
	c.count++
	if c.place != nil && !c.waiting { // to the end of the line, or out of it
		e.hungry.Remove(c.place)
		c.place = nil
		c.queue()
	}
	if !c.PeekLock {
		d := m.delivery()
		e.remove(m)
		c.sink.Deliver(d)
		return
	}
	l := e.lock(m, c, now)
	c.sink.Deliver(l.delivery())
}

func (e *Entity) lock(m *message, c *Consumer, now time.Time) *lock {
	e.unready(m)
	e.move(m, Locked)
	l := &lock{token: uuid.New(), m: m, by: c}
	m.locks = append(m.locks, l)
	e.tokens[l.token] = l
	if s := m.session; s != nil { // the session's lock is the lock
		l.until = s.until
		s.locks[l] = true
		return l
	}
	l.alarm.ring = func(now time.Time) { e.unlock(l, true, now) }
	l.until = now.Add(e.q.Lock)
	e.q.alarms.set(&l.alarm, l.until)
	return l
}

// drop ends a lock.
func (e *Entity) drop(l *lock) {
	e.q.alarms.set(&l.alarm, time.Time{})
	delete(e.tokens, l.token)
	l.m.locks = slices.DeleteFunc(l.m.locks, func(x *lock) bool { return x == l })
	if s := l.m.session; s != nil {
		delete(s.locks, l)
	}
}

// unlock ends a lock without a decision about the message, which can then be received again.
func (e *Entity) unlock(l *lock, failed bool, now time.Time) {
	m := l.m
	e.drop(l)
	if failed {
		m.count++
	}
	if len(m.locks) > 0 {
		return
	}
	if max := uint32(e.q.MaxDelivery); m.count >= max && !e.dead() {
		e.bury(m, tooOften(max))
		return
	}
	e.makeReady(m, now)
}

func (m *message) delivery() Delivery {
	return Delivery{Message: m.body, Seq: m.seq, Count: m.count, State: m.state, Enqueued: m.enqueued,
		Expires: m.expires, TTL: m.ttl, Due: m.due}
}

func (l *lock) delivery() Delivery {
	d := l.m.delivery()
	d.Token, d.Until = l.token, l.until
	if d.State = Active; l.m.deferred {
		d.State = Deferred
	}
	return d
}

// pumpSession delivers to who holds the session.
func (e *Entity) pumpSession(s *session, now time.Time) {
	for s.by != nil && s.by.credit > 0 && len(s.ready) > 0 {
		e.give(s.ready[0], s.by, now)
	}
}
