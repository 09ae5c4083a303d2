package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// window is what one app may upload into one mailbox in 5 minutes, https://learn.microsoft.com/graph/throttling-limits
// (Outlook: 150 MB). A request that is larger by itself would be throttled for ever.
const window = 150_000_000

// expectAbove is the size from which a request asks before it sends its body: so a throttle or an expired session
// costs no upload. The transport sends it after a second of silence anyway.
const expectAbove = 1 << 20

// Import adds an item to a folder. It is sent again only when the service certainly did not take it: refused by a
// throttle that ends soon, or by an import session that has expired.
func (m *Mailbox) Import(ctx context.Context, f mailbox.FolderID, s mailbox.Stream) (mailbox.ItemID, error) {
	id, err := m.post(ctx, upload{FolderID: f, Mode: "create"}, s)
	if err != nil {
		return "", fmt.Errorf("import item: %w", err)
	}
	return id, nil
}

// Replace overwrites an item. mailbox.ErrChanged when its change key is another by now, or it is gone.
func (m *Mailbox) Replace(ctx context.Context, f mailbox.FolderID, old mailbox.Item, s mailbox.Stream) (mailbox.ItemID, error) {
	if old.ID == "" || old.Change == "" {
		return "", errors.New("replace item: it needs the item's id and change key")
	}
	id, err := m.post(ctx, upload{FolderID: f, Mode: "update", ItemID: old.ID, ChangeKey: old.Change}, s)
	if err != nil {
		return "", fmt.Errorf("replace item: %w", err)
	}
	return id, nil
}

func (m *Mailbox) post(ctx context.Context, u upload, s mailbox.Stream) (mailbox.ItemID, error) {
	whole, err := newEnvelope(ctx, u, s)
	if err != nil {
		return "", err
	}
	if whole.length() > window {
		return "", &mailbox.ItemError{Reason: mailbox.TooBig, Detail: fmt.Sprintf("%d bytes", s.Size)}
	}
	var stale *session
	for n := 1; ; n++ {
		ses, err := m.session(ctx, stale)
		if err != nil {
			return "", err
		}
		o := m.send(ctx, ses, u, s)
		switch {
		case o.status == http.StatusUnauthorized && stale == nil:
			stale = ses
		case o.status == http.StatusTooManyRequests && n < attempts:
		default:
			return o.id, m.outcome(ctx, o)
		}
	}
}

// sent is what came of one import request.
type sent struct {
	id       mailbox.ItemID
	status   int    // 0: no answer
	code     string // of an answer that is no success
	complete bool   // the request's last byte was handed over
	update   bool
	err      error // no answer, or no readable one; without URL
	stream   error // the stream to import could not be read
}

func (m *Mailbox) send(ctx context.Context, ses *session, u upload, s mailbox.Stream) sent {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	env, err := newEnvelope(ctx, u, s)
	if err != nil {
		return sent{stream: err}
	}
	req, err := newImport(ctx, ses, env)
	if err != nil {
		return sent{stream: err}
	}
	o := sent{update: u.Mode == "update"}
	resp, err := m.plain.Do(req)
	if err == nil {
		o.read(resp)
		_ = resp.Body.Close()
	}
	cancel() // ends a read of the stream that is under way
	env.shut()
	o.complete = env.complete.Load() // only now: net/http may read the body after Do has returned
	if err != nil {
		o.err, o.stream = bare(err), env.streamError()
	}
	return o
}

func newImport(ctx context.Context, ses *session, env *envelope) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ses.url.reveal(), nil)
	if err != nil {
		return nil, fmt.Errorf("prepare import: %w", bare(err))
	}
	if req.Body, err = env.open(); err != nil {
		return nil, err
	}
	req.GetBody = env.open
	req.ContentLength = env.length()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	if req.ContentLength > expectAbove {
		req.Header.Set("Expect", "100-continue")
	}
	return req, nil
}

