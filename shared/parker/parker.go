// Package parker takes messages off the dead-letter queues.
//
//	a message that can be read: mark its mailbox failed with what is known; when the mailbox has gone on since, send the
//	message of the step that it is at, which the one that died may not have come to
//	any other: keep its bytes in the reports, where a person finds them
//	either way: write a problem; then the message is done
//
// A dead letter is never the end: an operator sees it and sends the mailbox on with one command.
package parker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// Parker parks messages.
type Parker struct {
	Ledger  *ledger.Ledger
	Reports blob.Store
	Bus     bus.Bus
	Clock   clockwork.Clock
	Log     *slog.Logger
}

// Unreadable is the wave under which problems of messages stand that name none.
const Unreadable migration.WaveID = "unreadable"

// Letter is a dead letter.
type Letter struct {
	Queue       migration.Queue `json:"queue"`
	ID          string          `json:"id"` // the message ID
	Reason      string          `json:"reason"`
	Description string          `json:"description"`
	Deliveries  int             `json:"deliveries"`
	Seen        time.Time       `json:"seen"`
	Body        []byte          `json:"body"` // base64 in JSON
}

// Park records a dead letter.
func (p *Parker) Park(ctx context.Context, l Letter) error {
	m, err := migration.DecodeMessage(l.Body)
	if err != nil {
		return p.keep(ctx, l, "message cannot be read: "+err.Error())
	}
	why := fmt.Sprintf("%s gave up after %d deliveries (%s); look at the log of this mailbox, then retry it", l.Queue, l.Deliveries, l.Reason)
	box, err := p.Ledger.ChangeMailbox(ctx, m.Wave, m.Mailbox, func(b *migration.Mailbox) error {
		return fail(b, m, why, p.Clock.Now())
	})
	if errors.Is(err, ledger.ErrNotFound) || errors.Is(err, ledger.ErrCorrupt) {
		return p.keep(ctx, l, "message is about a mailbox that the ledger does not know, or whose row is damaged")
	}
	if err != nil {
		return fmt.Errorf("mark mailbox failed: %w", err)
	}
	if q, next, ok := box.Step(); ok && box.Pass == m.Pass && box.State != migration.Submitted {
		if err := p.Bus.Send(ctx, bus.Letter{Queue: q, Message: next}); err != nil {
			return fmt.Errorf("send what follows: %w", err)
		}
	}
	p.Log.Warn("parked", "queue", l.Queue, "wave", m.Wave, "mailbox", m.Mailbox, "pass", m.Pass, "shard", m.Shard,
		"deliveries", l.Deliveries, "reason", l.Reason)
	return p.problem(ctx, m.Wave, m.Mailbox, m.Pass, "parked-"+string(l.Queue), why)
}

// fail marks a mailbox failed if the message is about the pass it is in.
func fail(b *migration.Mailbox, m migration.Message, why string, now time.Time) error {
	if !b.Concerns(m) {
		return nil
	}
	b.Problem = why
	return b.To(migration.Failed, now)
}

// keep stores a letter that nobody can act on by itself. Its name comes from its content, so that twice is once.
func (p *Parker) keep(ctx context.Context, l Letter, why string) error {
	l.Seen = p.Clock.Now()
	body, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("write parked message: %w", err)
	}
	name := "parked/" + string(l.Queue) + "/" + mailbox.Fingerprint(l.ID, string(l.Body)) + ".json"
	if err := p.Reports.Put(ctx, name, bytes.NewReader(body)); err != nil && !errors.Is(err, blob.ErrExists) {
		return fmt.Errorf("store parked message: %w", err)
	}
	p.Log.Error("parked unreadable", "queue", l.Queue, "blob", name, "reason", why)
	return p.problem(ctx, Unreadable, "unknown", 0, mailbox.Fingerprint(name), why+"; its bytes are in reports/"+name)
}

func (p *Parker) problem(ctx context.Context, w migration.WaveID, m migration.MailboxID, pass int, about, what string) error {
	err := p.Ledger.Report(ctx, w, ledger.Problem{Mailbox: m, Pass: pass, About: about, Reason: "parked", Detail: what, Seen: p.Clock.Now()})
	if err != nil {
		return fmt.Errorf("report parked message: %w", err)
	}
	return nil
}
