package pipeline

import (
	"cmp"
	"context"

	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/telemetry"
)

// measured puts what counts and traces around what the stages stand on.
func (n Needs) measured() Needs {
	n.Telemetry = cmp.Or(n.Telemetry, telemetry.None(n.Clock))
	n.Sources, n.Targets, n.Bus = telemetry.Sources(n.Sources), telemetry.Targets(n.Targets), telemetry.Bus(n.Bus)
	return n
}

// delivered ends a delivery and logs what it came to. cause is what the stage returned; broken says that what follows
// from it could not be done.
func (p *Pipeline) delivered(ctx context.Context, d *telemetry.Delivery, m migration.Message, cause error, broken bool) {
	reason := ""
	if cause != nil {
		reason = cause.Error()
	}
	o := outcomeOf(m, cause, broken)
	p.line(ctx, d, m, o, reason)
	if o != telemetry.Snoozed && o != telemetry.Retried && (d.Queue == migration.VerifyQueue || o != telemetry.Done) {
		p.ended(ctx, d, m.Wave, m.Mailbox)
	}
}

// line ends a delivery with its one line.
func (p *Pipeline) line(ctx context.Context, d *telemetry.Delivery, m migration.Message, o telemetry.Outcome, reason string) {
	s := d.End(ctx, o, reason)
	p.Log.Info("delivered", "queue", d.Queue, "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard,
		"turn", m.Turn, "failures", m.Failures, "outcome", o, "seconds", s.Seconds, "waitedSeconds", s.Waited, "items", s.Items,
		"bytes", s.Bytes, "sourceRequests", s.Source, "targetRequests", s.Target, "throttledSeconds", s.Throttled,
		"reason", reason, "trace", s.Trace)
}

func outcomeOf(m migration.Message, cause error, broken bool) telemetry.Outcome {
	_, snoozed := outcome.Snoozed(cause)
	switch {
	case broken:
		return telemetry.Broken
	case cause == nil:
		return telemetry.Done
	case snoozed:
		return telemetry.Snoozed
	case outcome.Cancelled(cause):
		return telemetry.Cancelled
	case m.Failures+1 >= maxFailures:
		return telemetry.GaveUp
	}
	return telemetry.Retried
}

// ended tells of a mailbox that came to its end in this delivery.
func (p *Pipeline) ended(ctx context.Context, d *telemetry.Delivery, w migration.WaveID, m migration.MailboxID) {
	box, err := p.Ledger.Mailbox(ctx, w, m)
	if err != nil || !box.State.Over() || box.Finished.Before(d.Began) {
		return // when the ledger cannot be read, the trace has no root, and nothing else is lost
	}
	p.Telemetry.Ended(ctx, box)
}

// Park records a dead letter.
func (p *Pipeline) Park(ctx context.Context, l parker.Letter) error {
	m, err := migration.DecodeMessage(l.Body)
	if err != nil {
		return p.Parker.Park(ctx, l)
	}
	ctx, d := p.Telemetry.Begin(ctx, l.Queue+"/parked", m)
	err = p.Parker.Park(ctx, l)
	o := telemetry.Done
	if err != nil {
		o = telemetry.Broken
	}
	p.line(ctx, d, m, o, l.Reason)
	p.ended(ctx, d, m.Wave, m.Mailbox)
	return err
}
