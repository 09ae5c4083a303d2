package servicebustest

import (
	"strings"
	"sync"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
)

// Kind is what a client wants from a queue.
type Kind string

// Kinds of operations.
const (
	Attach Kind = "attach" // a link to send or receive
	Send   Kind = "send"   // a message or batch
	Settle Kind = "settle" // complete, abandon, defer, dead-letter, on the link
	Manage Kind = "manage" // a request to the management node
)

// Operation is what a fault may refuse.
type Operation struct {
	Kind      Kind
	Queue     string
	MessageID string // of Send; a batch's is that of its first message
	Request   string // of Manage, as com.microsoft:renew-lock
}

// busy says which operations to refuse.
type busy struct {
	mu   sync.Mutex
	next int
	when func(Operation) bool
}

// Busy refuses the next n operations of any kind with com.microsoft:server-busy.
func (s *Server) Busy(n int) {
	s.busy.mu.Lock()
	defer s.busy.mu.Unlock()
	s.busy.next = n
}

// BusyWhen refuses the operations that when picks, until it is replaced; nil ends it. It must not call the server.
func (s *Server) BusyWhen(when func(Operation) bool) {
	s.busy.mu.Lock()
	defer s.busy.mu.Unlock()
	s.busy.when = when
}

func (s *Server) isBusy(o Operation) *broker.Error {
	s.busy.mu.Lock()
	defer s.busy.mu.Unlock()
	switch {
	case s.busy.next > 0:
		s.busy.next--
	case s.busy.when == nil || !s.busy.when(o):
		return nil
	}
	return &broker.Error{Condition: broker.ServerBusy, Text: "The request was terminated because the entity is being throttled. Please wait 10 seconds and try again."}
}

// DropConnections cuts all connections, as a network does: without a word. It returns how many.
func (s *Server) DropConnections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.nc.Close()
	}
	return len(s.conns)
}

// DropConnection cuts the oldest connection and tells whether there was one.
func (s *Server) DropConnection() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) == 0 {
		return false
	}
	_ = s.conns[0].nc.Close()
	return true
}

// Connections is how many clients are connected.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// LoseLock ends the lock of messages as if it had expired: a failed delivery more, and deliverable again. Where
// there are sessions, the lock is the session's. It returns how many messages were locked. The queue may be a path
// to the dead-letter queue, as everywhere here.
func (s *Server) LoseLock(queue, messageID string) int {
	if e := s.entity(queue); e != nil {
		return e.LoseLock(messageID)
	}
	return 0
}

// LoseSession ends a session's lock as if it had expired; its receiver is detached. It tells whether it was held.
func (s *Server) LoseSession(queue, sessionID string) bool {
	e := s.entity(queue)
	return e != nil && e.LoseSession(sessionID, false)
}

// DeliverTwice gives messages to a second receiver while the first still believes to hold them: at once when they
// are locked, else as soon as they are. Whoever settles first wins, the other has lost its lock. Where there are
// sessions, the whole session passes to the next receiver, and the first finds out when it settles. It returns how
// many messages have the id.
func (s *Server) DeliverTwice(queue, messageID string) int {
	if e := s.entity(queue); e != nil {
		return e.DeliverTwice(messageID)
	}
	return 0
}

// entity finds a queue or, by its path, its dead-letter queue.
func (s *Server) entity(path string) *broker.Entity {
	n, ok := s.find(strings.TrimSpace(path))
	if !ok || n.manage {
		return nil
	}
	return n.entity
}
