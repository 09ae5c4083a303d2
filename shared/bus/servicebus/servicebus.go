// Package servicebus is bus.Bus over Azure Service Bus.
package servicebus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/migration"
)

// Bus sends to the queues of one namespace. The host's output bindings cannot set a session, a message ID or a time,
// so letters go through the client.
type Bus struct {
	client  *azservicebus.Client
	mu      sync.Mutex
	senders map[migration.Queue]*azservicebus.Sender
}

// New returns a bus over a client, which the caller closes.
func New(client *azservicebus.Client) *Bus {
	return &Bus{client: client, senders: map[migration.Queue]*azservicebus.Sender{}}
}

// Send implements bus.Bus.
func (b *Bus) Send(ctx context.Context, letters ...bus.Letter) error {
	byQueue := map[migration.Queue][]bus.Letter{}
	for _, l := range letters {
		byQueue[l.Queue] = append(byQueue[l.Queue], l)
	}
	for _, q := range migration.Queues {
		if err := b.send(ctx, q, byQueue[q]); err != nil {
			return fmt.Errorf("send to queue %s: %w", q, err)
		}
	}
	return nil
}

func (b *Bus) send(ctx context.Context, q migration.Queue, letters []bus.Letter) error {
	if len(letters) == 0 {
		return nil
	}
	s, err := b.sender(q)
	if err != nil {
		return err
	}
	if len(letters) == 1 {
		return s.SendMessage(ctx, message(letters[0]), nil)
	}
	for len(letters) > 0 {
		if letters, err = sendSome(ctx, s, letters); err != nil {
			return err
		}
	}
	return nil
}

// sendSome sends as many letters as one batch holds and returns the rest.
func sendSome(ctx context.Context, s *azservicebus.Sender, letters []bus.Letter) ([]bus.Letter, error) {
	batch, err := s.NewMessageBatch(ctx, nil)
	if err != nil {
		return nil, err
	}
	n := 0
	for ; n < len(letters); n++ {
		err := batch.AddMessage(message(letters[n]), nil)
		if errors.Is(err, azservicebus.ErrMessageTooLarge) && n > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return letters[n:], s.SendMessageBatch(ctx, batch, nil)
}

func message(l bus.Letter) *azservicebus.Message {
	id, kind := l.Message.ID(l.Queue), "application/json"
	m := &azservicebus.Message{Body: l.Message.Encode(), MessageID: &id, ContentType: &kind, ApplicationProperties: properties(l.Trace)}
	if l.Queue == migration.CopyQueue {
		session := string(l.Message.Mailbox)
		m.SessionID = &session
	}
	if !l.At.IsZero() {
		at := l.At.UTC()
		m.ScheduledEnqueueTime = &at
	}
	return m
}

// properties are the names under which the host and others look for a trace context.
func properties(t bus.Trace) map[string]any {
	p := map[string]any{}
	if t.Parent != "" {
		p["traceparent"] = t.Parent
	}
	if t.State != "" {
		p["tracestate"] = t.State
	}
	return p
}

func (b *Bus) sender(q migration.Queue) (*azservicebus.Sender, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s, ok := b.senders[q]; ok {
		return s, nil
	}
	s, err := b.client.NewSender(string(q), nil)
	if err == nil {
		b.senders[q] = s
	}
	return s, err
}
