package ews

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/scan"
)

// A batch is cut at one minute of the server's time, and the account's budget is charged for each item; 20 items or
// 8 MB keep well below that (sources.md 1.7).
const (
	batchItems = 20
	batchBytes = 8 << 20
)

// Export reads items by ExportItems, in batches by count and size, larger items alone. Exchange answers by position.
// When it stops within a batch, the rest is asked for again. A code that nobody can act on is asked about once more,
// for the item alone, before the item is given up.
func (s *Source) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	x := &export{s: s, ids: ids, each: each, doubted: -1}
	for x.done < len(ids) {
		if err := x.batch(ctx, x.next()); err != nil {
			return err
		}
	}
	return nil
}

// export is an Export under way.
type export struct {
	s       *Source
	ids     []mailbox.ItemID
	each    func(i int, r io.Reader, err error) error
	done    int // items that each was called for
	doubted int // the item that is asked for a second time, -1 for none
}

// next says how many items the next batch has.
func (x *export) next() int {
	if x.done == x.doubted {
		return 1
	}
	bytes := int64(0)
	for n, id := range x.ids[x.done:] {
		if bytes += x.s.sizes.size(id); n == batchItems || n > 0 && bytes > batchBytes {
			return n
		}
	}
	return len(x.ids) - x.done
}

func (x *export) batch(ctx context.Context, n int) error {
	first, doubted := x.done, x.doubted
	resp, err := x.s.post(ctx, fmt.Sprintf(exportItems, itemIDs(x.ids[x.done:x.done+n])))
	if err != nil {
		return fmt.Errorf("export items: %w", err)
	}
	defer leave(resp)
	sc := scan.New(resp.Body)
	for range n {
		m, err := sc.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("export items: %w", x.s.brokenAnswer(ctx, err))
		}
		again, err := x.message(ctx, m, sc)
		if err != nil {
			return err
		}
		if again {
			break
		}
	}
	if x.done == first && x.doubted == doubted {
		return fmt.Errorf("export items: %w: batch stopped before its first item", mailbox.ErrUnavailable)
	}
	return nil
}

// message deals with the answer about the next item. It returns true when this item and those after it are to be
// asked for again.
func (x *export) message(ctx context.Context, m scan.Message, sc *scan.Scanner) (bool, error) {
	if m.Fault {
		return false, fmt.Errorf("export items: %w", x.s.asError(m.Code, m.Values))
	}
	if m.Class == "Success" || m.Code == "NoError" {
		return false, x.success(ctx, m, sc)
	}
	var item *mailbox.ItemError
	code := innermost(m.Code, m.Values)
	switch err := itemFailure(code); {
	case errors.As(err, &item):
	case errors.Is(err, errStopped):
		return true, nil
	case !errors.Is(err, errDoubtful):
		return false, fmt.Errorf("export items: %w", x.s.asError(m.Code, m.Values))
	case x.doubted != x.done:
		x.doubted = x.done
		return true, nil
	default:
		item = &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: word(code)}
	}
	x.done++
	return false, x.each(x.done-1, nil, item)
}

// success hands an item's stream to each, and then makes sure that the item was there to its end.
func (x *export) success(ctx context.Context, m scan.Message, sc *scan.Scanner) error {
	x.s.account.succeeded()
	i := x.done
	x.done++
	if !m.Data {
		return x.each(i, nil, &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: "export without data"})
	}
	r := &stream{ctx: ctx, s: x.s, sc: sc}
	err := x.each(i, r, nil)
	r.sc = nil
	if err != nil {
		return err
	}
	if err := sc.Skip(); err != nil {
		return fmt.Errorf("export items: %w", x.s.brokenAnswer(ctx, err))
	}
	return nil
}

// stream is one item's bytes. An answer that breaks off is mailbox.ErrUnavailable; one that ends but is not base64
// is an item that Exchange cannot read.
type stream struct {
	ctx context.Context
	s   *Source
	sc  *scan.Scanner // nil after each has returned
}

func (r *stream) Read(p []byte) (int, error) {
	if r.sc == nil {
		return 0, errors.New("read item: its turn is over")
	}
	if err := r.ctx.Err(); err != nil { // what the connection holds already could still be read
		return 0, fmt.Errorf("read item: %w", err)
	}
	n, err := r.sc.Read(p)
	var encoding *scan.EncodingError
	switch {
	case err == nil || errors.Is(err, io.EOF):
		return n, err
	case errors.As(err, &encoding):
		return n, &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: encoding.Error()}
	}
	return n, fmt.Errorf("read item: %w", r.s.brokenAnswer(r.ctx, err))
}
