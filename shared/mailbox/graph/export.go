package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	abs "github.com/microsoft/kiota-abstractions-go"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph/internal/exportjson"
)

const (
	// maxExport is the published number of ids per exportItems.
	maxExport = 20
	// maxExportBytes is how much of known sizes is asked for at once; the service's own limit is not published.
	maxExportBytes = 20 << 20
	// maxKept bounds what is held when the service answers in another order than it was asked. What does not fit
	// is asked for again alone.
	maxKept = 4 << 20
)

// Export reads items in the order of ids, up to 20 with one request.
func (m *Mailbox) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	for from := 0; from < len(ids); {
		n := m.pack(ids[from:])
		d := &delivery{ids: ids[from : from+n], from: from, each: each, kept: map[mailbox.ItemID]kept{}}
		if err := m.deliver(ctx, d); err != nil {
			if d.stop != nil {
				return d.stop
			}
			return fmt.Errorf("export items: %w", err)
		}
		from += n
	}
	return nil
}

// pack says how many of ids go into one request: no id twice, and a big item alone.
func (m *Mailbox) pack(ids []mailbox.ItemID) int {
	var sum int64
	in := make(map[mailbox.ItemID]bool, maxExport)
	for i, id := range ids[:min(len(ids), maxExport)] {
		sum += m.sizes.size(id)
		if i > 0 && (in[id] || sum > maxExportBytes) {
			return i
		}
		in[id] = true
	}
	return min(len(ids), maxExport)
}

// delivery hands the items of one request to each, in order, over as many requests as that takes.
type delivery struct {
	ids   []mailbox.ItemID
	from  int // index of ids[0] for each
	each  func(i int, r io.Reader, err error) error
	next  int                     // how many are delivered
	alone bool                    // ask for one at a time: one failed, was not in the answer, or could not be kept
	asked int                     // how many the last request asked for
	kept  map[mailbox.ItemID]kept // came before their turn
	held  int                     // bytes in kept
	stop  error                   // what each returned
}

// kept is an item that waits for its turn.
type kept struct {
	bytes []byte
	err   error
}

func (d *delivery) pending() []mailbox.ItemID {
	if d.alone {
		return d.ids[d.next : d.next+1]
	}
	var ids []mailbox.ItemID
	for _, id := range d.ids[d.next:] {
		if _, ok := d.kept[id]; !ok {
			ids = append(ids, id)
		}
	}
	return ids
}

func (d *delivery) waits(id mailbox.ItemID) bool {
	for _, p := range d.pending() {
		if p == id {
			return true
		}
	}
	return false
}

// hand delivers the next item.
func (d *delivery) hand(r io.Reader, err error) error {
	i := d.from + d.next
	d.next++
	d.stop = d.each(i, r, err)
	return d.stop
}

// flush delivers the kept items whose turn it is.
func (d *delivery) flush() error {
	for d.next < len(d.ids) {
		k, ok := d.kept[d.ids[d.next]]
		if !ok {
			return nil
		}
		delete(d.kept, d.ids[d.next])
		d.held -= len(k.bytes)
		if err := d.hand(k.reader(), k.err); err != nil {
			return err
		}
	}
	return nil
}

func (k kept) reader() io.Reader {
	if k.err != nil {
		return nil
	}
	return bytes.NewReader(k.bytes)
}

// deliver asks until all are delivered. An answer that breaks off is asked for again from where it broke.
func (m *Mailbox) deliver(ctx context.Context, d *delivery) error {
	for d.next < len(d.ids) {
		before := d.next
		err := m.repeat(ctx, exportAsk(), func() error { return m.export(ctx, d) })
		var f *failure
		switch {
		case d.stop != nil:
			return d.stop
		case errors.As(err, &f) && f.aboutItem():
			err = d.single(f)
		case err == nil && d.next == before:
			err = d.single(&failure{status: http.StatusOK, code: "NotInTheAnswer"})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func exportAsk() ask {
	return ask{verb: abs.POST, needs: "MailboxItem.Export.All", absent: mailbox.ErrNoMailbox}
}

// aboutItem reports whether a request failed for one of its items.
func (f *failure) aboutItem() bool {
	return itemReason(f.code) != "" || f.status == http.StatusBadRequest && folderCode(f.code)
}

// single asks for the next item alone, to tell it from the others; when it was alone, it is the culprit.
func (d *delivery) single(f *failure) error {
	if d.asked > 1 {
		d.alone = true
		return nil
	}
	return d.hand(nil, &mailbox.ItemError{Reason: exportReason(f.code), Detail: f.Error()})
}

func exportReason(code string) mailbox.Reason {
	if code == "ErrorItemNotFound" || code == "ErrorMessageNotFound" {
		return mailbox.Gone
	}
	return mailbox.Corrupt
}

// export makes one request and delivers what it can of the answer.
func (m *Mailbox) export(ctx context.Context, d *delivery) error {
	if err := d.flush(); err != nil || d.next == len(d.ids) {
		return err
	}
	ids := d.pending()
	d.asked = len(ids)
	resp, err := m.exportItems(ctx, ids, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s := exportjson.NewScanner(resp.Body)
	for {
		e, err := s.Next()
		if err == io.EOF {
			return d.flush()
		}
		if err != nil {
			return broken(ctx, err)
		}
		if err := d.entry(s, e); err != nil {
			return d.failed(ctx, err)
		}
	}
}

func (d *delivery) failed(ctx context.Context, err error) error {
	var f *failure
	switch {
	case d.stop != nil:
		return d.stop
	case errors.As(err, &f):
		return f
	case errors.Is(err, errWrongItem), errors.Is(err, mailbox.ErrUnavailable):
		return err
	}
	return broken(ctx, err)
}

func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &failure{cause: bare(err)}
}

// exportItems sends the request by net/http, because the SDK would read the whole answer before giving any of it.
func (m *Mailbox) exportItems(ctx context.Context, ids []mailbox.ItemID, challenge string) (*http.Response, error) {
	a := exportAsk()
	a.path, a.with, a.body = m.path("/exportItems"), m.with(), map[string]any{"itemIds": ids}
	ri, err := m.request(a)
	if err != nil {
		return nil, err
	}
	more := map[string]any{}
	if challenge != "" {
		more["claims"] = challenge
	}
	if err := m.client.auth.AuthenticateRequest(ctx, ri, more); err != nil {
		return nil, failed(ctx, err)
	}
	resp, err := m.do(ctx, ri)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	if c := claims(resp.Header); resp.StatusCode == http.StatusUnauthorized && c != "" && challenge == "" {
		_ = resp.Body.Close() // gives its slot back
		return m.exportItems(ctx, ids, c)
	}
	return nil, &failure{status: resp.StatusCode, code: answerCode(resp.Body)}
}

func (m *Mailbox) do(ctx context.Context, ri *abs.RequestInformation) (*http.Response, error) {
	u, err := ri.GetUri()
	if err != nil {
		return nil, bare(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(ri.Content))
	if err != nil {
		return nil, bare(err)
	}
	for _, k := range ri.Headers.ListKeys() {
		for _, v := range ri.Headers.Get(k) {
			req.Header.Add(k, v)
		}
	}
	resp, err := m.plain.Do(req)
	if err != nil {
		return nil, failed(ctx, err)
	}
	return resp, nil
}
