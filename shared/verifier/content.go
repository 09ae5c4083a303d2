package verifier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/outcome"
	"github.com/mailferry/mailferry/shared/receipt"
)

// batch is how many items are exported from the target in one go (Graph exportItems: at most 20), lanes how many batches at
// once (Graph: four requests per mailbox).
const (
	batch = 20
	lanes = 4
)

// pause is between two deliveries of a long comparison: long enough for people to be told how far it is.
const pause = 5 * time.Second

// compareContent exports matching items from the target and compares their content with what the source sent. When the
// budget is spent or the target wants a pause, what was read is kept and the message comes back.
func (v *Verifier) compareContent(ctx context.Context, box migration.Mailbox, s sides, c *comparison) (err error) {
	if len(c.deep) == 0 {
		return nil
	}
	r, err := v.readBack(ctx, box.ID)
	if err != nil {
		return err
	}
	defer func() {
		if failed := r.save(context.WithoutCancel(ctx)); failed != nil {
			err = failed // whatever else happened, the work would be done again
		}
	}()
	for done := 0; done < len(c.deep); {
		n := min(batch*lanes, len(c.deep)-done)
		if err := compareSome(ctx, s, c.deep[done:done+n], r, c); err != nil {
			return err
		}
		if err := r.saveNowAndThen(ctx); err != nil {
			return err
		}
		if done += n; done < len(c.deep) && !v.Clock.Now().Before(c.until) {
			return outcome.Snooze(v.Clock.Now().Add(pause), fmt.Sprintf("the content of %d of %d items is compared", done, len(c.deep)))
		}
	}
	return nil
}

// compareSome compares some pairs, whose items of the target are exported in batches side by side.
func compareSome(ctx context.Context, s sides, pairs []pair, r *readBack, c *comparison) error {
	have := make([]content, len(pairs))
	var unread []int
	for i, p := range pairs {
		var known bool
		if have[i], known = r.of(p.target.Item); !known {
			unread = append(unread, i)
		}
	}
	err := export(ctx, s.target, pairs, unread, have)
	for _, i := range unread {
		if have[i].digest != "" {
			r.add(pairs[i].target.Item, have[i])
		}
	}
	if err != nil {
		return fmt.Errorf("export from target: %w", err)
	}
	var doubt []int // what differs, what was edited since, or what we have no digest of
	for i, p := range pairs {
		l := &c.leaves[p.leaf]
		l.Depth, l.Digest, l.Bytes = receipt.Content, have[i].digest, have[i].Bytes
		if p.past.Digest == "" || p.past.change != p.source.Change || have[i].digest != p.past.Digest || have[i].Recipients != p.past.Recipients || have[i].Attachments != p.past.Attachments {
			doubt = append(doubt, i)
		}
	}
	return askSource(ctx, s.source, pairs, have, doubt, c)
}

// export reads the items of some pairs from the target.
func export(ctx context.Context, target mailbox.Target, pairs []pair, which []int, have []content) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lanes)
	for some := range slices.Chunk(which, batch) {
		g.Go(func() error {
			ids := make([]mailbox.ItemID, len(some))
			for n, i := range some {
				ids[n] = pairs[i].target.ID
			}
			read, err := summaries(ctx, target, ids)
			for n, i := range some {
				have[i] = read[n]
			}
			return err
		})
	}
	return g.Wait()
}

// askSource settles the pairs in doubt by reading the source again: it may have changed since it was copied.
func askSource(ctx context.Context, source mailbox.Source, pairs []pair, have []content, doubt []int, c *comparison) error {
	if len(doubt) == 0 {
		return nil
	}
	ids := make([]mailbox.ItemID, len(doubt))
	for n, i := range doubt {
		ids[n] = pairs[i].source.ID
	}
	want, err := summaries(ctx, source, ids)
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
	fts.Summary
	digest string
	reason string // why there is none
}

// unlike says in words how two contents differ, "" when they agree.
func (c content) unlike(o content) string {
	switch {
	case c.reason != "":
		return "source: " + c.reason
	case o.reason != "":
		return "target: " + o.reason
	case c.Recipients != o.Recipients:
		return fmt.Sprintf("recipients: %d and %d", c.Recipients, o.Recipients)
	case c.Attachments != o.Attachments:
		return fmt.Sprintf("attachments: %d and %d", c.Attachments, o.Attachments)
	case c.digest != o.digest:
		return "content"
	}
	return ""
}

// summaries exports items and summarises each. An item that cannot be read has a reason instead.
func summaries(ctx context.Context, side mailbox.Side, ids []mailbox.ItemID) ([]content, error) {
	out := make([]content, len(ids))
	err := side.Export(ctx, ids, func(i int, r io.Reader, err error) error {
		if err == nil {
			out[i].Summary, err = fts.Summarize(r)
			out[i].digest = hex.EncodeToString(out[i].Digest[:])
		}
		bad, malformed := errors.AsType[*fts.FormatError](err)
		finding, known := errors.AsType[*mailbox.ItemError](err)
		switch {
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
