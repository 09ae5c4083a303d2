package telemetry

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptrace"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/pace"
)

// Sources counts in the context's [Tally] how long next wants to be left alone.
func Sources(next mailbox.Sources) mailbox.Sources { return sources{next, same} }

// Requests counts in the context's [Tally] the HTTP requests that next sends, and how long it wants to be left alone. It
// belongs right around a client: whatever else goes over HTTP below it is counted too.
func Requests(next mailbox.Sources) mailbox.Sources { return sources{next, counting} }

// Targets counts in the context's [Tally] what the targets of next take, and how long they want to be left alone.
func Targets(next mailbox.Targets) mailbox.Targets { return targets{next} }

type sources struct {
	next  mailbox.Sources
	enter func(context.Context) context.Context
}

func (s sources) Source(ctx context.Context, address string) (mailbox.Source, error) {
	inner, err := s.next.Source(s.enter(ctx), address)
	if err != nil {
		return nil, noted(ctx, Source, err)
	}
	return source{side{inner, Source, s.enter}, inner}, nil
}

func same(ctx context.Context) context.Context { return ctx }

// counting returns a context in which every request that a http.Transport writes is counted.
func counting(ctx context.Context) context.Context {
	t := tallyOf(ctx)
	if t == nil {
		return ctx
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { t.request(Source) },
	})
}

// side is what source and target have in common.
type side struct {
	mailbox.Side
	which Side
	enter func(context.Context) context.Context
}

func (s side) Folders(ctx context.Context) ([]mailbox.Folder, error) {
	out, err := s.Side.Folders(s.enter(ctx))
	return out, noted(ctx, s.which, err)
}

func (s side) Items(ctx context.Context, f mailbox.FolderID) iter.Seq2[mailbox.Item, error] {
	return func(yield func(mailbox.Item, error) bool) {
		for it, err := range s.Side.Items(s.enter(ctx), f) {
			if !yield(it, noted(ctx, s.which, err)) {
				return
			}
		}
	}
}

func (s side) Changes(ctx context.Context, f mailbox.FolderID, since mailbox.SyncState) (mailbox.Changes, error) {
	page, err := s.Side.Changes(s.enter(ctx), f, since)
	return page, noted(ctx, s.which, err)
}

func (s side) Export(ctx context.Context, ids []mailbox.ItemID, each func(i int, r io.Reader, err error) error) error {
	return noted(ctx, s.which, s.Side.Export(s.enter(ctx), ids, each))
}

type source struct {
	side
	inner mailbox.Source
}

func (s source) Expect(id mailbox.ItemID, size int64) { s.inner.Expect(id, size) }

type targets struct{ next mailbox.Targets }

func (t targets) Target(ctx context.Context, address string) (mailbox.Target, error) {
	inner, err := t.next.Target(ctx, address)
	if err != nil {
		return nil, noted(ctx, Target, err)
	}
	return target{side{inner, Target, same}, inner}, nil
}

type target struct {
	side
	inner mailbox.Target
}

func (t target) CreateFolder(ctx context.Context, f mailbox.Folder) (mailbox.Folder, error) {
	made, err := t.inner.CreateFolder(ctx, f)
	return made, noted(ctx, Target, err)
}

func (t target) Import(ctx context.Context, f mailbox.FolderID, s mailbox.Stream) (mailbox.ItemID, error) {
	id, err := t.inner.Import(ctx, f, s)
	return id, taken(ctx, s, err)
}

func (t target) Replace(ctx context.Context, f mailbox.FolderID, old mailbox.Item, s mailbox.Stream) (mailbox.ItemID, error) {
	id, err := t.inner.Replace(ctx, f, old, s)
	return id, taken(ctx, s, err)
}

func taken(ctx context.Context, s mailbox.Stream, err error) error {
	if err == nil {
		tallyOf(ctx).imported(s.Size)
	}
	return noted(ctx, Target, err)
}

// noted counts the time of a *mailbox.Throttled and returns the error as it is.
func noted(ctx context.Context, s Side, err error) error {
	if t, ok := errors.AsType[*mailbox.Throttled](err); ok {
		tallyOf(ctx).throttled(s, t.Until)
	}
	return err
}

// Transport is a RoundTripper that counts the requests to the target in the context's [Tally], and the time of a
// Retry-After that comes with a 429 or 503. It changes nothing.
func Transport(next http.RoundTripper) http.RoundTripper { return transport{next} }

type transport struct{ next http.RoundTripper }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	tally := tallyOf(req.Context())
	tally.request(Target)
	resp, err := t.next.RoundTrip(req)
	if err != nil || tally == nil {
		return resp, err
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		if until, ok := pace.RetryAfter(resp.Header, tally.clock.Now()); ok {
			tally.throttled(Target, until)
		}
	}
	return resp, nil
}
