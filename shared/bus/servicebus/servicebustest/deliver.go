package servicebustest

import (
	"time"

	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// Annotations the service sets on what it delivers. A sender's own of these names are dropped.
const (
	annLockToken = "x-opt-lock-token"
	annSequence  = "x-opt-sequence-number"
	annEnqueued  = "x-opt-enqueued-time"
	annLocked    = "x-opt-locked-until"
	annState     = "x-opt-message-state"
	annFirstSeq  = "x-opt-enqueue-sequence-number"
	annDeadFrom  = "x-opt-deadletter-source"
)

// deliver sends a message to the client.
func (l *link) deliver(d broker.Delivery) {
	if l.detached {
		return
	}
	l.use()
	tag := wire.GUID(d.Token)
	l.s.enqueue(&outgoing{l: l, token: d.Token, tag: tag[:], settled: !l.peekLock(), payload: d.Message.Append(nil, envelope(d))})
}

// envelope is what the service adds to a message.
func envelope(d broker.Delivery) wire.Envelope {
	e := wire.Envelope{DeliveryCount: d.Count}
	if d.TTL > 0 {
		ttl := uint32(min(d.TTL.Milliseconds(), wire.MaxTTL))
		e.TTL = &ttl
	}
	for _, p := range d.Message.Annotations {
		switch key(p.Key) {
		case annLockToken, annSequence, annEnqueued, annLocked, annState, annFirstSeq, annDeadFrom:
		default:
			e.Annotations = append(e.Annotations, p)
		}
	}
	add := func(name string, v any) {
		e.Annotations = append(e.Annotations, wire.Pair{Key: wire.Symbol(name), Value: v})
	}
	add(annEnqueued, timestamp(d.Enqueued))
	add(annSequence, d.Seq)
	add(annFirstSeq, int64(0)) // only forwarding sets it
	if !d.Until.IsZero() {
		add(annLocked, timestamp(d.Until))
	}
	add(annState, int32(d.State))
	return e
}

func timestamp(t time.Time) wire.Timestamp { return wire.Timestamp(t.UnixMilli()) }
