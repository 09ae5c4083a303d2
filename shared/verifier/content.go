package verifier

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/receipt"
)

// batch is how many items are exported from the target in one go (Graph exportItems: at most 20).
const batch = 20

// compareContent exports matching items from the target and compares their content with what the source sent.
func (v *Verifier) compareContent(ctx context.Context, s sides, c *comparison) error {
	for todo := c.deep; len(todo) > 0; {
		n := min(batch, len(todo))
		if err := compareBatch(ctx, s, todo[:n], c); err != nil {
			return err
		}
		todo = todo[n:]
	}
	return nil
}

func compareBatch(ctx context.Context, s sides, pairs []pair, c *comparison) error {
	ids := make([]mailbox.ItemID, len(pairs))
	for i, p := range pairs {
		ids[i] = p.target.ID
	}
	have, err := summaries(ctx, s.target, ids)
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
