package broker

import "time"

// Counts is how many messages stand where.
type Counts struct{ Active, Scheduled, Locked, DeadLettered, Deferred int }

// Counts counts.
func (q *Queue) Counts() (c Counts) {
	q.do(func(time.Time) {
		n := q.Main.counts
		c = Counts{n[Active], n[Scheduled], n[Locked], len(q.Dead.all.slots) - q.Dead.all.holes, n[Deferred]}
	})
	return c
}

// Look returns every message in order of sequence number, with the state Locked told apart.
func (e *Entity) Look() (out []Delivery) {
	e.q.do(func(time.Time) {
		e.all.from(0, func(m *message) bool {
			d := m.delivery()
			if len(m.locks) > 0 {
				d.Until = m.locks[0].until
			}
			out = append(out, d)
			return true
		})
	})
	return out
}

// LoseLock ends the locks of the messages with an id as if they had expired; where there are sessions, that of
// the session. It tells how many messages that were.
func (e *Entity) LoseLock(id string) (n int) {
	e.q.do(func(now time.Time) {
		for _, m := range e.withID(id) {
			if len(m.locks) == 0 {
				continue
			}
			n++
			if m.session != nil {
				e.loseSession(m.session, true, now)
			}
			for len(m.locks) > 0 {
				e.unlock(m.locks[0], true, now)
			}
		}
	})
	return n
}

func (e *Entity) withID(id string) (out []*message) {
	e.all.from(0, func(m *message) bool {
		if m.id == id {
			out = append(out, m)
		}
		return true
	})
	return out
}

// LoseSession ends a session's lock as if it had expired. With quiet its holder is not told, and finds out when
// it settles.
func (e *Entity) LoseSession(id string, quiet bool) (held bool) {
	e.q.do(func(now time.Time) {
		if s := e.sessions[id]; s != nil && s.by != nil {
			held = true
			e.loseSession(s, !quiet, now)
		}
	})
	return held
}

// DeliverTwice delivers messages with an id to a second receiver while the first holds its lock: at once if they
// are locked, else when they are delivered. Where there are sessions, the session passes quietly to the next
// receiver. It tells how many messages that were.
func (e *Entity) DeliverTwice(id string) (n int) {
	e.q.do(func(now time.Time) {
		for _, m := range e.withID(id) {
			n++
			switch {
			case m.session != nil && m.session.by != nil:
				e.loseSession(m.session, false, now)
			case m.session == nil && m.state == Locked:
				m.twice = true
				e.ghosts = append(e.ghosts, m)
			case m.session == nil:
				m.twice = true
			}
		}
	})
	return n
}
