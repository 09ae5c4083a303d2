// Package bus carries messages between stages. There is one bus over Azure Service Bus and one in memory.
package bus

import (
	"context"
	"time"

	"github.com/mailferry/mailferry/shared/migration"
)

// Letter is a message on its way: which queue, what, and not before when.
type Letter struct {
	Queue   migration.Queue
	Message migration.Message
	At      time.Time // zero: now
	Trace   Trace     // travels beside the message, and is no part of what the stages read
}

// Trace is a W3C trace context: the values of traceparent and tracestate, empty when there is none.
type Trace struct{ Parent, State string }

// Bus sends letters. It is safe for concurrent use.
type Bus interface {
	// Send hands letters over. When it returns nil they will be delivered at least once each, not before their time;
	// after an error any of them may be. A letter with a message ID that was sent shortly before is dropped. Letters
	// to the copy queue of one mailbox are delivered one at a time.
	Send(ctx context.Context, letters ...Letter) error
}
