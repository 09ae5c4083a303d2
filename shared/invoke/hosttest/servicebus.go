package hosttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
)

const (
	// settleLimit bounds one settlement. The client would retry for half a minute on a lost lock; after the
	// limit the outcome is unknown, and the message comes again or not.
	settleLimit = 5 * time.Second
	// retryReceive is the pause after a failed receive.
	retryReceive = time.Second
)

// listener receives the messages of one function for one instance.
type listener struct {
	host   *Host
	f      *function
	w      *worker
	client *azservicebus.Client
	name   string // of the namespace
	id     string // of the client
}

// receiver is what a queue and a session have in common.
type receiver interface {
	ReceiveMessages(ctx context.Context, n int, o *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	CompleteMessage(ctx context.Context, m *azservicebus.ReceivedMessage, o *azservicebus.CompleteMessageOptions) error
	AbandonMessage(ctx context.Context, m *azservicebus.ReceivedMessage, o *azservicebus.AbandonMessageOptions) error
}

// listen receives until ctx ends, and returns when every message under way is settled.
func (h *Host) listen(ctx context.Context, f *function, w *worker) error {
	connection, err := f.connection(h.config.Env)
	if err != nil {
		return err
	}
	client, err := azservicebus.NewClientFromConnectionString(connection, nil)
	if err != nil {
		return fmt.Errorf("connect for function %s: %w", f.name, err)
	}
	name := namespace(connection)
	l := &listener{h, f, w, client, name, name + "-" + uuid.NewString()}
	run := l.queue
	if f.trigger.IsSessionsEnabled {
		run = l.sessions
	}
	run(ctx)
	end, cancel := machineTimeout(ctx, settleLimit)
	defer cancel()
	return client.Close(end)
}

// namespace is the host that a connection string names.
func namespace(connection string) string {
	for part := range strings.SplitSeq(connection, ";") {
		name, v, _ := strings.Cut(part, "=")
		if u, err := url.Parse(v); strings.EqualFold(name, "Endpoint") && err == nil {
			return u.Hostname()
		}
	}
	return ""
}

// trouble logs an error of the service and waits before the next attempt.
func (l *listener) trouble(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	l.host.note(slog.LevelError, "Host.Triggers.ServiceBus", what, slog.String("function", l.f.name), slog.Any("error", err))
	select {
	case <-ctx.Done():
	case <-clockwork.NewRealClock().After(retryReceive):
	}
}

// queue dispatches the messages of a queue without sessions, maxConcurrentCalls at once.
func (l *listener) queue(ctx context.Context) {
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, l.host.options.bus.calls)
	var r *azservicebus.Receiver
	for ctx.Err() == nil {
		if r == nil {
			var err error
			if r, err = l.client.NewReceiverForQueue(l.f.trigger.QueueName, nil); err != nil {
				l.trouble(ctx, "open receiver", err)
				continue
			}
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		messages, err := r.ReceiveMessages(ctx, 1, nil)
		if err != nil {
			l.trouble(ctx, "receive", err)
		}
		if len(messages) == 0 {
			<-slots
			continue
		}
		if ctx.Err() != nil {
			l.putBack(r, messages[0])
			return
		}
		calls.Go(func() {
			defer func() { <-slots }()
			l.dispatchRenewing(r, messages[0])
		})
	}
}

// dispatchRenewing keeps the message locked while its function runs.
func (l *listener) dispatchRenewing(r *azservicebus.Receiver, m *azservicebus.ReceivedMessage) {
	ctx, cancel := context.WithCancel(l.host.ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() {
		l.renew(ctx, func() time.Time { return *m.LockedUntil }, func(ctx context.Context) error { return r.RenewMessageLock(ctx, m, nil) })
	})
	l.dispatch(r, m, nil, func() { cancel(); renewal.Wait() })
	cancel()
}

// renew renews a lock shortly before it ends, until ctx ends or maxAutoLockRenewalDuration is over.
func (l *listener) renew(ctx context.Context, until func() time.Time, renew func(context.Context) error) {
	clock := l.host.clock
	var over <-chan time.Time
	if d := l.host.options.bus.renewal; d >= 0 {
		t := clock.NewTimer(d)
		defer t.Stop()
		over = t.Chan()
	}
	for {
		t := clock.NewTimer(renewDelay(clock.Until(until())))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-over:
			t.Stop()
			return
		case <-t.Chan():
		}
		end, cancel := machineTimeout(ctx, settleLimit)
		err := renew(end)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.host.note(slog.LevelWarn, "Host.Triggers.ServiceBus", "renew lock", slog.String("function", l.f.name), slog.Any("error", err))
			return
		}
	}
}

