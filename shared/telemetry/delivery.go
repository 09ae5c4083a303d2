package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/mailferry/mailferry/shared/migration"
)

// Delivery is the work on one message.
type Delivery struct {
	Queue migration.Queue
	Began time.Time

	t      *Telemetry
	span   trace.Span
	tally  *Tally
	waited time.Duration
}

// Summary is what one delivery came to.
type Summary struct {
	Seconds, Waited float64 // at work; between the message's due time and the delivery
	Items           int     // that the target took
	Bytes           int64
	Source, Target  int     // HTTP requests
	Throttled       float64 // seconds in which a side wanted no requests, both sides added
	Trace           string  // ID of the mailbox's trace
}

// Outcome is how a delivery ended.
type Outcome string

// The outcomes.
const (
	Done      Outcome = "done"      // what the message asked for
	Snoozed   Outcome = "snoozed"   // the message was sent again for later
	Retried   Outcome = "retried"   // it failed, and was sent again
	Cancelled Outcome = "cancelled" // a person must act: the mailbox is marked failed
	GaveUp    Outcome = "gave up"   // it failed too often: the mailbox is marked failed
	Broken    Outcome = "broken"    // not even that was possible; the host delivers the message again
)

// Begin starts a delivery. Everything that is done in the returned context is part of it. End must be called.
func (t *Telemetry) Begin(ctx context.Context, q migration.Queue, m migration.Message) (context.Context, *Delivery) {
	d := &Delivery{Queue: q, Began: t.clock.Now(), t: t}
	a := arrivalOf(ctx)
	if !a.enqueued.IsZero() {
		d.waited = max(d.Began.Sub(a.enqueued), 0)
	}
	parent := parentOf(a, m)
	links := linksTo(trace.SpanContextFromContext(ctx), beganBy(parent.TraceState()))
	ctx, d.span = t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), string(q), trace.WithTimestamp(d.Began),
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("messaging.system", "servicebus"), attribute.String("messaging.destination.name", string(q)),
			attribute.String("mailferry.wave", string(m.Wave)), attribute.String("mailferry.mailbox", string(m.Mailbox)),
			attribute.Int("mailferry.pass", m.Pass), attribute.Int("mailferry.shard", m.Shard), attribute.Int("mailferry.turn", m.Turn)))
	ctx, d.tally = WithTally(ctx, t.clock)
	return ctx, d
}

// linksTo leaves out what is no span.
func linksTo(spans ...trace.SpanContext) []trace.Link {
	var out []trace.Link
	for _, sc := range spans {
		if sc.IsValid() {
			out = append(out, trace.Link{SpanContext: sc})
		}
	}
	return out
}

// End counts the delivery, ends its span and returns what it came to. ctx is the one that Begin returned.
func (d *Delivery) End(ctx context.Context, o Outcome, reason string) Summary {
	now := d.t.clock.Now()
	s := Summary{Seconds: now.Sub(d.Began).Seconds(), Waited: d.waited.Seconds(), Trace: d.span.SpanContext().TraceID().String()}
	s.Items, s.Bytes = d.tally.Imported()
	source, target := d.tally.Of(Source), d.tally.Of(Target)
	s.Source, s.Target, s.Throttled = source.Requests, target.Requests, (source.Throttled + target.Throttled).Seconds()
	d.span.SetAttributes(attribute.String("mailferry.outcome", string(o)), attribute.Int("mailferry.items", s.Items),
		attribute.Int64("mailferry.bytes", s.Bytes), attribute.Int("mailferry.source.requests", s.Source),
		attribute.Int("mailferry.target.requests", s.Target), attribute.Float64("mailferry.throttled", s.Throttled))
	if reason != "" {
		d.span.SetAttributes(attribute.String("mailferry.reason", reason))
	}
	if o != Done && o != Snoozed {
		d.span.SetStatus(codes.Error, string(o))
	}
	d.span.End(trace.WithTimestamp(now))
	d.count(ctx, o, s)
	for side, c := range map[Side]Counts{Source: source, Target: target} {
		of := metric.WithAttributes(attribute.String("side", string(side)))
		d.t.requests.Add(ctx, int64(c.Requests), of)
		d.t.throttled.Add(ctx, c.Throttled.Seconds(), of)
	}
	return s
}

func (d *Delivery) count(ctx context.Context, o Outcome, s Summary) {
	of := metric.WithAttributes(attribute.String("queue", string(d.Queue)), attribute.String("outcome", string(o)))
	d.t.deliveries.Add(ctx, 1, of)
	d.t.seconds.Record(ctx, s.Seconds, of)
	d.t.waited.Record(ctx, s.Waited, metric.WithAttributes(attribute.String("queue", string(d.Queue))))
	d.t.items.Add(ctx, int64(s.Items))
	d.t.bytes.Add(ctx, s.Bytes)
}

// Ended counts a mailbox that came to an end and makes the root span of its trace, from its submission on.
func (t *Telemetry) Ended(ctx context.Context, b migration.Mailbox) {
	t.mailboxes.Add(ctx, 1, metric.WithAttributes(attribute.String("state", string(b.State))))
	links := linksTo(beganBy(trace.SpanContextFromContext(ctx).TraceState()))
	ctx = context.WithValue(ctx, rootKey{}, root(b.Wave, b.ID, b.Epoch))
	_, span := t.tracer.Start(ctx, "mailbox", trace.WithNewRoot(), trace.WithTimestamp(b.Submitted), trace.WithLinks(links...),
		trace.WithAttributes(attribute.String("mailferry.wave", string(b.Wave)), attribute.String("mailferry.mailbox", string(b.ID)),
			attribute.String("mailferry.state", string(b.State)), attribute.Int("mailferry.passes", b.Pass),
			attribute.Int("mailferry.items", b.Copied), attribute.Int64("mailferry.bytes", b.Bytes)))
	if b.State == migration.Failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(b.Finished))
}

// Span makes a span of what f does, below the host's span of the invocation. name must not hold anything but the
// function's or route's.
func (t *Telemetry) Span(ctx context.Context, name string, f func(context.Context) error) error {
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(t.clock.Now()))
	err := f(ctx)
	if err != nil {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(t.clock.Now()))
	return err
}
