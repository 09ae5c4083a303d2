package servicebustest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/wire"
)

// What the service announces when a connection opens.
const (
	ourMaxFrame = 65536
	channelMax  = 4999
	idleTimeout = 2 * time.Minute
)

const (
	beat       = 15 * time.Second // longest silence of ours
	openWithin = 30 * time.Second // from connecting to the open frame
	outLimit   = 4 << 20          // bytes waiting to be written before the connection stops reading
)

// Errors of connections and sessions (2.8.16, 2.8.17).
const (
	framingError = "amqp:connection:framing-error"
	decodeError  = "amqp:decode-error"
	idleExpired  = "amqp:resource-limit-exceeded"
	handleInUse  = "amqp:session:handle-in-use"
	unattached   = "amqp:session:unattached-handle"
	errantLink   = "amqp:session:errant-link"
	linkStolen   = "amqp:link:stolen"
)

// conn is one connection. One goroutine reads frames, one writes bytes, and one, in loop, does everything else:
// all fields below mail belong to it. Queues put what they have to say into mail.
type conn struct {
	s      *Server
	nc     net.Conn
	log    *slog.Logger
	frames chan wire.Frame
	gone   chan struct{} // closed when loop is over
	heard  atomic.Int64  // time of the last bytes, in milliseconds
	out    outbox
	mail   mailbox

	id       string
	opened   bool
	closing  bool // we have sent close
	over     bool // the loop is to end
	left     bool // the client has said close
	stopBeat func() bool
	maxFrame uint32
	silence  time.Duration // longest the peer bears, 0 for any
	sessions map[uint16]*session
	replies  []*link // of request nodes, to find where an answer goes
	claims   map[string]time.Time
	bare     time.Time // since when there is no link, zero when there is one
	linked   bool      // there was one
}

func newConn(s *Server, nc net.Conn) *conn {
	id := uuid.NewString()
	c := &conn{s: s, nc: nc, id: id, log: s.log.With("connection", id), frames: make(chan wire.Frame, 64),
		gone: make(chan struct{}), maxFrame: wire.MinFrame, sessions: map[uint16]*session{}, claims: map[string]time.Time{}}
	c.out.init()
	c.mail.ready = make(chan struct{}, 1)
	c.touch()
	return c
}

func (c *conn) now() time.Time { return c.s.o.ConnClock.Now() }

func (c *conn) touch() { c.heard.Store(c.now().UnixMilli()) }

func (c *conn) serve() {
	var both sync.WaitGroup
	both.Go(func() {
		c.out.run(c.nc)
		_ = c.nc.Close()
	})
	both.Go(func() {
		defer close(c.frames)
		if err := c.read(); err != nil {
			c.log.Debug("amqp connection ends", "reason", err)
		}
	})
	c.loop()
	close(c.gone)
	for _, s := range c.sessions {
		s.drop(!c.left)
	}
	c.out.finish()
	both.Wait()
	_ = c.nc.Close()
}

// read passes on frames until the peer or the connection ends.
func (c *conn) read() error {
	r := bufio.NewReaderSize(&hearing{c}, 32<<10)
	if err := c.handshake(r); err != nil {
		return err
	}
	for {
		f, err := wire.ReadFrame(r, ourMaxFrame)
		if err != nil {
			return err
		}
		select {
		case c.frames <- f:
		case <-c.gone:
			return nil
		}
	}
}

// hearing notes when bytes come.
type hearing struct{ c *conn }

func (h *hearing) Read(p []byte) (int, error) {
	n, err := h.c.nc.Read(p)
	h.c.touch()
	return n, err
}

func (c *conn) loop() {
	c.beat()
	defer func() { c.stopBeat() }()
	for !c.over {
		select {
		case f, ok := <-c.frames:
			if !ok {
				return
			}
			c.handle(f)
		case <-c.mail.ready:
			for _, do := range c.mail.take() {
				do()
			}
		case <-c.out.broken:
			return
		}
	}
}

// beat looks after the connection every so often.
func (c *conn) beat() {
	c.stopBeat = c.later(c.rhythm(), func() {
		c.tick()
		c.beat()
	})
}

// rhythm is how often to send something: twice within the peer's patience.
func (c *conn) rhythm() time.Duration {
	if c.silence == 0 {
		return beat
	}
	return max(min(c.silence/2, beat), 10*time.Millisecond)
}

func (c *conn) tick() {
	now := c.now()
	silent := time.Duration(now.UnixMilli()-c.heard.Load()) * time.Millisecond
	switch {
	case (!c.opened || c.closing) && silent >= openWithin:
		c.over = true
	case silent >= 2*idleTimeout:
		c.fail(idleExpired, "The connection was inactive for too long.")
		c.over = true
	case c.opened && !c.closing && !c.unused(now):
		c.out.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.FrameAMQP, 0, nil) })
	}
}

