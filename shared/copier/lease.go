package copier

import (
	"context"
	"io"
	"time"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// leaseShare is how much of the doubt a worker may let pass between asking whether the group is its own and sending the
// last bytes of an import. The rest of the doubt is the time that a request on its way may still take.
const leaseShare = 4

// leased is a stream that asks whether the group is still ours whenever that has not been asked for a while, and at its
// end. A worker that was held up anywhere, for however long, then breaks its import off before the
// request is complete: what it does not finish sending, the target does not carry out.
func (g *group) leased(s mailbox.Stream) mailbox.Stream {
	return mailbox.Stream{Size: s.Size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		r, err := s.Open(ctx)
		if err != nil {
			return nil, err
		}
		return &lease{ReadCloser: r, g: g, ctx: ctx, asked: g.Clock.Now()}, nil
	}}
}

type lease struct {
	io.ReadCloser
	g     *group
	ctx   context.Context // of the one import that reads the stream
	asked time.Time
}

func (l *lease) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.g.Clock.Since(l.asked) < l.g.Doubt/leaseShare && err == nil {
		return n, nil
	}
	if held := l.g.Ledger.HoldsGroup(l.ctx, l.g.Group); held != nil {
		return 0, lost(held)
	}
	l.asked = l.g.Clock.Now()
	return n, err
}