// renewDelay leaves ten seconds for the renewal, or half of what remains when that is less.
func renewDelay(remaining time.Duration) time.Duration {
	if remaining < 400*time.Millisecond {
		return 0
	}
	return remaining - min(remaining/2, 10*time.Second)
}

// sessions holds up to maxConcurrentSessions sessions at once.
func (l *listener) sessions(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for range l.host.options.bus.sessions {
		all.Go(func() {
			for ctx.Err() == nil {
				l.nextSession(ctx)
			}
		})
	}
}

// session is a session that this host holds. The client's own LockedUntil must not be read during a renewal.
type session struct {
	*azservicebus.SessionReceiver
	until atomic.Pointer[time.Time]
}

func (s *session) lockedUntil() time.Time { return *s.until.Load() }

func (s *session) renew(ctx context.Context) error {
	err := s.RenewSessionLock(ctx, nil)
	s.until.Store(ptr(s.LockedUntil()))
	return err
}

// nextSession waits for a session with messages and works on it until it has been idle. That there is none is
// no error.
func (l *listener) nextSession(ctx context.Context) {
	r, err := l.client.AcceptNextSessionForQueue(ctx, l.f.trigger.QueueName, nil)
	var sb *azservicebus.Error
	if errors.As(err, &sb) && sb.Code == azservicebus.CodeTimeout {
		return
	}
	if err != nil {
		l.trouble(ctx, "accept session", err)
		return
	}
	s := &session{SessionReceiver: r}
	s.until.Store(ptr(r.LockedUntil()))
	held, release := context.WithCancel(l.host.ctx)
	var renewal sync.WaitGroup
	renewal.Go(func() {
		l.renew(held, s.lockedUntil, s.renew)
	})
	l.work(ctx, s)
	release()
	renewal.Wait()
	end, cancel := machineTimeout(ctx, settleLimit)
	defer cancel()
	if err := s.Close(end); err != nil {
		l.host.note(slog.LevelWarn, "Host.Triggers.ServiceBus", "close session", slog.String("function", l.f.name), slog.Any("error", err))
	}
}

// work dispatches a session's messages, maxConcurrentCallsPerSession at once, until there has been none
// for sessionIdleTimeout or the lock is lost.
func (l *listener) work(ctx context.Context, s *session) {
	var calls sync.WaitGroup
	defer calls.Wait()
	slots := make(chan struct{}, l.host.options.bus.callsPerSession)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		m, err := l.receiveIdle(ctx, s)
		if err != nil && ctx.Err() == nil {
			l.host.note(slog.LevelWarn, "Host.Triggers.ServiceBus", "receive from session", slog.String("function", l.f.name), slog.Any("error", err))
		}
		if m == nil {
			return
		}
		if ctx.Err() != nil {
			l.putBack(s, m)
			return
		}
		calls.Go(func() {
			defer func() { <-slots }()
			l.dispatch(s, m, s, func() {})
		})
	}
}

// putBack abandons a message that came when the triggers had stopped already: a client that is told to stop may still have
// one.
func (l *listener) putBack(r receiver, m *azservicebus.ReceivedMessage) {
	ctx, cancel := machineTimeout(l.host.ctx, settleLimit)
	defer cancel()
	if err := r.AbandonMessage(ctx, m, nil); err != nil {
		l.host.note(slog.LevelWarn, "Host.Triggers.ServiceBus", "abandon message: outcome unknown", slog.String("function", l.f.name), slog.Any("error", err))
	}
}

// receiveIdle returns the next message, or nil after sessionIdleTimeout without one.
func (l *listener) receiveIdle(ctx context.Context, s *session) (*azservicebus.ReceivedMessage, error) {
	ctx, cancel := context.WithCancel(ctx) // no deadline: the client would read one by the machine's clock
	defer cancel()
	idle := l.host.clock.AfterFunc(l.host.options.bus.sessionIdle, cancel)
	defer idle.Stop()
	messages, err := s.ReceiveMessages(ctx, 1, nil)
	if len(messages) > 0 {
		return messages[0], nil
	}
	if ctx.Err() != nil {
		err = nil
	}
	return nil, err
}

