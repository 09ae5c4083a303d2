package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

// readBack are contents of the target's items. What an earlier delivery or pass has read, and what has kept its change key
// since, is not read again: a comparison that is broken off goes on where it was, and the last pass reads what is new.
type readBack struct {
	v     *Verifier
	box   migration.MailboxID
	known map[manifest.ContentID]content
	fresh []manifest.ReadBack // not stored yet
	saved time.Time           // when some were stored last
}

// saveEvery is how much work a killed process loses.
const saveEvery = time.Minute

// readBack reads what is known of a mailbox's items. A file that is damaged, or of another release, says nothing.
func (v *Verifier) readBack(ctx context.Context, m migration.MailboxID) (*readBack, error) {
	r := &readBack{v: v, box: m, known: map[manifest.ContentID]content{}, saved: v.Clock.Now()}
	for name, err := range v.Manifests.Names(ctx, manifest.ReadBacksOf(m)) {
		if err == nil {
			err = r.load(ctx, name)
		}
		if errors.Is(err, manifest.ErrDamaged) {
			v.Log.Warn("reading contents again", "mailbox", m, "reason", err.Error())
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read what was read back before: %w", err)
		}
	}
	return r, nil
}

func (r *readBack) load(ctx context.Context, name string) error {
	body, _, err := r.v.Manifests.Open(ctx, name, 0)
	if errors.Is(err, blob.ErrNotFound) { // too old to be kept
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := manifest.DecodeReadBacks(body)
	if err != nil || f.Mailbox != r.box || f.Release != r.v.Release {
		return err
	}
	for _, it := range f.Items {
		r.known[it.Item] = content{digest: it.Digest,
			Summary: fts.Summary{Recipients: it.Recipients, Attachments: it.Attachments, Framing: fts.Framing{Bytes: it.Bytes}}}
	}
	return nil
}

// of is what is known of an item.
func (r *readBack) of(it mailbox.Item) (content, bool) {
	c, ok := r.known[manifest.IDOfContent(it)]
	return c, ok
}

// add remembers an item that was read, unless it could not be read or may have changed unseen.
func (r *readBack) add(it mailbox.Item, c content) {
	if id := manifest.IDOfContent(it); id != "" && c.reason == "" {
		r.fresh = append(r.fresh, manifest.ReadBack{Item: id, Digest: c.digest, Recipients: c.Recipients, Attachments: c.Attachments, Bytes: c.Bytes})
	}
}

// saveNowAndThen stores what was read if the last time is a while ago.
func (r *readBack) saveNowAndThen(ctx context.Context) error {
	if r.v.Clock.Since(r.saved) < saveEvery {
		return nil
	}
	return r.save(ctx)
}

func (r *readBack) save(ctx context.Context) error {
	if len(r.fresh) == 0 {
		return nil
	}
	body, err := manifest.EncodeReadBacks(manifest.ReadBacks{Mailbox: r.box, Release: r.v.Release, Items: r.fresh})
	if err != nil {
		return err
	}
	if err := r.v.Manifests.Put(ctx, manifest.ReadBacksName(r.box, r.v.NewID()), bytes.NewReader(body)); err != nil {
		return fmt.Errorf("store what was read back: %w", err)
	}
	r.fresh, r.saved = nil, r.v.Clock.Now()
	return nil
}
