package servicebustest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
)

// soak is many receivers at work on many sessions while things go wrong.
type soak struct {
	*testing.T
	*servicebustest.Server
	sessions, each int

	mu    sync.Mutex
	seen  map[string]int // messages handled, by session
	left  int
	drops int
}

func TestSoak(t *testing.T) {
	t.Parallel()
	s := &soak{T: t, sessions: 100, each: 20, seen: map[string]int{}, drops: 12,
		Server: servicebustest.New(t, servicebustest.Queue{Name: "q", Sessions: true, MaxDeliveryCount: 1000, DuplicateWindow: time.Hour})}
	s.left = s.sessions * s.each
	limit, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() { s.work(limit, rand.New(rand.NewPCG(1, uint64(w)))) })
	}
	s.sendAll()
	workers.Wait()
	for i := range s.sessions {
		if got := s.seen[sessionName(i)]; got != s.each {
			t.Errorf("session %d: %d of %d messages", i, got, s.each)
		}
	}
	if c := s.Counts("q"); c != (servicebustest.Counts{}) {
		t.Errorf("left over: %+v", c)
	}
}

func sessionName(i int) string { return fmt.Sprint("mailbox-", i) }

// sendAll sends every session's messages in order, sending again what it is not sure of: duplicates are dropped.
func (s *soak) sendAll() {
	c := s.dial()
	defer func() { s.close(c) }()
	sender, err := c.NewSender("q", nil)
	for i := range s.each {
		for session := 0; session < s.sessions; session++ {
			if err == nil {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				err = sender.SendMessage(ctx, numbered(sessionName(session), i), nil)
				cancel()
			}
			if err != nil {
				s.close(c)
				c = s.dial()
				sender, err = c.NewSender("q", nil)
				session--
			}
		}
	}
}

func (s *soak) dial() *azservicebus.Client {
	c, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions:     azservicebus.RetryOptions{MaxRetries: -1},
		NewWebSocketConn: func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) { return s.Dial(ctx) }})
	if err != nil {
		panic(err)
	}
	return c
}

func (s *soak) close(c *azservicebus.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = c.Close(ctx)
}

// over tells that all is handled and nothing is left: what was handled may come again when its completion got lost.
func (s *soak) over(limit context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left == 0 && s.Counts("q") == servicebustest.Counts{} || s.Failed() || limit.Err() != nil
}

func (s *soak) work(limit context.Context, r *rand.Rand) {
	c := s.dial()
	for !s.over(limit) {
		if !s.session(c, r) {
			s.close(c)
			c = s.dial()
		}
	}
	s.close(c)
}

// session works on one session for a while. It returns false when the client had better be thrown away.
func (s *soak) session(c *azservicebus.Client, r *rand.Rand) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 400*time.Millisecond)
	defer cancel()
	sr, err := c.AcceptNextSessionForQueue(ctx, "q", nil)
	if err != nil {
		return false
	}
	for range 1 + r.IntN(10) {
		// One at a time: with more, the client gives back what comes too late for a call, and so changes the order.
		ms, err := sr.ReceiveMessages(ctx, 1, nil)
		if err != nil || len(ms) == 0 {
			break
		}
		if !s.handle(ctx, sr, ms[0], r) {
			return false
		}
	}
	return sr.Close(ctx) == nil
}

// handle counts a message the first time and settles it.
func (s *soak) handle(ctx context.Context, sr *azservicebus.SessionReceiver, m *azservicebus.ReceivedMessage, r *rand.Rand) bool {
	if r.IntN(10) == 0 {
		return sr.AbandonMessage(ctx, m, nil) == nil
	}
	s.note(m, r)
	settle, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	return sr.CompleteMessage(settle, m, nil) == nil
}

func (s *soak) note(m *azservicebus.ReceivedMessage, r *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, _ := strconv.Atoi(fmt.Sprint(m.ApplicationProperties["n"]))
	switch seen := s.seen[*m.SessionID]; {
	case n > seen:
		s.Errorf("session %s: message %d before %d", *m.SessionID, n, seen)
	case n == seen:
		s.seen[*m.SessionID]++
		s.left--
	}
	if s.drops > 0 && r.IntN(100) == 0 {
		s.drops--
		if s.drops%3 == 0 {
			s.DropConnections()
		} else {
			s.DropConnection()
		}
	}
}

func numbered(session string, n int) *azservicebus.Message {
	m := inSession(session, fmt.Sprint(session, " ", n))
	m.ApplicationProperties = map[string]any{"n": int64(n)}
	return m
}
