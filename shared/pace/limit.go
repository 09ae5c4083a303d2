package pace

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// Limit lets at most n requests of next be under way; the others wait for a slot, or for their context to end.
// A slot is held until the response's body is closed, or until next returns an error. To count several
// transports together, share [Slots].
func Limit(n int, next http.RoundTripper) http.RoundTripper {
	return NewSlots(n).Limit(next)
}

// Slots are the places for requests under way. They are safe for concurrent use.
type Slots struct{ free chan struct{} }

// NewSlots returns n slots; below 1 counts as 1.
func NewSlots(n int) *Slots { return &Slots{free: make(chan struct{}, max(n, 1))} }

// Limit returns a RoundTripper that takes a slot for each request of next, as the function [Limit] does.
func (s *Slots) Limit(next http.RoundTripper) http.RoundTripper {
	return limited{slots: s, next: next}
}

type limited struct {
	slots *Slots
	next  http.RoundTripper
}

func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case l.slots.free <- struct{}{}:
	case <-req.Context().Done():
		closeBody(req)
		return nil, fmt.Errorf("wait for a slot: %w", req.Context().Err())
	}
	release := sync.OnceFunc(func() { <-l.slots.free })
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		release()
		return nil, err
	}
	resp.Body = OnClose(resp.Body, release)
	return resp, nil
}

// OnClose returns body with done called after each of its closings.
func OnClose(body io.ReadCloser, done func()) io.ReadCloser {
	return closeCalls{ReadCloser: body, done: done}
}

type closeCalls struct {
	io.ReadCloser
	done func()
}

func (c closeCalls) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// closeBody keeps the promise of http.RoundTripper to close the request's body also when nothing is sent.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
