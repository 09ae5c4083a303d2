package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"
)

const (
	maxError  = 64 << 10 // bytes of an error answer that are read
	maxAnswer = 64 << 20 // bytes of any other answer that the SDK reads at once; a page of 500 items has about 1 MB
)

var (
	errStalled = errors.New("nothing moved for 3 minutes")
	errTooLong = errors.New("an answer of more than 64 MiB")
)

// tame makes error answers safe for the SDK: it loses the status of one whose body is not JSON, and panics on a
// claims challenge without quotes.
type tame struct{ next http.RoundTripper }

func (t tame) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError))
	_ = resp.Body.Close()
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		body = nil
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	resp.Header.Set("Content-Type", "application/json")
	if claims(resp.Header) == "" {
		resp.Header.Del("Www-Authenticate")
	}
	return resp, nil
}

// claims is the challenge of a 401 that asks for a token with more claims: Bearer …, claims="<base64>".
func claims(h http.Header) string {
	for _, part := range strings.Split(h.Get("Www-Authenticate"), ",") {
		part = strings.TrimSpace(strings.TrimPrefix(part, "Bearer "))
		if v, ok := strings.CutPrefix(part, `claims="`); ok {
			v, _, _ = strings.Cut(v, `"`)
			return v
		}
	}
	return ""
}

// capped refuses to hand an endless answer to the SDK, which reads answers whole.
type capped struct{ next http.RoundTripper }

func (c capped) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil {
		resp.Body = &capBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type capBody struct {
	io.ReadCloser
	left int
}

func (b *capBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}

// stall breaks off a request on which nothing moves: no byte of its body taken, no answer, no byte of the answer.
// Time that the caller takes between reads does not count.
type stall struct {
	after time.Duration
	clock clockwork.Clock
	next  http.RoundTripper
}

func (s stall) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{timer: s.clock.AfterFunc(s.after, func() { cancel(errStalled) }), after: s.after}
	resp, err := s.next.RoundTrip(w.over(req.WithContext(ctx)))
	w.timer.Stop()
	if err != nil {
		err = whyEnded(ctx, err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &watchedAnswer{ReadCloser: resp.Body, watch: w, ctx: ctx, cancel: cancel}
	return resp, nil
}

func whyEnded(ctx context.Context, err error) error {
	if context.Cause(ctx) == errStalled {
		return errStalled
	}
	return err
}

type watch struct {
	timer clockwork.Timer
	after time.Duration
}

// over returns req with a body whose every read starts the time anew.
func (w *watch) over(req *http.Request) *http.Request {
	if req.Body == nil || req.Body == http.NoBody {
		return req
	}
	req.Body = watchedBody{req.Body, w}
	if again := req.GetBody; again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			b, err := again()
			if err != nil {
				return nil, err
			}
			return watchedBody{b, w}, nil
		}
	}
	return req
}

type watchedBody struct {
	io.ReadCloser
	watch *watch
}

func (b watchedBody) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.watch.after)
	return b.ReadCloser.Read(p)
}

type watchedAnswer struct {
	io.ReadCloser
	watch  *watch
	ctx    context.Context // of the exchange this body belongs to
	cancel context.CancelCauseFunc
}

func (b *watchedAnswer) Read(p []byte) (int, error) {
	b.watch.timer.Reset(b.watch.after)
	n, err := b.ReadCloser.Read(p)
	b.watch.timer.Stop()
	if err != nil && err != io.EOF {
		err = whyEnded(b.ctx, err)
	}
	return n, err
}

func (b *watchedAnswer) Close() error {
	b.watch.timer.Stop()
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}
