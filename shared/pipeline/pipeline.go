// Package pipeline puts the stages together and says what a stage's return means:
//
//	nil       the message is done
//	snooze    the same message is sent again for later, its turn counted up; then it is done
//	cancel    the mailbox is marked failed with the reason; then the message is done
//	an error  the same message is sent again for later, with a growing wait; after ten failures the mailbox is marked failed
//
// The handler answers with an error only when not even that succeeds. The host would abandon a failed message and receive
// it again at once: ten failures within a second, and a passing outage has emptied the queue into the dead letters.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/semaphore"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/copier"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/planner"
	"github.com/mailferry/mailferry/shared/receipt"
	"github.com/mailferry/mailferry/shared/reporter"
	"github.com/mailferry/mailferry/shared/starter"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/telemetry"
	"github.com/mailferry/mailferry/shared/verifier"
)

// Needs are what the stages stand on. Whoever fills them in decides where things are kept.
type Needs struct {
	Sources   mailbox.Sources
	Targets   mailbox.Targets
	Ledger    *ledger.Ledger
	Manifests blob.Store
	Staging   blob.Store
	Reports   blob.Store
	Receipts  blob.Store
	Key       receipt.SigningKey // signs receipts; none: there are none
	Release   string             // Mailferry's version, for receipts
	Bus       bus.Bus
	Clock     clockwork.Clock
	Log       *slog.Logger
	Telemetry *telemetry.Telemetry // nil: none
	NewID     func() string        // lower-case letters and digits, never the same twice
	Depth     verifier.Depth
	Memory    int64         // bytes of items in memory at once, at least mailbox.Large
	Budget    time.Duration // how long one delivery may copy, or compare contents
	Doubt     time.Duration // how long a lost import may still be carried out
}

// Pipeline is the stages.
type Pipeline struct {
	Needs
	Submitter *submitter.Submitter
	Starter   *starter.Starter
	Planner   *planner.Planner
	Copier    *copier.Copier
	Verifier  *verifier.Verifier
	Parker    *parker.Parker
	Operator  *operator.Operator
	Reporter  *reporter.Reporter
}

// New puts the stages together.
func New(n Needs) *Pipeline {
	n = n.measured()
	return &Pipeline{
		Needs:     n,
		Submitter: &submitter.Submitter{Ledger: n.Ledger, Clock: n.Clock, NewID: n.NewID},
		Starter:   &starter.Starter{Ledger: n.Ledger, Bus: n.Bus, Clock: n.Clock, Log: n.Log},
		Planner: &planner.Planner{Sources: n.Sources, Targets: n.Targets, Ledger: n.Ledger, Manifests: n.Manifests, Bus: n.Bus,
			Clock: n.Clock, Log: n.Log, NewID: n.NewID, Doubt: n.Doubt},
		Copier: &copier.Copier{Sources: n.Sources, Targets: n.Targets, Ledger: n.Ledger, Manifests: n.Manifests, Staging: n.Staging,
			Bus: n.Bus, Clock: n.Clock, Log: n.Log, NewID: n.NewID, Memory: semaphore.NewWeighted(max(n.Memory, mailbox.Large)),
			Budget: n.Budget, Doubt: n.Doubt},
		Verifier: &verifier.Verifier{Sources: n.Sources, Targets: n.Targets, Ledger: n.Ledger, Manifests: n.Manifests, Bus: n.Bus,
			Clock: n.Clock, Log: n.Log, Depth: n.Depth, Receipts: n.Receipts, Key: n.Key, Release: n.Release, NewID: n.NewID, Budget: n.Budget},
		Operator: &operator.Operator{Ledger: n.Ledger, Bus: n.Bus, Clock: n.Clock, Log: n.Log},
		Parker:   &parker.Parker{Ledger: n.Ledger, Reports: n.Reports, Bus: n.Bus, Clock: n.Clock, Log: n.Log},
		Reporter: &reporter.Reporter{Ledger: n.Ledger, Reports: n.Reports},
	}
}

// Deliver does what a message of a queue asks for.
func (p *Pipeline) Deliver(ctx context.Context, q migration.Queue, body []byte) error {
	m, err := migration.DecodeMessage(body)
	if err != nil {
		return fmt.Errorf("read message of queue %s: %w", q, err)
	}
	ctx, d := p.Telemetry.Begin(ctx, q, m)
	var cause error
	broken := true // also when a stage panics
	defer func() { p.delivered(ctx, d, m, cause, broken) }()
	cause = p.stage(ctx, q, m)
	err = p.follow(ctx, q, m, cause)
	broken = err != nil
	return err
}

