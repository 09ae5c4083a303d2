package graphtest

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// countedBody counts a request's bytes as they come over the wire and charges them to the mailbox's upload window.
type countedBody struct {
	call   *call
	r      io.ReadCloser
	n      int64
	free   bool   // not charged: no mailbox, no upload, or only drained
	entry  *entry // reservation of a body of known length
	chunks bool   // charge as it comes
	err    error
}

func (b *countedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	if err == nil || err == io.EOF {
		if e := b.charge(int64(n)); e != nil {
			b.err = e
			return 0, e
		}
	}
	return n, err
}

func (b *countedBody) charge(n int64) error {
	limit := b.call.s.meter.limits.Upload
	switch {
	case b.free || n == 0:
		return nil
	case b.n > limit:
		return tooLarge(limit)
	case b.chunks:
		_, err := b.call.s.meter.upload(b.call.lane(), n)
		return err
	}
	return nil
}

func (b *countedBody) Close() error { return b.r.Close() }

func (c *call) lane() laneKey { return laneKey{c.claims.App, c.box.id} }

func tooLarge(limit int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is too large: at most %d bytes.", limit)
}

// openBody reserves the body's place in the upload window and undoes its compression.
func (c *call) openBody() error {
	c.r.Body = c.body
	m, n := c.s.meter, c.r.ContentLength
	upload := c.r.Method == http.MethodPost || c.r.Method == http.MethodPatch || c.r.Method == http.MethodPut
	switch {
	case !upload || c.box == nil:
		c.body.free = true
	case n > m.limits.Upload:
		return tooLarge(m.limits.Upload)
	case n < 0:
		c.body.chunks = true
	case n > 0:
		e, err := m.upload(c.lane(), n)
		if err != nil {
			return err
		}
		c.body.entry = e
	}
	return c.decompress()
}

func (c *call) decompress() error {
	switch e := strings.ToLower(c.r.Header.Get("Content-Encoding")); {
	case e == "" || e == "identity":
		return nil
	case e != "gzip" || c.op == ImportItem && c.s.o.PlainImports:
		return refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content encoding '%s' is not supported.", printable(e))
	}
	z, err := gzip.NewReader(c.body)
	if err != nil {
		return bodyError(err)
	}
	// What a small body unpacks to is bounded as a plain one is.
	c.r.Body = http.MaxBytesReader(nil, struct {
		io.Reader
		io.Closer
	}{z, c.body}, c.s.meter.limits.Upload)
	return nil
}

// drain reads what is left of a body, so that a client still sending sees the answer and not a broken pipe. A client
// that waits for 100 Continue has not begun to send. Then the reservation becomes what really came.
func (c *call) drain() {
	c.body.free, c.body.err = true, nil
	if c.r.Header.Get("Expect") == "" && !c.w.lost {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.body, 2*c.s.meter.limits.Upload)) // the answer is already given
	}
	if e := c.body.entry; e != nil {
		c.s.meter.correct(c.lane(), e, c.body.n)
	}
}

// bodyError is what a body that cannot be read comes to.
func bodyError(err error) error {
	var r *refusal
	var big *http.MaxBytesError
	if errors.As(err, &r) || errors.As(err, &big) {
		return err
	}
	return badRequest("Unable to read the request body: %s.", bodyFault(err))
}

func bodyFault(err error) string {
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return "it is not what its Content-Encoding says"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it ends too early"
	}
	return "it is malformed"
}
