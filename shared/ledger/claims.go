package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/migration"
)

// claim says that a wave has an address in work.
type claim struct {
	Wave    migration.WaveID    `json:"wave"`
	Mailbox migration.MailboxID `json:"mailbox"`
}

// Claimed is the error of a claim that another wave holds.
type Claimed struct {
	Side string // "source" or "target"
	Wave migration.WaveID
}

func (c *Claimed) Error() string {
	return fmt.Sprintf("%s mailbox is already in the active wave %s", c.Side, c.Wave)
}

// Claim reserves a mailbox's source and target for its wave, until the mailbox is over. It is a *Claimed when another
// wave has one of them in work. Claiming again for the same wave is no error.
func (l *Ledger) Claim(ctx context.Context, m migration.Mailbox) error {
	for _, s := range sides(m) {
		if err := l.claim(ctx, claimRow(s[0], s[1]), s[0], m); err != nil {
			return err
		}
	}
	return nil
}

// sides are the two addresses of a mailbox in the order in which they are claimed and reported.
func sides(m migration.Mailbox) [2][2]string {
	return [2][2]string{{"source", m.Source}, {"target", m.Target}}
}

func claimRow(side, address string) Row {
	return Row{Partition: "claim-" + side + "-" + mailbox.Fingerprint(address), Key: "claim"}
}

func (l *Ledger) claim(ctx context.Context, r Row, side string, m migration.Mailbox) error {
	var err error
	if r.Body, err = seal(claim{m.Wave, m.ID}); err != nil {
		return err
	}
	if err = l.Mailboxes.Insert(ctx, r); !errors.Is(err, ErrExists) {
		return err
	}
	old, held, err := read[claim](ctx, l.Mailboxes, r.Partition, r.Key)
	if errors.Is(err, ErrNotFound) { // released this moment
		return l.Mailboxes.Insert(ctx, r)
	}
	if err != nil || old.Wave == m.Wave && old.Mailbox == m.ID {
		return err
	}
	active, err := l.active(ctx, old, m.Submitted)
	if err != nil {
		return err
	}
	if active || old.Wave == m.Wave {
		return &Claimed{Side: side, Wave: old.Wave}
	}
	held.Body = r.Body
	_, err = l.Mailboxes.Replace(ctx, held)
	return err
}

// submitting is how long a submission may take from its first row to its wave's.
const submitting = 10 * time.Minute

// active says whether the claim's mailbox is still worked on. A claim whose wave was never written is left over from a
// submission that failed, unless that is still under way.
func (l *Ledger) active(ctx context.Context, c claim, now time.Time) (bool, error) {
	m, err := l.Mailbox(ctx, c.Wave, c.Mailbox)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt) || err == nil && m.State.Over() {
		return false, nil // with a damaged row no stage goes on with it
	}
	if err != nil || now.Sub(m.Submitted) < submitting {
		return true, err
	}
	_, err = l.Wave(ctx, c.Wave)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if errors.Is(err, ErrCorrupt) { // nothing begins in such a wave; what is under way comes to its end
		return m.State == migration.Planning || m.State == migration.Copying || m.State == migration.Verifying, nil
	}
	return true, err
}

// Release gives a mailbox's claims back, if its wave holds them.
func (l *Ledger) Release(ctx context.Context, m migration.Mailbox) error {
	for _, s := range sides(m) {
		at := claimRow(s[0], s[1])
		c, r, err := read[claim](ctx, l.Mailboxes, at.Partition, at.Key)
		if errors.Is(err, ErrNotFound) || err == nil && c.Wave != m.Wave {
			continue
		}
		if err == nil {
			err = l.Mailboxes.Delete(ctx, r)
		}
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}
