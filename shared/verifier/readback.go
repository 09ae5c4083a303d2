package verifier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
	"github.com/mailferry/mailferry/shared/migration"
)

// readBack are contents of items of both sides. What an earlier delivery or pass has read, and what is listed as it was then,
// is not read again: a comparison that is broken off goes on where it was, and the last pass reads what is new.
type readBack struct {
	v     *Verifier
	box   migration.MailboxID
	known map[manifest.ContentID]content
	fresh []manifest.ReadBack // not stored yet
	added int                 // by this delivery
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
		r.known[it.Item] = content{digest: it.Digest, recipients: it.Recipients, attachments: it.Attachments, bytes: it.Bytes}
	}
	return nil
}

// of is what is known of an item of a side.
func (r *readBack) of(side string, it mailbox.Item) (content, bool) {
	c, ok := r.known[manifest.IDOfContent(side, it)]
	return c, ok
}

// contents are the contents of items of a side: those that are not known are exported, in batches side by side.
func (r *readBack) contents(ctx context.Context, side string, of mailbox.Side, items []mailbox.Item) ([]content, error) {
	out := make([]content, len(items))
	var unread []int
	for i, it := range items {
		var known bool
		if out[i], known = r.of(side, it); !known {
			unread = append(unread, i)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lanes)
	for some := range slices.Chunk(unread, batch) {
		g.Go(func() error {
			ids := make([]mailbox.ItemID, len(some))
			for n, i := range some {
				ids[n] = items[i].ID
			}
			read, err := summaries(ctx, of, ids)
			for n, i := range some {
				out[i] = read[n]
			}
			return err
		})
	}
	err := g.Wait()
	for _, i := range unread { // also of a batch that was broken off
		r.add(side, items[i], out[i])
	}
	return out, err
}

// add remembers an item that was read, unless it could not be read or may have changed unseen.
func (r *readBack) add(side string, it mailbox.Item, c content) {
	if id := manifest.IDOfContent(side, it); id != "" && c.digest != "" && repeatable(r.v.Release) {
		r.fresh = append(r.fresh, manifest.ReadBack{Item: id, Digest: c.digest, Recipients: c.recipients, Attachments: c.attachments, Bytes: c.bytes})
		r.added++
	}
}

// repeatable says whether a release's name stands for one way to sum up a content.
func repeatable(release string) bool {
	return release != "" && release != "unknown" && release != "(devel)" && !strings.HasSuffix(release, "+dirty")
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
