package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mailferry/mailferry/shared/mailbox"
)

// chunk is how much of a stream is encoded at a time; a multiple of 3, so that base64 needs no padding between.
const chunk = 48 << 10

// upload is the JSON of an import around the item's bytes. Keys are in the order of the published sample.
type upload struct {
	FolderID  mailbox.FolderID `json:"FolderId"`
	Mode      string           // create or update
	ItemID    mailbox.ItemID   `json:"ItemId,omitempty"` // update only
	ChangeKey string           `json:",omitempty"`       // update only
}

// envelope is one import request's body, which can be opened more than once.
type envelope struct {
	head     string
	stream   mailbox.Stream
	ctx      context.Context // of the request the body belongs to
	complete atomic.Bool     // the last byte was handed over: only then can the service have imported anything
	mu       sync.Mutex
	bodies   []*body
	broken   error // why the stream could not be read
}

const tail = `"}`

func newEnvelope(ctx context.Context, u upload, s mailbox.Stream) (*envelope, error) {
	b, err := json.Marshal(u)
	if err != nil {
		return nil, fmt.Errorf("encode import: %w", err)
	}
	return &envelope{head: string(b[:len(b)-1]) + `,"Data":"`, stream: s, ctx: ctx}, nil
}

// length is the exact number of bytes of the body.
func (e *envelope) length() int64 {
	return int64(len(e.head)) + encodedLen(e.stream.Size) + int64(len(tail))
}

func encodedLen(n int64) int64 { return (n + 2) / 3 * 4 }

// open has the shape of http.Request.GetBody. The stream itself is opened by the first read, when the request has
// its slot and its connection.
func (e *envelope) open() (io.ReadCloser, error) {
	b := &body{env: e, ready: []byte(e.head)}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bodies = append(e.bodies, b)
	return b, nil
}

// shut closes what is open, so that the stream is left alone when Import returns: net/http may close a body later.
func (e *envelope) shut() {
	e.mu.Lock()
	bodies := e.bodies
	e.mu.Unlock()
	for _, b := range bodies {
		_ = b.Close()
	}
}

func (e *envelope) fail(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken == nil {
		e.broken = err
	}
	return err
}

// streamError is why the stream could not be read, nil when it could.
func (e *envelope) streamError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.broken
}

var errShut = errors.New("request body closed")

// body yields head, the stream in base64 and tail. It hands the tail over only when the stream ended where it said.
type body struct {
	env    *envelope
	mu     sync.Mutex // Close may come while Read waits
	in     io.ReadCloser
	raw    []byte
	out    []byte // backs ready
	ready  []byte // not handed over yet
	read   int64
	ended  bool // tail is in ready, or was
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, errShut
	}
	if len(b.ready) == 0 && b.ended {
		return 0, io.EOF
	}
	if len(b.ready) == 0 {
		if err := b.fill(); err != nil {
			return 0, b.env.fail(err)
		}
	}
	n := copy(p, b.ready)
	b.ready = b.ready[n:]
	if len(b.ready) == 0 && b.ended {
		b.env.complete.Store(true)
	}
	return n, nil
}

func (b *body) fill() error {
	if err := b.begin(); err != nil {
		return err
	}
	left := b.env.stream.Size - b.read
	if left == 0 {
		return b.end()
	}
	n, err := io.ReadFull(b.in, b.raw[:min(left, chunk)])
	b.read += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("stream has %d bytes, not the %d it announced", b.read, b.env.stream.Size)
	}
	if err != nil {
		return fmt.Errorf("read stream at byte %d: %w", b.read, err)
	}
	b.out = base64.StdEncoding.AppendEncode(b.out[:0], b.raw[:n])
	b.ready = b.out
	return nil
}

func (b *body) begin() error {
	if b.in != nil {
		return nil
	}
	in, err := b.env.stream.Open(b.env.ctx)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	b.in, b.raw = in, make([]byte, chunk)
	return nil
}

// end makes sure that the stream ends here. A stream that fails only now, at a checksum for one, fails in time.
func (b *body) end() error {
	switch _, err := io.ReadFull(b.in, b.raw[:1]); err {
	case io.EOF:
		b.ready, b.ended = []byte(tail), true
		return nil
	case nil:
		return fmt.Errorf("stream has more than the %d bytes it announced", b.env.stream.Size)
	default:
		return fmt.Errorf("read stream at its end: %w", err)
	}
}

func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.in == nil {
		return nil
	}
	return b.in.Close()
}
