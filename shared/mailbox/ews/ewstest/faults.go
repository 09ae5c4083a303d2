package ewstest

import (
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// Request is what a hook learns about a request.
type Request struct {
	Operation string
	Account   string
	Mailbox   *exchangetest.Mailbox // acted as, nil when the account has none
	Items     []uint64              // items named in the request that are in their mailbox, in order
}

// itemKey names an item among all mailboxes.
type itemKey struct {
	mailbox uuid.UUID
	item    uint64
}

// faults are what tests have asked for.
type faults struct {
	mu          *sync.Mutex
	unavailable int
	truncate    map[itemKey]bool
	corrupt     map[itemKey]bool
	cut         map[itemKey]int
	problems    map[itemKey]string
	before      map[string][]func(Request)
	export      map[itemKey]func()
	batchStop   int
	slow        time.Duration
	moving      map[uuid.UUID]bool
	epochs      map[uuid.UUID]uint64
	struck      func(Trouble)
}

// Trouble is a kind of fault.
type Trouble string

// The kinds, after the methods that ask for them.
const (
	IsBusy        Trouble = "busy"
	IsUnavailable Trouble = "unavailable"
	IsTruncated   Trouble = "truncated"
	IsRefused     Trouble = "refused"
	IsStopped     Trouble = "batch stopped"
	IsCut         Trouble = "connection cut"
	IsForgotten   Trouble = "sync state refused"
)

// OnTrouble has f called whenever a fault strikes, with its kind. f must not call the server.
func (s *Server) OnTrouble(f func(Trouble)) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.struck = f
}

// strikes tells that a fault strikes.
func (f *faults) strikes(kind Trouble) {
	f.mu.Lock()
	struck := f.struck
	f.mu.Unlock()
	if struck != nil {
		struck(kind)
	}
}

func newFaults() faults {
	return faults{mu: &sync.Mutex{}, truncate: map[itemKey]bool{}, corrupt: map[itemKey]bool{}, cut: map[itemKey]int{},
		problems: map[itemKey]string{}, before: map[string][]func(Request){}, export: map[itemKey]func(){}, moving: map[uuid.UUID]bool{}, epochs: map[uuid.UUID]uint64{}}
}

func key(m *exchangetest.Mailbox, item uint64) itemKey { return itemKey{m.GUID, item} }

// Busy refuses the next n requests of an account with ErrorServerBusy. With a back-off each refusal announces it, and
// until it is over every further request of the account is refused too, without counting towards n.
func (s *Server) Busy(account string, backoff time.Duration, n int) {
	a := s.account(account, "")
	if a == nil {
		return
	}
	a.budget.mu.Lock()
	defer a.budget.mu.Unlock()
	a.budget.busyLeft, a.budget.busyFor, a.budget.busyUntil = n, backoff, time.Time{}
}

// Unavailable answers the next n HTTP requests, of anyone, with 503.
func (s *Server) Unavailable(n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.unavailable = n
}

// Truncate makes every export of an item end in the middle with the text "=== Truncated Data ===", as a success.
func (s *Server) Truncate(m *exchangetest.Mailbox, item uint64) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.truncate[key(m, item)] = true
}

// CorruptItem makes the server unable to read an item: ErrorItemCorrupt.
func (s *Server) CorruptItem(m *exchangetest.Mailbox, item uint64) {
	s.Refuse(m, item, "ErrorItemCorrupt")
}

// Refuse answers every read of an item with a response code; "" ends it.
func (s *Server) Refuse(m *exchangetest.Mailbox, item uint64, code string) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.problems[key(m, item)] = code
}

// BatchStopAfter makes every ExportItems stop after n items as if its minute was over; 0 ends it.
func (s *Server) BatchStopAfter(n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.batchStop = n
}

// CutConnection ends the TCP connection in the middle of an item's Data, the next n times it is exported.
func (s *Server) CutConnection(m *exchangetest.Mailbox, item uint64, n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.cut[key(m, item)] = n
}

// Slow makes each exported item take d on the server's clock; 0 ends it.
func (s *Server) Slow(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.slow = d
}

// MoveMailbox makes everything in a mailbox answer ErrorMailboxMoveInProgress while on.
func (s *Server) MoveMailbox(m *exchangetest.Mailbox, on bool) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.moving[m.GUID] = on
}

// ForgetStates makes every sync state of a mailbox that was given so far be refused with ErrorInvalidSyncStateData.
func (s *Server) ForgetStates(m *exchangetest.Mailbox) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.epochs[m.GUID]++
}

// Before runs f before every request for an operation, after it was let in.
func (s *Server) Before(operation string, f func(Request)) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.before[operation] = append(s.faults.before[operation], f)
}

// BeforeExport runs f before every export of an item, between its listing and its reading.
func (s *Server) BeforeExport(m *exchangetest.Mailbox, item uint64, f func()) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.export[key(m, item)] = f
}

func (f *faults) takeUnavailable() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unavailable == 0 {
		return false
	}
	f.unavailable--
	return true
}

func (f *faults) takeCut(k itemKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut[k] == 0 {
		return false
	}
	f.cut[k]--
	return true
}

func (f *faults) isTruncated(k itemKey) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.truncate[k]
}

func (f *faults) problem(k itemKey) *problem {
	f.mu.Lock()
	defer f.mu.Unlock()
	if code := f.problems[k]; code != "" {
		return newProblem(code)
	}
	return nil
}

func (f *faults) beforeExport(k itemKey) {
	f.mu.Lock()
	run := f.export[k]
	f.mu.Unlock()
	if run != nil {
		run()
	}
}

func (f *faults) exportPace() (batchStop int, slow time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batchStop, f.slow
}

func (f *faults) epoch(m *exchangetest.Mailbox) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.epochs[m.GUID]
}

func (f *faults) isMoving(m *exchangetest.Mailbox) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.moving[m.GUID]
}

// interfere runs hooks.
func (s *Server) interfere(c *call, _ http.ResponseWriter) *fault {
	name := c.op.name.Local
	s.faults.mu.Lock()
	hooks := append([]func(Request){}, s.faults.before[name]...)
	s.faults.mu.Unlock()
	if len(hooks) == 0 {
		return nil
	}
	r := Request{Operation: name, Account: c.account.user, Mailbox: c.as, Items: c.named(c.op)}
	for _, h := range hooks {
		h(r)
	}
	return nil
}
