package broker

import (
	"fmt"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Verb is what a receiver decides about a message.
type Verb int

// Verbs.
const (
	Complete Verb = iota
	Abandon
	Defer
	DeadLetter
	Release // give back as if it had not been delivered
)

// Outcome is a decision and what comes with it.
type Outcome struct {
	Verb                Verb
	Properties          wire.Map // application properties to set
	Reason, Description string
}

func tooOften(n uint32) Outcome {
	return Outcome{Reason: "MaxDeliveryCountExceeded",
		Description: fmt.Sprintf("Message could not be consumed after %d delivery attempts.", n)}
}

// Settle carries out a decision, if the lock is still held.
func (e *Entity) Settle(token [16]byte, o Outcome) (err *Error) {
	e.q.do(func(now time.Time) { err = e.settle(token, o, now) })
	return err
}

// SettleAll settles all or none.
func (e *Entity) SettleAll(tokens [][16]byte, o Outcome) (err *Error) {
	e.q.do(func(now time.Time) {
		for _, t := range tokens {
			if e.tokens[t] == nil {
				err = e.lost()
				return
			}
		}
		for _, t := range tokens {
			if err = e.settle(t, o, now); err != nil {
				return
			}
		}
	})
	return err
}

func (e *Entity) lost() *Error {
	if e.bySess {
		return refuse(SessionLockLost, sessionLostText)
	}
	return refuse(MessageLockLost, lockLostText)
}

func (e *Entity) settle(token [16]byte, o Outcome, now time.Time) *Error {
	l := e.tokens[token]
	if l == nil {
		return e.lost()
	}
	m := l.m
	switch o.Verb {
	case Complete:
		e.remove(m)
		return nil
	case DeadLetter:
		if e.dead() {
			return refuse(NotAllowed, "A message in the dead-letter queue cannot be dead-lettered.")
		}
		e.bury(m, o)
		return nil
	}
	e.replace(m, withProperties(m.body, o.Properties))
	if o.Verb == Defer {
		m.deferred = true
	}
	e.unlock(l, o.Verb == Abandon, now)
	return nil
}

// Renew prolongs locks, all or none.
func (e *Entity) Renew(tokens [][16]byte) (until []time.Time, err *Error) {
	e.q.do(func(now time.Time) {
		if e.bySess {
			err = refuse(NotAllowed, "The lock of a message with a session is the session's.")
			return
		}
		for _, t := range tokens {
			if e.tokens[t] == nil {
				err = e.lost()
				return
			}
		}
		for _, t := range tokens {
			l := e.tokens[t]
			l.until = now.Add(e.q.Lock)
			e.q.alarms.set(&l.alarm, l.until)
			until = append(until, l.until)
		}
	})
	return until, err
}

// ReceiveDeferred delivers deferred messages by number, all or none. With remove they are gone, else locked.
func (e *Entity) ReceiveDeferred(seqs []int64, link string, remove bool) (out []Delivery, err *Error) {
	e.q.do(func(now time.Time) {
		for _, seq := range seqs {
			m := e.all.find(seq)
			if m != nil && m.state == Deferred && m.expired(now) && !e.dead() {
				e.expire(m)
				m = nil
			}
			if m == nil || m.state != Deferred {
				err = refuse(MessageNotFound, messageNotFoundText)
				return
			}
			if m.session != nil {
				if _, err = e.held(m.session.id, link); err != nil {
					return
				}
			}
		}
		for _, seq := range seqs {
			if m := e.all.find(seq); m != nil && m.state == Deferred {
				out = append(out, e.fetch(m, remove, now))
			}
		}
	})
	return out, err
}

func (e *Entity) fetch(m *message, remove bool, now time.Time) Delivery {
	if !remove {
		return e.lock(m, nil, now).delivery()
	}
	d := m.delivery()
	e.remove(m)
	return d
}

// Peek lists messages from a sequence number on, at most n of together about size bytes; of one session, or of
// all with nil.
func (e *Entity) Peek(from int64, n, size int, session *string) (out []Delivery) {
	e.q.do(func(time.Time) {
		e.all.from(from, func(m *message) bool {
			if session != nil && (m.session == nil || m.session.id != *session) {
				return true
			}
			d := m.delivery()
			if m.state == Locked {
				d.State = Active
				if m.deferred {
					d.State = Deferred
				}
			}
			out = append(out, d)
			size -= m.body.Size()
			return len(out) < n && size > 0
		})
	})
	return out
}
