package graphtest

import (
	"net/http"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Fault is trouble for some requests to come. It reads as a sentence and begins with its last word:
//
//	s.Next(2, graphtest.ImportItem).Of(mailbox).Throttle("7")
//	s.Next(1, graphtest.ImportItem).After(5).LoseAnswer()
//
// Faults are tried in the order they were made; a request meets at most one.
type Fault struct {
	s       *Server
	op      Op
	mailbox string
	left    int
	skip    int
	refusal *refusal
	reset   bool
	lose    bool
	most    int64
	delay   time.Duration
	arrived chan struct{}
	hold    <-chan struct{}
	met     func()
}

// Next begins a fault for the next n requests of an operation.
func (s *Server) Next(n int, op Op) *Fault { return &Fault{s: s, op: op, left: n} }

// Of limits the fault to one mailbox.
func (f *Fault) Of(m *exchangetest.Mailbox) *Fault {
	f.mailbox = f.s.MailboxID(m)
	return f
}

// After lets n matching requests pass first.
func (f *Fault) After(n int) *Fault {
	f.skip = n
	return f
}

// Met has met called for every request that meets the fault, before it does.
func (f *Fault) Met(met func()) *Fault {
	f.met = met
	return f
}

func (f *Fault) begin() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.faults = append(f.s.faults, f)
}

// Throttle answers 429 with this Retry-After, "" for none.
func (f *Fault) Throttle(retryAfter string) {
	f.refusal = &refusal{status: http.StatusTooManyRequests, code: "ApplicationThrottled", retryAfter: retryAfter,
		message: "Application is over its MailboxConcurrency limit."}
	f.begin()
}

// Fail answers a status as the service's front does: 503 with an empty body, others with an error.
func (f *Fault) Fail(status int) {
	f.refusal = refuse(status, "UnknownError", "%s", http.StatusText(status))
	f.refusal.empty = status == http.StatusServiceUnavailable
	f.begin()
}

// Unavailable answers 503 with an empty body and this Retry-After, "" for none.
func (f *Fault) Unavailable(retryAfter string) {
	f.refusal = &refusal{status: http.StatusServiceUnavailable, empty: true, retryAfter: retryAfter}
	f.begin()
}

// Refuse answers a status with an error code.
func (f *Fault) Refuse(status int, code string) {
	f.refusal = refuse(status, code, "The operation failed.")
	f.begin()
}

// Reset cuts the connection before anything was done.
func (f *Fault) Reset() {
	f.reset = true
	f.begin()
}

// LoseAnswer does what was asked, then cuts the connection instead of answering.
func (f *Fault) LoseAnswer() {
	f.lose = true
	f.begin()
}

// Cut does what was asked, and ends the connection after so many bytes of the answer's body, if it has more.
func (f *Fault) Cut(after int64) {
	f.most = after
	f.begin()
}

// Delay lets requests wait by the server's clock, holding their place in the mailbox's concurrency.
func (f *Fault) Delay(d time.Duration) {
	f.delay = d
	f.begin()
}

// Hold lets requests wait until release is called. Each that waits sends a value on arrived.
func (f *Fault) Hold() (arrived <-chan struct{}, release func()) {
	hold := make(chan struct{})
	f.arrived, f.hold = make(chan struct{}, max(f.left, 1)), hold
	f.begin()
	return f.arrived, func() { close(hold) }
}

// faultFor returns the fault a call meets, nil for none.
func (s *Server) faultFor(c *call) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.left == 0 || f.op != Any && f.op != c.op || f.mailbox != "" && (c.box == nil || c.box.id != f.mailbox) {
			continue
		}
		if f.skip > 0 {
			f.skip--
			continue
		}
		f.left--
		return f
	}
	return nil
}

// strike does the fault's harm. answered is true when nothing is left to do for the call.
func (f *Fault) strike(c *call) (cut, answered bool) {
	if f == nil {
		return false, false
	}
	if f.met != nil {
		f.met()
	}
	switch {
	case f.reset:
		c.w.lost = true
		return true, true
	case f.refusal != nil:
		c.s.writeRefusal(c.w, f.refusal)
		return false, true
	case f.lose:
		c.w.lost = true
	case f.most > 0:
		c.w.most = f.most
	case f.delay > 0:
		select {
		case <-c.s.clock.After(f.delay):
		case <-c.ctx.Done():
		case <-c.s.closed:
		}
	case f.hold != nil:
		f.arrived <- struct{}{}
		select {
		case <-f.hold:
		case <-c.ctx.Done():
		case <-c.s.closed:
		}
	}
	return false, false
}

// hook is a test's own code around an operation.
type hook struct {
	op Op
	f  func(w http.ResponseWriter, r *http.Request) bool
}

// Before calls f when a request of op has been let in and before anything is done for it. When f returns true, it has
// answered.
func (s *Server) Before(op Op, f func(w http.ResponseWriter, r *http.Request) (answered bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = append(s.before, hook{op, f})
}

// After calls f when a request of op has been dealt with, for better or worse; the client may not have the end of its
// answer yet.
func (s *Server) After(op Op, f func(r *http.Request, status int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.after = append(s.after, hook{op, func(w http.ResponseWriter, r *http.Request) bool {
		if a, ok := w.(*answer); ok {
			f(r, a.status)
		}
		return false
	}})
}

func (s *Server) runHooks(list *[]hook, c *call) (answered bool) {
	s.mu.Lock()
	hooks := append([]hook{}, *list...)
	s.mu.Unlock()
	for _, h := range hooks {
		if (h.op == Any || h.op == c.op) && h.f(c.w, c.r) {
			return true
		}
	}
	return false
}

// ExpireSessions ends every import session of a mailbox; imports answer 401 until a new one is made.
func (s *Server) ExpireSessions(m *exchangetest.Mailbox) {
	s.change(m, func(b *box) { b.session++ })
}

// ExpireDelta makes every delta and skip token of a mailbox stale; they answer 410 SyncStateNotFound.
func (s *Server) ExpireDelta(m *exchangetest.Mailbox) {
	s.change(m, func(b *box) { b.epoch++ })
}

// Fill makes a mailbox refuse imports and new folders with ErrorQuotaExceeded, or take them again.
func (s *Server) Fill(m *exchangetest.Mailbox, full bool) {
	s.change(m, func(b *box) { b.full = full })
}

// RefuseExport makes one item answer an error inside a successful export; "" lets it pass again.
func (s *Server) RefuseExport(m *exchangetest.Mailbox, item uint64, code string) {
	s.change(m, func(b *box) { b.refused[item] = code })
}

func (s *Server) change(m *exchangetest.Mailbox, f func(*box)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s.boxOf(m))
}

// state reads what changes about a mailbox while it is served.
func state[T any](c *call, f func(*box) T) T {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return f(c.box)
}