// follow does what the stage's return means.
func (p *Pipeline) follow(ctx context.Context, q migration.Queue, m migration.Message, err error) error {
	if at, ok := outcome.Snoozed(err); ok {
		p.Log.Info("snoozed", "queue", q, "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard,
			"turn", m.Turn, "until", at.UTC(), "reason", err.Error())
		if err := p.Bus.Send(ctx, bus.Letter{Queue: q, Message: m.Again(), At: at}); err != nil {
			return fmt.Errorf("send message again: %w", err)
		}
		p.waits(ctx, m, migration.Wait{Until: at, Why: outcome.Why(err)})
		return nil
	}
	if outcome.Cancelled(err) || err != nil && m.Failures+1 >= maxFailures {
		return p.fail(ctx, q, m, err)
	}
	if err != nil {
		return p.later(ctx, q, m, err)
	}
	return nil
}

// A message that fails waits 5 s, 10 s, … up to ten minutes, half an hour in all.
const (
	maxFailures = 10
	firstWait   = 5 * time.Second
	longestWait = 10 * time.Minute
)

// later sends a message that failed again.
func (p *Pipeline) later(ctx context.Context, q migration.Queue, m migration.Message, cause error) error {
	wait := min(firstWait<<m.Failures, longestWait)
	p.Log.Warn("failed", "queue", q, "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard,
		"failures", m.Failures+1, "wait", wait.Seconds(), "reason", cause.Error())
	if err := p.Bus.Send(ctx, bus.Letter{Queue: q, Message: m.Failed(), At: p.Clock.Now().Add(wait)}); err != nil {
		return errors.Join(cause, fmt.Errorf("send message again: %w", err))
	}
	p.waits(ctx, m, migration.Wait{Until: p.Clock.Now().Add(wait), Why: fmt.Sprintf("failed %d times: %s", m.Failures+1, cause)})
	return nil
}

// worthTelling is how long a wait must be for people to be told of it.
const worthTelling = 5 * time.Second

// waits tells people why nothing happens for a while. Nothing depends on it.
func (p *Pipeline) waits(ctx context.Context, m migration.Message, w migration.Wait) {
	if w.Until.Sub(p.Clock.Now()) < worthTelling {
		return
	}
	_, err := p.Ledger.ChangeMailbox(ctx, m.Wave, m.Mailbox, func(b *migration.Mailbox) error {
		if b.Concerns(m) {
			b.Wait = w
		}
		return nil
	})
	if err != nil {
		p.Log.Debug("wait not told", "wave", m.Wave, "mailbox", m.Mailbox, "reason", err.Error())
	}
}

func (p *Pipeline) stage(ctx context.Context, q migration.Queue, m migration.Message) error {
	switch q {
	case migration.PlanQueue:
		return p.Planner.Plan(ctx, m)
	case migration.CopyQueue:
		return p.Copier.Copy(ctx, m)
	case migration.VerifyQueue:
		if err := p.Verifier.Verify(ctx, m); err != nil {
			return err
		}
		return p.Reporter.Report(ctx, m.Wave, m.Mailbox)
	}
	return fmt.Errorf("no stage reads queue %s", q)
}

// fail marks the mailbox failed.
func (p *Pipeline) fail(ctx context.Context, q migration.Queue, m migration.Message, cause error) error {
	why := cause.Error()
	if what := mailbox.Advice(cause); what != "" {
		why += "; " + what
	}
	p.Log.Warn("mailbox failed", "queue", q, "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "reason", cause.Error())
	_, err := p.Ledger.ChangeMailbox(ctx, m.Wave, m.Mailbox, func(b *migration.Mailbox) error {
		if !b.Concerns(m) {
			return nil
		}
		b.Problem = why
		return b.To(migration.Failed, p.Clock.Now())
	})
	if err != nil {
		return fmt.Errorf("mark mailbox failed: %w", errors.Join(err, cause))
	}
	err = p.Ledger.Report(ctx, m.Wave, ledger.Problem{Mailbox: m.Mailbox, Pass: m.Pass, About: "failed-" + string(q),
		Reason: "mailbox failed", Detail: why, Seen: p.Clock.Now()})
	if err != nil {
		return fmt.Errorf("report failed mailbox: %w", err)
	}
	return p.Reporter.Report(ctx, m.Wave, m.Mailbox)
}
