package servicebustest

import (
	"bytes"
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Counts is how many messages of a queue stand where; each message counts once. The service's own
// activeMessageCount, which its scaling goes by, is Active + Locked + Deferred.
type Counts = broker.Counts

// State is where a message stands.
type State string

// States.
const (
	StateActive    State = "active"
	StateDeferred  State = "deferred"
	StateScheduled State = "scheduled"
	StateLocked    State = "locked"
)

// Message is a message as it stands in a queue.
type Message struct {
	ID                  string
	SessionID           string
	Subject             string
	ContentType         string
	CorrelationID       string
	Body                []byte // all data sections, nil for a body of another kind
	Properties          map[string]any
	Reason, Description string // in a dead-letter queue
	State               State
	DeliveryCount       int // failed deliveries
	SequenceNumber      int64
	Enqueued            time.Time
	Scheduled           time.Time // zero when it was not
	Expires             time.Time // zero for never
	LockedUntil         time.Time // zero when not locked
}

// Counts counts a queue's messages, zero for a queue that is not there.
func (s *Server) Counts(queue string) Counts {
	if e := s.entity(queue); e != nil {
		return e.Queue().Counts()
	}
	return Counts{}
}

// Messages returns a queue's messages in order of their sequence numbers, or those of its dead-letter queue by the
// path queue/$DeadLetterQueue; nil for a queue that is not there.
func (s *Server) Messages(queue string) []Message {
	e := s.entity(queue)
	if e == nil {
		return nil
	}
	var out []Message
	for _, d := range e.Look() {
		out = append(out, newMessage(d))
	}
	return out
}

func newMessage(d broker.Delivery) Message {
	p := d.Message.Properties
	m := Message{ID: broker.IDText(p.MessageID), Subject: p.Subject, ContentType: p.ContentType,
		CorrelationID: broker.IDText(p.CorrelationID), State: stateOf(d.State), DeliveryCount: int(d.Count),
		SequenceNumber: d.Seq, Enqueued: d.Enqueued, Scheduled: d.Due, Expires: d.Expires, LockedUntil: d.Until}
	if p.GroupID != nil {
		m.SessionID = *p.GroupID
	}
	if data := d.Message.Data(); data != nil {
		m.Body = bytes.Join(data, nil)
	}
	for _, pair := range d.Message.ApplicationProperties() {
		if m.Properties == nil {
			m.Properties = map[string]any{}
		}
		m.Properties[key(pair.Key)] = plain(pair.Value)
	}
	m.Reason, _ = m.Properties["DeadLetterReason"].(string)
	m.Description, _ = m.Properties["DeadLetterErrorDescription"].(string)
	return m
}

// plain makes a wire value one that a test can compare with.
func plain(v any) any {
	switch v := v.(type) {
	case wire.Timestamp:
		return time.UnixMilli(int64(v)).UTC()
	case wire.Symbol:
		return string(v)
	case wire.UUID:
		return [16]byte(v)
	case wire.Char:
		return rune(v)
	}
	return v
}

func stateOf(s broker.State) State {
	switch s {
	case broker.Deferred:
		return StateDeferred
	case broker.Scheduled:
		return StateScheduled
	case broker.Locked:
		return StateLocked
	}
	return StateActive
}