func (o *sent) read(resp *http.Response) {
	o.status = resp.StatusCode
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusCreated {
		o.code = answerCode(resp.Body)
		return
	}
	var answer struct {
		ItemID mailbox.ItemID `json:"itemId"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&answer); err != nil {
		o.err = errors.New("the answer cannot be read")
		return
	}
	if o.id = answer.ItemID; o.id == "" {
		o.err = errors.New("no itemId in the answer")
	}
}

// outcome is the one place that says what an import's answer means, and above all whether the item may be there.
//
//	the stream failed             it is not: the request lacks its end
//	no answer, end not handed over  ErrUnavailable; it is not: dial errors, resets and time-outs before the end
//	no answer, end handed over    ErrUnknown
//	200, 201                      it is; without a readable id ErrUnknown
//	401 twice, 403                ErrAccess
//	404                           ErrNoFolder; for an update ErrChanged when the item is gone
//	409, 412                      ErrChanged for an update, else ErrUnavailable
//	413                           ItemError TooBig
//	429                           Throttled
//	code ErrorQuotaExceeded, 507  ErrQuota
//	code about the item           ItemError, at whatever status: corrupt data comes as 500
//	400, 422                      ItemError Refused, or ErrNoFolder when the code is about the folder's id
//	408, 500, 502, 503, 504, …    ErrUnknown when the end was handed over, else ErrUnavailable
//	anything else                 an error as it is: not the item's fault, and not carried out
func (m *Mailbox) outcome(ctx context.Context, o sent) error {
	switch {
	case o.stream != nil:
		return o.stream
	case o.status == 0:
		return unanswered(ctx, o)
	case o.status == http.StatusOK || o.status == http.StatusCreated:
		if o.err != nil {
			return fmt.Errorf("%w: %w", o.err, mailbox.ErrUnknown)
		}
		return nil
	case o.status == http.StatusTooManyRequests:
		return m.throttled()
	}
	return refused(o)
}

func unanswered(ctx context.Context, o sent) error {
	var throttled *mailbox.Throttled
	switch {
	case errors.As(o.err, &throttled):
		return throttled
	case o.complete:
		return fmt.Errorf("%w: %w", o.err, mailbox.ErrUnknown)
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", o.err, mailbox.ErrUnavailable)
}

func refused(o sent) error {
	f := &failure{status: o.status, code: o.code}
	if word := o.word(); word != nil {
		return fmt.Errorf("%w: %w", f, word)
	}
	if r := o.reason(); r != "" {
		return &mailbox.ItemError{Reason: r, Detail: f.Error()}
	}
	return f
}

// word is the error of package mailbox for an answer that is about more than the item.
func (o sent) word() error {
	switch {
	case o.code == "ErrorQuotaExceeded" || o.status == http.StatusInsufficientStorage:
		return mailbox.ErrQuota
	case o.update && o.stale():
		return mailbox.ErrChanged
	case o.status == http.StatusUnauthorized || o.status == http.StatusForbidden:
		return mailbox.ErrAccess
	case o.status == http.StatusNotFound || folderCode(o.code):
		return mailbox.ErrNoFolder
	case itemReason(o.code) != "":
		return nil
	case o.status == http.StatusConflict || o.status == http.StatusPreconditionFailed:
		return mailbox.ErrUnavailable
	case o.status != http.StatusRequestTimeout && o.status < 500:
		return nil
	case o.complete:
		return mailbox.ErrUnknown
	}
	return mailbox.ErrUnavailable
}

// stale reports whether an update was refused because the item is not what it was.
func (o sent) stale() bool {
	switch o.code {
	case "ErrorIrresolvableConflict", "ErrorStaleObject", "ErrorInvalidChangeKey", "ErrorItemNotFound":
		return true
	}
	return o.status == http.StatusConflict || o.status == http.StatusPreconditionFailed
}

func (o sent) reason() mailbox.Reason {
	if r := itemReason(o.code); r != "" {
		return r
	}
	switch o.status {
	case http.StatusRequestEntityTooLarge:
		return mailbox.TooBig
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return mailbox.Refused
	}
	return ""
}