func (c *conn) send(channel uint16, write func([]byte) []byte) {
	c.out.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.FrameAMQP, channel, write) })
}

// fail closes the connection with an error.
func (c *conn) fail(condition, text string) {
	if c.closing {
		return
	}
	c.log.Debug("amqp connection refused", "condition", condition, "text", text)
	c.closing = true
	c.send(0, func(b []byte) []byte { return wire.AppendComposite(b, wire.CodeClose, wire.NewError(condition, text)) })
}

// handle does what a frame asks for.
func (c *conn) handle(f wire.Frame) {
	if f.Type != wire.FrameAMQP {
		c.fail(framingError, fmt.Sprintf("Frame type %d is not AMQP.", f.Type))
		return
	}
	if len(f.Body) == 0 {
		return
	}
	p, payload, err := wire.ReadComposite(f.Body)
	if err != nil {
		c.fail(decodeError, err.Error())
		return
	}
	if p.Code == wire.CodeClose {
		if !c.closing {
			c.send(0, func(b []byte) []byte { return wire.AppendComposite(b, wire.CodeClose) })
		}
		c.over, c.left = true, true
		return
	}
	if c.closing {
		return
	}
	if err := c.perform(f.Channel, p, payload); err != nil {
		c.fail(decodeError, err.Error())
	}
}

func (c *conn) perform(channel uint16, p *wire.Composite, payload []byte) error {
	if !c.opened || p.Code == wire.CodeOpen {
		return c.open(p)
	}
	if p.Code == wire.CodeBegin {
		return c.begin(channel, p)
	}
	s := c.sessions[channel]
	if s == nil {
		c.fail(framingError, fmt.Sprintf("Channel %d has no session.", channel))
		return nil
	}
	return s.perform(p, payload)
}

func (c *conn) open(p *wire.Composite) error {
	if c.opened || p.Code != wire.CodeOpen {
		c.fail("amqp:illegal-state", "A connection starts with one open.")
		return nil
	}
	o, err := wire.ParseOpen(p)
	if err != nil {
		return err
	}
	c.opened, c.bare = true, c.now()
	c.maxFrame = min(max(o.MaxFrame, wire.MinFrame), ourMaxFrame)
	c.silence = time.Duration(o.IdleTimeout) * time.Millisecond
	c.stopBeat()
	c.beat()
	c.send(0, func(b []byte) []byte {
		return wire.AppendComposite(b, wire.CodeOpen, c.id, nil, uint32(ourMaxFrame), uint16(channelMax),
			uint32(idleTimeout/time.Millisecond))
	})
	return nil
}

// later runs do in the loop after a while by the connection's clock, unless the connection has ended.
func (c *conn) later(d time.Duration, do func()) (stop func() bool) {
	return c.s.o.ConnClock.AfterFunc(d, func() { c.mail.put(do) }).Stop
}

func (c *conn) begin(channel uint16, p *wire.Composite) error {
	b, err := wire.ParseBegin(p)
	if err != nil {
		return err
	}
	if channel > channelMax || c.sessions[channel] != nil || p.Any(0) != nil {
		c.fail(framingError, fmt.Sprintf("Channel %d cannot begin a session.", channel))
		return nil
	}
	c.sessions[channel] = newSession(c, channel, b)
	return nil
}

// mailbox holds what others want the loop to do. It grows with the credit that clients give, no further.
type mailbox struct {
	mu    sync.Mutex
	list  []func()
	ready chan struct{}
}

func (m *mailbox) put(do func()) {
	m.mu.Lock()
	m.list = append(m.list, do)
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *mailbox) take() []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	m.list = nil
	return list
}

// outbox collects bytes while others are being written.
type outbox struct {
	mu     sync.Mutex
	change sync.Cond
	bytes  []byte
	done   bool
	broken chan struct{} // closed when writing has failed
}

func (o *outbox) init() {
	o.change.L = &o.mu
	o.broken = make(chan struct{})
}

// put appends bytes. It waits while too many are there already.
func (o *outbox) put(write func([]byte) []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.bytes) > outLimit && !o.done {
		o.change.Wait()
	}
	if !o.done {
		o.bytes = write(o.bytes)
		o.change.Broadcast()
	}
}

// finish lets run end once everything is written.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	o.change.Broadcast()
}

func (o *outbox) run(w io.Writer) {
	defer close(o.broken)
	var spare []byte
	for {
		o.mu.Lock()
		for len(o.bytes) == 0 && !o.done {
			o.change.Wait()
		}
		full := o.bytes
		o.bytes = spare[:0]
		o.change.Broadcast()
		o.mu.Unlock()
		if len(full) == 0 {
			return
		}
		if _, err := w.Write(full); err != nil {
			o.finish()
			return
		}
		if spare = full; cap(spare) > outLimit {
			spare = nil
		}
	}
}
