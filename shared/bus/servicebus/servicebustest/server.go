package servicebustest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest/internal/broker"
)

// Queue is what a queue is created with.
type Queue struct {
	Name               string
	Sessions           bool
	LockDuration       time.Duration // of messages and sessions; default 1 minute, at most 5 minutes
	MaxDeliveryCount   int           // failed deliveries before the dead-letter queue; default 10
	DuplicateWindow    time.Duration // 0 is no duplicate detection
	TTL                time.Duration // longest time to live, 0 is for ever
	DeadLetterOnExpiry bool          // else an expired message is gone
	MaxMessageBytes    int           // of one message or batch; default 256 KiB
	MaxBytes           int64         // of all messages together, 0 is no limit
}

// Options of a server. The zero value has no queues and real clocks.
type Options struct {
	Queues      []Queue
	Clock       clockwork.Clock // of the queues
	ConnClock   clockwork.Clock // of the connections
	Log         *slog.Logger    // names of queues and links, never content; default none
	Listen      string          // default 127.0.0.1:0; NoListen for Dial only
	TLS         *tls.Config     // for clients that use a host name and a token credential; nil is plain AMQP
	CheckTokens bool            // signatures are checked, and a link needs a token for its queue
}

// NoListen is the Options.Listen of a server that is only dialled in process.
const NoListen = "none"

// The key of the namespace is that of the published emulator.
const (
	keyName   = "RootManageSharedAccessKey"
	sharedKey = "SAS_KEY_VALUE"
)

// Limits of the service.
const (
	defaultLock       = time.Minute
	minLock           = 5 * time.Second
	maxLock           = 5 * time.Minute
	minWindow         = 20 * time.Second
	maxWindow         = 7 * 24 * time.Hour
	minTTL            = time.Second
	maxDeliveries     = 2000
	defaultDeliveries = 10
	defaultMessage    = 256 << 10
	maxQueueName      = 260
)

// Server is a running namespace. Its methods may be called from any goroutine.
type Server struct {
	o        Options
	log      *slog.Logger
	listener net.Listener
	queues   map[string]*broker.Queue // by lower-case name
	busy     busy

	mu     sync.Mutex
	conns  []*conn // oldest first
	closed bool
	work   sync.WaitGroup
}

// Start makes the queues and listens.
func Start(o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.ConnClock == nil {
		o.ConnClock = clockwork.NewRealClock()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Log, queues: map[string]*broker.Queue{}}
	for _, q := range o.Queues {
		if err := s.addQueue(q); err != nil {
			return nil, err
		}
	}
	return s, s.listen(o.Listen)
}

// New starts a server with these queues and closes it when the test ends.
func New(t testing.TB, queues ...Queue) *Server {
	t.Helper()
	s, err := Start(Options{Queues: queues})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *Server) addQueue(q Queue) error {
	c, err := q.config()
	if err != nil {
		return err
	}
	name := strings.ToLower(q.Name)
	if s.queues[name] != nil {
		return fmt.Errorf("create queue %q: there is one of that name", q.Name)
	}
	s.queues[name] = broker.New(c, s.o.Clock)
	return nil
}

func (q Queue) config() (broker.Config, error) {
	switch {
	case q.Name == "" || len(q.Name) > maxQueueName || strings.ContainsAny(q.Name, "?#*@$\\ ") || strings.Trim(q.Name, "/") != q.Name:
		return broker.Config{}, fmt.Errorf("create queue %q: a name is 1 to %d characters without ? # * @ $ \\, spaces or a slash at the ends", q.Name, maxQueueName)
	case outside(q.LockDuration, minLock, maxLock):
		return broker.Config{}, fmt.Errorf("create queue %q: lock duration %v is not within %v and %v", q.Name, q.LockDuration, minLock, maxLock)
	case outside(q.DuplicateWindow, minWindow, maxWindow):
		return broker.Config{}, fmt.Errorf("create queue %q: duplicate window %v is not within %v and %v", q.Name, q.DuplicateWindow, minWindow, maxWindow)
	case outside(q.TTL, minTTL, 1<<63-1):
		return broker.Config{}, fmt.Errorf("create queue %q: time to live %v is less than %v", q.Name, q.TTL, minTTL)
	case outside(q.MaxDeliveryCount, 1, maxDeliveries):
		return broker.Config{}, fmt.Errorf("create queue %q: delivery count %d is not within 1 and %d", q.Name, q.MaxDeliveryCount, maxDeliveries)
	case q.MaxMessageBytes < 0, q.MaxBytes < 0:
		return broker.Config{}, fmt.Errorf("create queue %q: a limit is negative", q.Name)
	}
	c := broker.Config{Name: q.Name, Sessions: q.Sessions, Lock: q.LockDuration, MaxDelivery: q.MaxDeliveryCount,
		Dedup: q.DuplicateWindow, TTL: q.TTL, DeadLetterOnExpiry: q.DeadLetterOnExpiry, MaxMessage: q.MaxMessageBytes,
		MaxBytes: q.MaxBytes}
	if c.Lock == 0 {
		c.Lock = defaultLock
	}
	if c.MaxDelivery == 0 {
		c.MaxDelivery = defaultDeliveries
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = defaultMessage
	}
	return c, nil
}

// outside tells a value that is set and not within bounds.
func outside[T cmp.Ordered](v, low, high T) bool {
	return v != *new(T) && (v < low || v > high)
}

func (s *Server) listen(address string) error {
	if address == NoListen {
		return nil
	}
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for amqp: %w", err)
	}
	if s.o.TLS != nil {
		l = tls.NewListener(l, s.o.TLS)
	}
	s.listener = l
	s.work.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			if s.serve(nc) != nil {
				_ = nc.Close()
			}
		}
	})
	return nil
}

var errClosed = errors.New("service bus server is closed")

func (s *Server) serve(nc net.Conn) error {
	c := newConn(s, nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.conns = append(s.conns, c)
	s.work.Go(func() {
		c.serve()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns = slices.DeleteFunc(s.conns, func(x *conn) bool { return x == c })
	})
	return nil
}

// ConnectionString is what a client needs. Without a listener it names a host that nobody answers for, to be used
// together with [Server.Dial].
func (s *Server) ConnectionString() string {
	c := "Endpoint=sb://" + s.Addr() + ";SharedAccessKeyName=" + keyName + ";SharedAccessKey=" + sharedKey + ";"
	if s.o.TLS == nil {
		c += "UseDevelopmentEmulator=true;" // which is how clients come to speak without TLS
	}
	return c
}

// Addr is the host and port the server listens on.
func (s *Server) Addr() string {
	if s.listener == nil {
		return "localhost"
	}
	return s.listener.Addr().String()
}

// Dial makes a connection within the process, for ClientOptions.NewWebSocketConn.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	theirs, ours := net.Pipe()
	if err := s.serve(ours); err != nil {
		return nil, err
	}
	return theirs, nil
}

// Close drops all connections and waits until nothing of the server runs any more.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	var err error
	if s.listener != nil {
		if err = s.listener.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	s.DropConnections()
	s.work.Wait()
	for _, q := range s.queues {
		q.Close()
	}
	return err
}
