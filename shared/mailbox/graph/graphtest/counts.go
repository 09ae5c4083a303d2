package graphtest

import (
	"log/slog"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Count is what came in and went out.
type Count struct {
	Requests  int
	Throttled int   // of them answered 429
	Failed    int   // of them answered 400 and above, throttled ones among them
	In        int64 // bytes of bodies as they came over the wire
	Out       int64 // bytes of bodies answered, before any compression
}

type countKey struct {
	mailbox string
	op      Op
}

// note counts a request.
func (s *Server) note(mailbox string, op Op, a *answer, in int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := countKey{mailbox, op}
	c := s.counts[k]
	if c == nil {
		c = &Count{}
		s.counts[k] = c
	}
	c.Requests++
	c.In += in
	c.Out += a.n
	if a.status == 429 {
		c.Throttled++
	}
	if a.status >= 400 {
		c.Failed++
	}
}

// Count returns what an operation on a mailbox has come to so far; a nil mailbox is all of them, [Any] every
// operation. A request counts when it has been answered, and a batch counts besides its entries.
func (s *Server) Count(m *exchangetest.Mailbox, op Op) Count {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum Count
	for k, c := range s.counts {
		if op != Any && k.op != op || m != nil && k.mailbox != s.MailboxID(m) {
			continue
		}
		sum.Requests += c.Requests
		sum.Throttled += c.Throttled
		sum.Failed += c.Failed
		sum.In += c.In
		sum.Out += c.Out
	}
	return sum
}

// Peak returns how many requests of one app to a mailbox were under way at once at the worst moment, refused ones
// included: 5 and above have been throttled.
func (s *Server) Peak(m *exchangetest.Mailbox) int { return s.meter.peak(s.MailboxID(m)) }

// InFlight returns how many requests are being served, those that wait for a fault's end included.
func (s *Server) InFlight() int { return int(s.inFlight.Load()) }

// Unbound returns how many imports came without the cookie that an earlier import of their session was given, and so
// may have gone to another server.
func (s *Server) Unbound() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unbound
}

func logAttrs(c *call) []slog.Attr {
	return []slog.Attr{slog.String("op", string(c.op)), slog.Int("status", c.w.status), slog.Int64("in", c.body.n),
		slog.Int64("out", c.w.n), slog.String("request-id", c.w.ResponseWriter.Header().Get("request-id"))}
}
