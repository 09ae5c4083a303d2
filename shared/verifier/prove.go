package verifier

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/receipt"
)

// prove writes the receipt of a mailbox that is about to be done or ready, and returns its blob's name: the leaves stand
// beside it. A verification that left folders out proves nothing new: the receipt of the last one that listed all stands. Every verification writes files of its own, and the ledger's row says which of them count, so that a
// delivery that is broken off leaves nothing that could be taken for the receipt.
func (v *Verifier) prove(ctx context.Context, box migration.Mailbox, w migration.Wave, found *comparison) (string, error) {
	box.Counts = found.counts
	if err := settle(&box, w, found.arrived, v.Clock); err != nil || v.Key.IsZero() {
		return "", nil
	}
	if len(found.left) > 0 || box.State != migration.Done && box.State != migration.Synced {
		return "", nil
	}
	name := fmt.Sprintf("%s/%s/%04d-%s", box.Wave, box.ID, box.Pass, v.NewID())
	made, err := v.leaves(ctx, name, v.head(box, found), found.sorted())
	if err != nil {
		return "", fmt.Errorf("write receipt: %w", err)
	}
	signed, err := v.Key.Sign(made)
	if err != nil {
		return "", fmt.Errorf("sign receipt: %w", err)
	}
	file, err := receipt.Encode(signed)
	if err != nil {
		return "", fmt.Errorf("write receipt: %w", err)
	}
	if err := v.Receipts.Put(ctx, name+".json", bytes.NewReader(file)); err != nil {
		return "", fmt.Errorf("store receipt: %w", err)
	}
	return name, nil
}

func (v *Verifier) head(box migration.Mailbox, found *comparison) receipt.Receipt {
	skipped := found.skipped
	if skipped == nil {
		skipped = []receipt.Skip{}
	}
	return receipt.Receipt{Wave: box.Wave, Mailbox: box.ID, Source: box.Source, Target: box.Target, Pass: box.Pass, Kind: box.Kind,
		Verified: whole(v.Clock.Now()), Mailferry: v.Release, Verify: string(v.Depth), Counts: box.Counts, Skipped: skipped}
}

// leaves streams the leaves file into its blob while the receipt is built.
func (v *Verifier) leaves(ctx context.Context, name string, head receipt.Receipt, sorted iter.Seq2[receipt.Leaf, error]) (receipt.Receipt, error) {
	r, w := io.Pipe()
	var made receipt.Receipt
	built := make(chan error, 1)
	go func() {
		var err error
		made, err = receipt.Build(head, sorted, w)
		_ = w.CloseWithError(err) // never fails
		built <- err
	}()
	err := v.Receipts.Put(ctx, name+".leaves", r)
	_ = r.CloseWithError(err) // never fails; ends Build when the blob cannot be written
	if failed := <-built; failed != nil && err == nil {
		err = failed
	}
	return made, err
}

// sorted yields the leaves of the items that match in the order of the file.
func (c *comparison) sorted() iter.Seq2[receipt.Leaf, error] {
	slices.SortFunc(c.leaves, receipt.Leaf.Compare)
	return func(yield func(receipt.Leaf, error) bool) {
		for _, l := range c.leaves {
			if l.Digest != "" && !yield(l, nil) {
				return
			}
		}
	}
}
