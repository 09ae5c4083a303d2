package graph

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/graph/internal/exportjson"
)

// errWrongItem ends an export: each has been given what is not the item it was told.
var errWrongItem = errors.New("the answer is about another item than the one asked for")

// entry delivers, keeps or drops one entry of an answer.
func (d *delivery) entry(s *exportjson.Scanner, e *exportjson.Entry) error {
	if e.ItemID == "" && e.Data != nil && len(d.pending()) > 1 {
		return d.unnamed(s, e)
	}
	id := mailbox.ItemID(e.ItemID)
	if id == "" && len(d.pending()) == 1 {
		id = d.pending()[0] // asked for alone: named behind its data, or not at all
	}
	if d.next == len(d.ids) || !d.waits(id) {
		return nil
	}
	if id != d.ids[d.next] {
		return d.keep(s, e, id)
	}
	if err := d.now(s, e); err != nil {
		return err
	}
	if e.ItemID != "" && mailbox.ItemID(e.ItemID) != id {
		return errWrongItem
	}
	return d.flush()
}

// now delivers the entry whose turn it is.
func (d *delivery) now(s *exportjson.Scanner, e *exportjson.Entry) error {
	if e.Data == nil {
		err := empty(e)
		var item *mailbox.ItemError
		if !errors.As(err, &item) {
			return err
		}
		return d.hand(nil, err)
	}
	r := &itemReader{s: s, e: e}
	if err := d.hand(r, nil); err != nil {
		return err
	}
	if r.broken != nil {
		return r.broken // each made do with a part of the item: asking for the next would hide it
	}
	return s.Rest()
}

// empty is the meaning of an entry without data: the item's error, or a failure that passes and ends this answer.
func empty(e *exportjson.Entry) error {
	code := clean(e.Code)
	if !e.Failed {
		code = "NoData"
	}
	switch code {
	case "ApplicationThrottled", "TooManyRequests", "ErrorServerBusy", "ErrorTooManyObjectsOpened":
		return &failure{status: http.StatusServiceUnavailable, code: code}
	case "ErrorTimeoutExpired", "ErrorMailboxStoreUnavailable", "ErrorInternalServerTransientError":
		return &failure{status: http.StatusGatewayTimeout, code: code}
	case "ErrorQuotaExceeded":
		return &failure{status: http.StatusInsufficientStorage, code: code}
	}
	return &mailbox.ItemError{Reason: exportReason(code), Detail: code}
}

// unnamed keeps an entry whose id stands behind its data.
func (d *delivery) unnamed(s *exportjson.Scanner, e *exportjson.Entry) error {
	b, err := d.read(s, e)
	if rerr := s.Rest(); rerr != nil {
		return rerr
	}
	id := mailbox.ItemID(e.ItemID)
	if d.next == len(d.ids) || !d.waits(id) || err == errTooMuch {
		return nil
	}
	d.put(id, kept{bytes: b, err: err})
	return d.flush()
}

// keep holds an entry that came before its turn.
func (d *delivery) keep(s *exportjson.Scanner, e *exportjson.Entry, id mailbox.ItemID) error {
	if e.Data == nil {
		err := empty(e)
		if f, ok := err.(*failure); ok {
			return f
		}
		d.put(id, kept{err: err})
		return nil
	}
	b, err := d.read(s, e)
	if s.Err() != nil {
		return s.Err()
	}
	if err != errTooMuch {
		d.put(id, kept{bytes: b, err: err})
	}
	return nil
}

func (d *delivery) put(id mailbox.ItemID, k kept) {
	d.kept[id] = k
	d.held += len(k.bytes)
}

var errTooMuch = errors.New("too much to keep")

func (d *delivery) read(s *exportjson.Scanner, e *exportjson.Entry) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(&itemReader{s: s, e: e}, int64(maxKept-d.held)+1))
	if err != nil {
		return nil, err
	}
	if n > int64(maxKept-d.held) {
		return nil, errTooMuch
	}
	return b.Bytes(), nil
}

// itemReader tells a broken connection, which is mailbox.ErrUnavailable, from bad base64, which is the item's own.
type itemReader struct {
	s      *exportjson.Scanner
	e      *exportjson.Entry
	broken error // the connection broke while the item was read
}

func (r *itemReader) Read(p []byte) (int, error) {
	if r.e.Data == nil {
		return 0, errors.New("read of an item after its turn")
	}
	n, err := r.e.Data.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if broken := r.s.Err(); broken != nil {
		r.broken = fmt.Errorf("%w: %w", bare(broken), mailbox.ErrUnavailable)
		return n, r.broken
	}
	return n, &mailbox.ItemError{Reason: mailbox.Corrupt, Detail: "malformed base64 in the export"}
}
