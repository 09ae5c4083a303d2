package ewstest

import (
	"math/rand"
	"strconv"
	"sync"
	"time"
)

// Burst is the time budget of an account (EwsMaxBurst, EwsRechargeRate, EwsCutoffBalance): every request is charged
// with the time it took on the server's clock, the budget refills by the hour, and below the cutoff everything of the
// account is refused until the budget is back at 0.
type Burst struct {
	Max      time.Duration // 5 m by default in Exchange 2013
	Recharge time.Duration // per hour, 15 m by default
	Cutoff   time.Duration // negative, -50 m by default
}

// budget is what one account may still use.
type budget struct {
	mu        sync.Mutex
	active    int
	found     int
	burst     *Burst
	balance   time.Duration
	refilled  time.Time
	locked    bool // below the cutoff and not yet back at 0
	busyLeft  int  // refusals asked for by Busy
	busyFor   time.Duration
	busyUntil time.Time
	refused   int
}

func (b *budget) start(o Options) {
	b.burst = o.Burst
	b.refilled = o.Clock.Now()
	if b.burst != nil {
		b.balance = b.burst.Max
	}
}

// admit lets a request in or says why not.
func (s *Server) admit(a *account) *fault {
	b, now := &a.budget, s.o.Clock.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if f := b.busy(now); f != nil {
		b.refused++
		s.faults.strikes(IsBusy)
		return f
	}
	if wait := b.refill(now); wait > 0 {
		b.refused++
		return serverBusy(wait)
	}
	if b.active >= s.o.MaxConcurrency {
		b.refused++
		return newFault("ErrorExceededConnectionCount")
	}
	b.active++
	return nil
}

// busy carries out what [Server.Busy] asked for.
func (b *budget) busy(now time.Time) *fault {
	if now.Before(b.busyUntil) {
		return serverBusy(b.busyUntil.Sub(now))
	}
	if b.busyLeft == 0 {
		return nil
	}
	b.busyLeft--
	b.busyUntil = now.Add(b.busyFor)
	return serverBusy(b.busyFor)
}

func (b *budget) refill(now time.Time) time.Duration {
	if b.burst == nil {
		return 0
	}
	b.balance += time.Duration(float64(now.Sub(b.refilled)) / float64(time.Hour) * float64(b.burst.Recharge))
	b.balance, b.refilled = min(b.balance, b.burst.Max), now
	if b.balance < b.burst.Cutoff {
		b.locked = true
	} else if b.balance >= 0 {
		b.locked = false
	}
	if !b.locked {
		return 0
	}
	return time.Duration(float64(-b.balance) / float64(b.burst.Recharge) * float64(time.Hour))
}

// serverBusy is the fault of a throttled account; without a wait it does not say how long.
func serverBusy(wait time.Duration) *fault {
	f := newFault("ErrorServerBusy")
	if wait > 0 {
		f.xml = [][2]string{{"BackOffMilliseconds", strconv.FormatInt(max(wait.Milliseconds(), 1), 10)}}
	}
	return f
}

func (s *Server) leave(c *call, since time.Time) {
	b := &c.account.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.active--
	b.found -= c.findCost
	b.balance -= s.o.Clock.Since(since)
}

// find asks for n rows of the account's find count and returns how many it gets.
func (c *call) find(n int) int {
	b := &c.account.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	n = max(min(n, c.s.o.FindCountLimit-b.found), 0)
	b.found += n
	c.findCost += n
	return n
}

// Refusals says how many requests of an account were refused by throttling.
func (s *Server) Refusals(account string) int {
	a := s.account(account, "")
	if a == nil {
		return 0
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	return a.budget.refused
}

// shortPages cuts pages at random, the same way for the same seed and order of requests.
type shortPages struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newShortPages(seed int64) *shortPages {
	if seed == 0 {
		return nil
	}
	return &shortPages{r: rand.New(rand.NewSource(seed))}
}

func (p *shortPages) cut(n int) int {
	if p == nil || n < 2 {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return 1 + p.r.Intn(n)
}
