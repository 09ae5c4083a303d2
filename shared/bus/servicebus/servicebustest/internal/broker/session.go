package broker

import (
	"container/list"
	"slices"
	"time"
)

type session struct {
	id      string
	ready   readyHeap
	total   int // messages in any state
	state   []byte
	changed time.Time // when the state was set
	by      *Consumer // who holds the lock
	until   time.Time
	locks   map[*lock]bool
	alarm   alarm
	place   *list.Element // among the offered
}

func (e *Entity) session(id string) *session {
	s := e.sessions[id]
	if s == nil {
		s = &session{id: id, locks: map[*lock]bool{}}
		s.alarm.ring = func(now time.Time) { e.loseSession(s, true, now) }
		e.sessions[id] = s
	}
	return s
}

// forget drops a session that nothing is known of any more.
func (e *Entity) forget(s *session) {
	if s.total == 0 && s.by == nil && len(s.state) == 0 {
		delete(e.sessions, s.id)
	}
}

// offer lets a session with ready messages be had, or delivers them to who has it.
func (e *Entity) offer(s *session, now time.Time) {
	if s.by != nil {
		e.pumpSession(s, now)
		return
	}
	if len(s.ready) == 0 || s.place != nil {
		return
	}
	s.place = e.offered.PushBack(s)
}

// match gives the sessions that can be had to who waits for the next one.
func (e *Entity) match(now time.Time) {
	for e.offered.Len() > 0 && e.waiting.Len() > 0 {
		c := e.waiting.Front().Value.(*Consumer)
		c.leave()
		e.grant(e.offered.Front().Value.(*session), c, now)
	}
}

// withdraw undoes offer when nothing is left to have.
func (e *Entity) withdraw(s *session) {
	if s.place != nil && (s.by != nil || len(s.ready) == 0) {
		e.offered.Remove(s.place)
		s.place = nil
	}
}

func (e *Entity) grant(s *session, c *Consumer, now time.Time) {
	s.by, s.until, c.session = c, now.Add(e.q.Lock), s
	e.withdraw(s)
	e.q.alarms.set(&s.alarm, s.until)
	c.sink.Granted(s.id, s.until)
	e.pumpSession(s, now)
}

// Accept makes a consumer of a session: of the one named, which nobody may hold, or, with a nil id, of the next
// that nobody holds and that has messages. For that it may wait; see [Consumer.GiveUp].
func (e *Entity) Accept(id *string, link string, peekLock bool, sink Sink) (c *Consumer, err *Error) {
	c = &Consumer{Link: link, PeekLock: peekLock, e: e, sink: sink}
	e.q.do(func(now time.Time) {
		if id == nil {
			c.waiting = true
			c.place = e.waiting.PushBack(c)
			return
		}
		if err = checkSessionID(*id); err != nil {
			return
		}
		if s := e.session(*id); s.by == nil {
			e.grant(s, c, now)
			return
		}
		err = refuse(SessionNotLocked, "The requested session cannot be accepted. It may be locked by another receiver.")
	})
	return c, err
}

// release takes the session from its holder. What was delivered and not settled comes back, as a failed delivery
// or not.
func (e *Entity) release(s *session, failed bool, now time.Time) {
	if s.by != nil {
		s.by.session = nil
	}
	s.by, s.until = nil, time.Time{}
	e.q.alarms.set(&s.alarm, time.Time{})
	locks := make([]*lock, 0, len(s.locks))
	for l := range s.locks {
		locks = append(locks, l)
	}
	slices.SortFunc(locks, func(a, b *lock) int { return int(a.m.seq - b.m.seq) })
	s.total++ // keeps it from being forgotten while its messages come back
	for _, l := range locks {
		e.unlock(l, failed, now)
	}
	s.total--
	e.offer(s, now)
	e.forget(s)
}

func (e *Entity) loseSession(s *session, tell bool, now time.Time) {
	c := s.by
	e.release(s, true, now)
	if c != nil && tell {
		c.sink.Lost(refuse(SessionLockLost, sessionLostText))
	}
}

// held finds a session for who holds its lock through the link named; "" is any link.
func (e *Entity) held(id, link string) (*session, *Error) {
	s := e.sessions[id]
	if s == nil || s.by == nil || (link != "" && s.by.Link != link) {
		return nil, refuse(SessionLockLost, sessionLostText)
	}
	return s, nil
}

// RenewSession prolongs a session's lock.
func (e *Entity) RenewSession(id, link string) (until time.Time, err *Error) {
	e.q.do(func(now time.Time) {
		var s *session
		if s, err = e.held(id, link); err != nil {
			return
		}
		s.until = now.Add(e.q.Lock)
		e.q.alarms.set(&s.alarm, s.until)
		for l := range s.locks {
			l.until = s.until
		}
		until = s.until
	})
	return until, err
}

// SessionState returns what was set, nil for nothing.
func (e *Entity) SessionState(id, link string) (state []byte, err *Error) {
	e.q.do(func(time.Time) {
		var s *session
		if s, err = e.held(id, link); err == nil {
			state = s.state
		}
	})
	return state, err
}

// SetSessionState keeps bytes with a session; none clears it.
func (e *Entity) SetSessionState(id, link string, state []byte) (err *Error) {
	e.q.do(func(now time.Time) {
		var s *session
		if s, err = e.held(id, link); err != nil {
			return
		}
		if e.q.MaxMessage > 0 && len(state) > e.q.MaxMessage {
			err = refuse(SizeExceeded, "The session state is too large.")
			return
		}
		more := int64(len(state) - len(s.state))
		if more > 0 && e.q.full(more) {
			err = refuse(QuotaExceeded, quotaText)
			return
		}
		e.q.bytes += more
		s.state, s.changed = slices.Clone(state), now
		if len(state) == 0 {
			s.state = nil
		}
	})
	return err
}

// SessionIDs lists sessions in order of their ids: with a zero time those that have messages or state, else those
// whose state was set after it.
func (e *Entity) SessionIDs(after time.Time) (ids []string) {
	e.q.do(func(time.Time) {
		for id, s := range e.sessions {
			if after.IsZero() && (s.total > 0 || len(s.state) > 0) || !after.IsZero() && s.changed.After(after) {
				ids = append(ids, id)
			}
		}
	})
	slices.Sort(ids)
	return ids
}