// dispatch calls the function with m and settles m by the outcome: complete, or abandon at once and without
// delay. release is called before, when the lock need not be renewed any more.
func (l *listener) dispatch(r receiver, m *azservicebus.ReceivedMessage, s *session, release func()) {
	h, f := l.host, l.f
	inv := invocation{f: f, trace: parentOf(m), details: details(m)}
	var value any = m.Body
	if !f.binary() {
		value = string(m.Body)
	}
	_, err := l.w.invoke(h.ctx, inv, h.newEnvelope(f, value, l.metadata(m, s)))
	release()
	ctx, cancel := machineTimeout(h.ctx, settleLimit)
	defer cancel()
	auto := h.options.bus.autoComplete
	if v := f.trigger.AutoCompleteMessages; v != nil {
		auto = *v
	}
	what := "complete message"
	switch {
	case err != nil || f.counts.take(func(f Fault) bool { return f.Twice }):
		what = "abandon message"
		err = r.AbandonMessage(ctx, m, nil)
	case auto:
		err = r.CompleteMessage(ctx, m, nil)
	}
	if err != nil {
		h.note(slog.LevelWarn, "Host.Triggers.ServiceBus", what+": outcome unknown", slog.String("function", f.name), slog.Any("error", err))
	}
}

func parentOf(m *azservicebus.ReceivedMessage) string {
	for _, key := range []string{"traceparent", "Diagnostic-Id"} {
		if s, ok := m.ApplicationProperties[key].(string); ok {
			return s
		}
	}
	return ""
}

func details(m *azservicebus.ReceivedMessage) string {
	s := fmt.Sprintf("MessageId: %s, SequenceNumber: %d, DeliveryCount: %d", m.MessageID, value(m.SequenceNumber), m.DeliveryCount)
	if m.SessionID != nil {
		s += ", SessionId: " + *m.SessionID
	}
	return s
}

func ptr[T any](v T) *T { return &v }

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// metadata is what the host tells about a message. What the sender did not set is missing.
func (l *listener) metadata(m *azservicebus.ReceivedMessage, s *session) object {
	token, _ := uuid.FromBytes(m.LockToken[:])
	expires := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	if m.ExpiresAt != nil {
		expires = *m.ExpiresAt
	}
	o := object{
		"MessageReceiver": object{}, "MessageActions": object{}, "ReceiveActions": object{},
		"Client":        object{"FullyQualifiedNamespace": l.name, "IsClosed": false, "TransportType": 0, "Identifier": l.id},
		"DeliveryCount": m.DeliveryCount, "LockToken": token.String(),
		"ExpiresAtUtc": utc(expires), "ExpiresAt": expires,
		"ApplicationProperties": properties(m), "UserProperties": properties(m),
	}
	if m.MessageID != "" {
		o["MessageId"] = m.MessageID
	}
	if m.SequenceNumber != nil {
		o["SequenceNumber"] = *m.SequenceNumber
	}
	if m.EnqueuedTime != nil {
		o["EnqueuedTimeUtc"], o["EnqueuedTime"] = utc(*m.EnqueuedTime), *m.EnqueuedTime
	}
	for name, v := range map[string]*string{
		"ContentType": m.ContentType, "SessionId": m.SessionID, "CorrelationId": m.CorrelationID,
		"Subject": m.Subject, "Label": m.Subject, "ReplyTo": m.ReplyTo, "ReplyToSessionId": m.ReplyToSessionID,
		"To": m.To, "PartitionKey": m.PartitionKey, "DeadLetterSource": m.DeadLetterSource,
	} {
		if v != nil {
			o[name] = *v
		}
	}
	if s != nil {
		o["MessageSession"], o["SessionActions"] = object{}, object{"SessionLockedUntil": stamp(s.lockedUntil())}
	}
	return o
}

// properties are the sender's, with the types JSON has.
func properties(m *azservicebus.ReceivedMessage) object {
	o := object{}
	for k, v := range m.ApplicationProperties {
		switch v := v.(type) {
		case time.Time:
			o[k] = stamp(v)
		case fmt.Stringer: // a UUID
			o[k] = v.String()
		default:
			o[k] = v
		}
	}
	return o
}
