package copier

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// held is an item between export and import: in memory or in staging.
type held struct {
	stream                  mailbox.Stream
	digest                  string
	recipients, attachments int
	release                 func()
}

// hold reads an exported item into memory, or into staging when it is larger than its listing said.
func (g *group) hold(ctx context.Context, i int, r io.Reader) (*held, error) {
	reserve := min(max(g.items[i].Size*5/4, 64<<10), mailbox.Large)
	if err := g.Memory.Acquire(ctx, reserve); err != nil {
		return nil, err
	}
	release := func() { g.Memory.Release(reserve) }
	head, err := io.ReadAll(io.LimitReader(r, reserve+1))
	if err != nil {
		release()
		return nil, fmt.Errorf("read exported item: %w", err)
	}
	if int64(len(head)) > reserve {
		defer release()
		return g.stage(ctx, i, io.MultiReader(bytes.NewReader(head), r))
	}
	return summarized(bytes.NewReader(head), &held{release: release, stream: mailbox.Stream{
		Size: int64(len(head)),
		Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil },
	}})
}

// summarized checks the item's stream, which r yields, and learns what verification compares.
func summarized(r io.Reader, it *held) (*held, error) {
	sum, err := fts.Summarize(r)
	if bad, ok := errors.AsType[*fts.FormatError](err); ok {
		it.release()
		return nil, &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: bad.Error()}
	}
	if err != nil {
		it.release()
		return nil, fmt.Errorf("check exported item: %w", err)
	}
	it.digest, it.recipients, it.attachments = hex.EncodeToString(sum.Digest[:]), sum.Recipients, sum.Attachments
	return it, nil
}

// stageName is where an item waits in staging. It names the item, not the delivery, so that the next one finds it.
func (g *group) stageName(i int) string {
	return fmt.Sprintf("%s/%04d/%s/%d-%s", g.box.ID, g.message.Pass, g.message.Plan, g.items[i].Folder, g.items[i].Key)
}

// stage writes an item to staging, unless it is there already, and holds it from there.
func (g *group) stage(ctx context.Context, i int, r io.Reader) (*held, error) {
	g.inStaging[i] = true
	sum := sha256.New()
	err := g.Staging.Put(ctx, g.stageName(i), io.TeeReader(r, sum))
	if err == nil {
		err = g.Staging.Put(ctx, g.stageName(i)+sumEnding, strings.NewReader(hex.EncodeToString(sum.Sum(nil))))
	}
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return nil, fmt.Errorf("stage item: %w", err)
	}
	it, err := g.staged(ctx, i)
	if it == nil && err == nil {
		err = fmt.Errorf("stage item: %w", blob.ErrNotFound)
	}
	return it, err
}

// sumEnding names the blob beside a staged item that holds its SHA-256. It is written last: without it the item counts as
// not staged.
const sumEnding = ".sha256"

// staged holds an item that waits in staging, nil when there is none. What is not as it was staged is removed, for the
// source to be read again.
func (g *group) staged(ctx context.Context, i int) (*held, error) {
	name := g.stageName(i)
	want, err := blob.ReadAll(ctx, g.Staging, name+sumEnding, 2*sha256.Size)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, g.dropStaged(ctx, i)
	}
	if err != nil {
		return nil, fmt.Errorf("open staged item: %w", err)
	}
	r, size, err := g.Staging.Open(ctx, name, 0)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open staged item: %w", err)
	}
	defer r.Close()
	sum := sha256.New()
	it, err := summarized(io.TeeReader(r, sum), &held{release: func() {}, stream: mailbox.Stream{
		Size: size,
		Open: func(ctx context.Context) (io.ReadCloser, error) {
			r, _, err := g.Staging.Open(ctx, name, 0)
			return r, err
		},
	}})
	_, malformed := errors.AsType[*mailbox.ItemError](err)
	if malformed || err == nil && hex.EncodeToString(sum.Sum(nil)) != string(want) {
		return nil, errors.Join(err, g.dropStaged(ctx, i))
	}
	return it, err
}

// dropStaged removes an item from staging: its sum first, without which it does not count.
func (g *group) dropStaged(ctx context.Context, i int) error {
	for _, name := range []string{g.stageName(i) + sumEnding, g.stageName(i)} {
		if err := g.Staging.Delete(ctx, name); err != nil {
			return fmt.Errorf("remove item from staging: %w", err)
		}
	}
	return nil
}

// copyLarge copies one item through staging. What an earlier delivery staged is not read from the source again.
func (g *group) copyLarge(ctx context.Context, i int) error {
	it, err := g.staged(ctx, i)
	if _, bad := errors.AsType[*mailbox.ItemError](err); bad {
		it, err = nil, nil
	}
	if it == nil && err == nil {
		err = g.source.Export(ctx, []mailbox.ItemID{g.items[i].Source}, func(_ int, r io.Reader, err error) error {
			if err == nil {
				it, err = g.stage(ctx, i, r)
			}
			return err
		})
	}
	if finding, ok := errors.AsType[*mailbox.ItemError](err); ok {
		g.skip(i, finding.Reason, finding.Detail)
		return nil
	}
	if err != nil {
		return fmt.Errorf("export item: %w", err)
	}
	defer it.release()
	return g.importItem(ctx, i, it)
}

// unstage removes what was imported or skipped from staging. What a failure leaves there the lifecycle rule removes.
func (g *group) unstage(ctx context.Context) {
	for i, it := range g.Group.Items {
		if !it.Settled() || g.items[i].Size <= mailbox.Large && it.Bytes <= mailbox.Large && !g.inStaging[i] {
			continue
		}
		if err := g.dropStaged(ctx, i); err != nil {
			g.Log.Warn("staged item stays", "mailbox", g.box.ID, "item", it.Key.String(), "reason", err.Error())
		}
	}
}
