package verifier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/receipt"
)

// batch is how many items are exported in one go (Graph exportItems: at most 20), lanes how many batches at once (Graph: four
// requests per mailbox; EWS counts those of an account together).
const (
	batch = 20
	lanes = 4
)

// pause is between two deliveries of a long comparison: long enough for people to be told how far it is.
const pause = 30 * time.Second

// compareContent exports matching items from the target and compares their content with what the source sent. When the
// budget is spent or a side fails, what was read is kept, and the message comes back as long as that leads on.
func (v *Verifier) compareContent(ctx context.Context, box migration.Mailbox, s sides, c *comparison) error {
	if len(c.deep) == 0 {
		return nil
	}
	r, err := v.readBack(ctx, box.ID)
	if err != nil {
		return err
	}
	until := v.Clock.Now().Add(v.Budget / 6) // even when listing took the whole budget
	if c.until.After(until) {
		until = c.until
	}
	done, err := compareUntil(ctx, until, s, r, c)
	if failed := r.save(context.WithoutCancel(ctx)); failed != nil {
		v.Log.Warn("contents not kept", "wave", box.Wave, "mailbox", box.ID, "pass", box.Pass, "reason", failed.Error())
		if err == nil {
			err = failed
		}
	}
	far := fmt.Sprintf("the content of %d of %d items is compared", done, len(c.deep))
	switch {
	case err != nil && (r.added == 0 || !errors.Is(err, mailbox.ErrUnavailable)):
		return err
	case err != nil:
		return outcome.Snooze(v.Clock.Now().Add(pause), far+"; "+err.Error())
	case done == len(c.deep):
		return nil
	case r.added == 0:
		return fmt.Errorf("%s, and not more in %s: their contents cannot be kept", far, v.Budget)
	}
	return outcome.Snooze(v.Clock.Now().Add(pause), far)
}

// compareUntil compares pairs until a time, and returns how many.
func compareUntil(ctx context.Context, until time.Time, s sides, r *readBack, c *comparison) (done int, err error) {
	for done < len(c.deep) {
		n := min(batch*lanes, len(c.deep)-done)
		if err := compareSome(ctx, s, c.deep[done:done+n], r, c); err != nil {
			return done, err
		}
		if err := r.saveNowAndThen(ctx); err != nil {
			return done, err
		}
		if done += n; !r.v.Clock.Now().Before(until) {
			break
		}
	}
	return done, nil
}

// compareSome compares some pairs.
func compareSome(ctx context.Context, s sides, pairs []pair, r *readBack, c *comparison) error {
	items := make([]mailbox.Item, len(pairs))
	for i, p := range pairs {
		items[i] = p.target.Item
	}
	have, err := r.contents(ctx, "target", s.target, items)
	if err != nil {
		return fmt.Errorf("export from target: %w", err)
	}
	var doubt []int // what differs, what was edited since, or what we have no digest of
	for i, p := range pairs {
		l := &c.leaves[p.leaf]
		l.Depth, l.Digest, l.Bytes = receipt.Content, have[i].digest, have[i].bytes
		if p.past.Digest == "" || p.past.change != p.source.Change || have[i].digest != p.past.Digest || have[i].recipients != p.past.Recipients || have[i].attachments != p.past.Attachments {
			doubt = append(doubt, i)
		}
	}
	return askSource(ctx, s.source, pairs, have, doubt, r, c)
}

// askSource settles the pairs in doubt by reading the source again: it may have changed since it was copied.
func askSource(ctx context.Context, source mailbox.Source, pairs []pair, have []content, doubt []int, r *readBack, c *comparison) error {
	items := make([]mailbox.Item, len(doubt))
	for n, i := range doubt {
		items[n] = pairs[i].source.Item
	}
	want, err := r.contents(ctx, "source", source, items)
	if err != nil {
		return fmt.Errorf("export from source: %w", err)
	}
	for n, i := range doubt {
		why := want[n].unlike(have[i])
		if why == "" {
			continue
		}
		c.counts.Match--
		c.leaves[pairs[i].leaf].Digest = "" // it has no place in the receipt
		c.counts.Differs++
		c.differ[pairs[i].folder] = true
		c.add(finding{"differs", why, pairs[i].path, pairs[i].source})
		if len(c.redo) < maxFindings {
			c.redo = append(c.redo, pairs[i])
		}
	}
	return nil
}

// content is what is compared of an item's stream.
type content struct {
	digest      string // hexadecimal; "" when the item was not read to its end
	recipients  int
	attachments int
	bytes       int64
	reason      string // why it cannot be read
}

// unlike says in words how two contents differ, "" when they agree.
func (c content) unlike(o content) string {
	switch {
	case c.reason != "":
		return "source: " + c.reason
	case o.reason != "":
		return "target: " + o.reason
	case c.recipients != o.recipients:
		return fmt.Sprintf("recipients: %d and %d", c.recipients, o.recipients)
	case c.attachments != o.attachments:
		return fmt.Sprintf("attachments: %d and %d", c.attachments, o.attachments)
	case c.digest != o.digest:
		return "content"
	}
	return ""
}

// summaries exports items and summarises each. An item that cannot be read has a reason instead.
func summaries(ctx context.Context, side mailbox.Side, ids []mailbox.ItemID) ([]content, error) {
	out := make([]content, len(ids))
	err := side.Export(ctx, ids, func(i int, r io.Reader, err error) error {
		var s fts.Summary
		if err == nil {
			s, err = fts.Summarize(r)
		}
		bad, malformed := errors.AsType[*fts.FormatError](err)
		finding, known := errors.AsType[*mailbox.ItemError](err)
		switch {
		case err == nil:
			out[i] = content{digest: hex.EncodeToString(s.Digest[:]), recipients: s.Recipients, attachments: s.Attachments, bytes: s.Bytes}
		case malformed:
			out[i].reason = bad.Error()
		case known:
			out[i].reason = finding.Error()
		default:
			return err
		}
		return nil
	})
	return out, err
}
