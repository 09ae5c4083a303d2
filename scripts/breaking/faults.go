package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
)

// Errors that faults make.
var (
	errKilled      = errors.New("the worker was killed")
	errUnavailable = errors.New("the store is unavailable")
	errLostAnswer  = errors.New("the answer was lost")
	errThrottled   = errors.New("the store is busy")
)

// kind is what a fault does at a point.
type kind string

// The kinds of faults at the points of a worker. Before and after say whether the operation was carried out.
const (
	killBefore  kind = "kill -9 before"
	killAfter   kind = "kill -9 after"
	lostAnswer  kind = "answer lost"
	unavailable kind = "unavailable"
	throttled   kind = "throttled"
	conflict    kind = "ETag conflict"
	killAmid    kind = "kill -9 in the middle of"
	freeze      kind = "zombie"
)

// points are the operations of a worker that faults hit, with the kinds that make sense there.
var points = map[string][]kind{
	"ledger write":  {killBefore, killAfter, lostAnswer, unavailable, throttled, freeze},
	"ledger change": {conflict},
	"ledger read":   {unavailable, throttled, freeze},
	"import":        {killBefore, killAfter, freeze},
	"send":          {killBefore, killAfter, lostAnswer, unavailable, throttled},
	"staging":       {killBefore, killAfter, unavailable, throttled},
	"staging block": {killAmid},
	"manifest":      {killBefore, killAfter, unavailable, throttled, lostAnswer},
	"receipt":       {killBefore, killAfter, unavailable, throttled, lostAnswer},
	"blob read":     {unavailable, throttled, freeze},
	"answer":        {killBefore, lostAnswer},
}

// reach is among how many first occurrences of a point its faults are spread.
var reach = map[string]int{"ledger write": 40, "ledger change": 40, "ledger read": 120, "import": 60, "send": 8, "staging": 4,
	"staging block": 2, "manifest": 3, "receipt": 4, "blob read": 12, "answer": 8}

// script says which occurrence of a point meets which fault. It follows from the seed alone, so that a seed replays its
// faults.
type script struct {
	mu     sync.Mutex
	at     map[string]map[int]kind
	passed map[string]int
	hits   map[string]int
}

// newScript spreads a few faults over the first occurrences of every point.
func newScript(r *rand.Rand) *script {
	s := &script{at: map[string]map[int]kind{}, passed: map[string]int{}, hits: map[string]int{}}
	for p := range points {
		s.at[p] = map[int]kind{}
	}
	s.more(r, 1)
	return s
}

// more spreads a few faults over the next occurrences of every point, within a part of its reach.
func (s *script) more(r *rand.Rand, part int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Sorted(maps.Keys(points)) {
		for range r.IntN(3) {
			s.at[p][s.passed[p]+r.IntN(1+reach[p]/part)] = points[p][r.IntN(len(points[p]))]
		}
	}
}

// next says which fault the point's next occurrence meets, "" for none.
func (s *script) next(point string) kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.passed[point]
	s.passed[point]++
	k := s.at[point][n]
	if k != "" {
		s.hits[string(k)+" "+point]++
	}
	return k
}

func (s *script) hit(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hits[name]++
}

// worker is one process that works on deliveries. Once dead, nothing it does reaches anything.
type worker struct {
	script *script
	mu     sync.Mutex
	dead   bool
	hangUp func() // ends its connections

	imports, inside atomic.Int32  // imports under way, and how many of them stand still
	frozen          chan struct{} // closed when the worker stands still
	thaw            chan struct{} // closed to let it go on
}

func newWorker(s *script) *worker {
	return &worker{script: s, hangUp: func() {}, frozen: make(chan struct{}), thaw: make(chan struct{})}
}

func (w *worker) kill() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	w.hangUp()
}

func (w *worker) isFrozen() bool {
	select {
	case <-w.frozen:
		return true
	default:
		return false
	}
}

func (w *worker) isDead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// stand makes the worker a zombie, once: it stands still until it is let go.
func (w *worker) stand() {
	w.mu.Lock()
	select {
	case <-w.frozen:
	default:
		close(w.frozen)
	}
	w.mu.Unlock()
	<-w.thaw
}

// rest waits until the imports of a worker that stands still have ended, but for those that stand still themselves.
func (w *worker) rest() {
	for deadline := time.Now().Add(patience); w.imports.Load() > w.inside.Load() && time.Now().Before(deadline); {
		time.Sleep(100 * time.Microsecond)
	}
}

// inImport marks the context of an import.
type inImport struct{}

// wire counts requests to Graph that are under way.
type wire struct {
	next     http.RoundTripper
	underWay atomic.Int32
}

func (c *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	c.underWay.Add(1)
	defer c.underWay.Add(-1)
	return c.next.RoundTrip(r)
}

// rest waits until Graph is done with requests that their sender has given up. They take real time, and the clock must not
// jump over minutes meanwhile: that would be a target that takes longer than the doubt to carry out what it has.
func (u *run) rest() {
	for quiet, deadline := 0, time.Now().Add(patience); quiet < 4 && time.Now().Before(deadline); quiet++ {
		if u.graph.InFlight() > int(u.wire.underWay.Load()) {
			quiet = -1
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// do carries an operation out under the script's faults. unknown is what the operation returns when its answer is lost.
func (w *worker) do(ctx context.Context, point string, unknown error, op func() error) error {
	if w.isDead() {
		return errKilled
	}
	k := w.script.next(point)
	switch k {
	case killBefore:
		w.kill()
		return errKilled
	case unavailable:
		return errUnavailable
	case throttled:
		return errThrottled
	case freeze:
		if ctx.Value(inImport{}) != nil {
			w.inside.Add(1)
			defer w.inside.Add(-1)
		}
		w.stand()
	}
	if w.isDead() {
		return errKilled
	}
	err := op()
	switch k {
	case killAfter:
		w.kill()
		return errKilled
	case lostAnswer:
		return unknown
	}
	if w.isDead() {
		return errKilled
	}
	return err
}

// table is a ledger table as a worker sees it.
type table struct {
	w     *worker
	inner ledger.Table
}

// repeated is what an SDK does when an answer is lost: the request is sent again, and what it meets is returned.
func (t table) repeated(ctx context.Context, again func() error) error {
	return t.w.do(ctx, "ledger write", errLostAnswer, func() error { return again() })
}

func (t table) Insert(ctx context.Context, rows ...ledger.Row) error {
	err := t.repeated(ctx, func() error { return t.inner.Insert(ctx, rows...) })
	if errors.Is(err, errLostAnswer) {
		return t.inner.Insert(ctx, rows...)
	}
	return err
}

func (t table) Replace(ctx context.Context, r ledger.Row) (out ledger.Row, err error) {
	if t.w.script.next("ledger change") == conflict { // somebody else stored the row meanwhile, as it was
		if was, err := t.inner.Row(ctx, r.Partition, r.Key); err == nil {
			_, _ = t.inner.Replace(ctx, was)
		}
	}
	err = t.repeated(ctx, func() (err error) { out, err = t.inner.Replace(ctx, r); return err })
	if errors.Is(err, errLostAnswer) {
		return t.inner.Replace(ctx, r)
	}
	return out, err
}

func (t table) Delete(ctx context.Context, r ledger.Row) error {
	err := t.repeated(ctx, func() error { return t.inner.Delete(ctx, r) })
	if errors.Is(err, errLostAnswer) {
		return t.inner.Delete(ctx, r)
	}
	return err
}

func (t table) Row(ctx context.Context, partition, key string) (out ledger.Row, err error) {
	err = t.w.do(ctx, "ledger read", errUnavailable, func() (err error) { out, err = t.inner.Row(ctx, partition, key); return err })
	return out, err
}

func (t table) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	return func(yield func(ledger.Row, error) bool) {
		if err := t.w.do(ctx, "ledger read", errUnavailable, func() error { return nil }); err != nil {
			yield(ledger.Row{}, err)
			return
		}
		t.inner.Rows(ctx, partition, prefix)(yield)
	}
}

// store is a blob store as a worker sees it.
type store struct {
	w     *worker
	point string
	inner blob.Store
}

func (s store) Put(ctx context.Context, name string, r io.Reader) error {
	if s.point == "staging" && s.w.script.next("staging block") == killAmid {
		r = &dying{r: r, w: s.w, left: 3 << 20}
	}
	return s.w.do(ctx, s.point, errLostAnswer, func() error { return s.inner.Put(ctx, name, r) })
}

func (s store) Open(ctx context.Context, name string, offset int64) (r io.ReadCloser, size int64, err error) {
	err = s.w.do(ctx, "blob read", errUnavailable, func() (err error) { r, size, err = s.inner.Open(ctx, name, offset); return err })
	return r, size, err
}

// dying is a stream whose worker is killed after some bytes, with a blob half written.
type dying struct {
	r    io.Reader
	w    *worker
	left int
}

func (d *dying) Read(p []byte) (int, error) {
	if d.left <= 0 {
		d.w.kill()
		return 0, errKilled
	}
	n, err := d.r.Read(p[:min(len(p), d.left)])
	d.left -= n
	return n, err
}

func (s store) Delete(ctx context.Context, name string) error {
	if s.w.isDead() {
		return errKilled
	}
	return s.inner.Delete(ctx, name)
}

func (s store) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.w.do(ctx, "blob read", errUnavailable, func() error { return nil }); err != nil {
			yield("", err)
			return
		}
		s.inner.Names(ctx, prefix)(yield)
	}
}

// postbox is the bus as a worker sees it.
type postbox struct {
	w     *worker
	inner bus.Bus
}

func (b postbox) Send(ctx context.Context, letters ...bus.Letter) error {
	return b.w.do(ctx, "send", errLostAnswer, func() error { return b.inner.Send(ctx, letters...) })
}

// sources and targets open mailboxes as a worker sees them.
type sources struct {
	w     *worker
	inner mailbox.Sources
}

func (s sources) Source(ctx context.Context, address string) (mailbox.Source, error) {
	if s.w.isDead() {
		return nil, errKilled
	}
	return s.inner.Source(ctx, address)
}

type targets struct {
	w     *worker
	inner mailbox.Targets
}

func (s targets) Target(ctx context.Context, address string) (mailbox.Target, error) {
	if s.w.isDead() {
		return nil, errKilled
	}
	t, err := s.inner.Target(ctx, address)
	if err != nil {
		return nil, err
	}
	return target{t, s.w}, nil
}

type target struct {
	mailbox.Target
	w *worker
}

func (t target) Import(ctx context.Context, f mailbox.FolderID, s mailbox.Stream) (id mailbox.ItemID, err error) {
	t.w.imports.Add(1)
	defer t.w.imports.Add(-1)
	ctx = context.WithValue(ctx, inImport{}, true)
	err = t.w.do(ctx, "import", mailbox.ErrUnknown, func() (err error) { id, err = t.Target.Import(ctx, f, s); return err })
	return id, err
}

func (t target) Replace(ctx context.Context, f mailbox.FolderID, old mailbox.Item, s mailbox.Stream) (id mailbox.ItemID, err error) {
	t.w.imports.Add(1)
	defer t.w.imports.Add(-1)
	ctx = context.WithValue(ctx, inImport{}, true)
	err = t.w.do(ctx, "import", mailbox.ErrUnknown, func() (err error) { id, err = t.Target.Replace(ctx, f, old, s); return err })
	return id, err
}

func (t target) CreateFolder(ctx context.Context, f mailbox.Folder) (out mailbox.Folder, err error) {
	err = t.w.do(ctx, "import", mailbox.ErrUnknown, func() (err error) { out, err = t.Target.CreateFolder(ctx, f); return err })
	return out, err
}

// skewed is a clock that is wrong by a constant.
type skewed struct {
	clockwork.Clock
	by time.Duration
}

func (c skewed) Now() time.Time                  { return c.Clock.Now().Add(c.by) }
func (c skewed) Since(t time.Time) time.Duration { return c.Now().Sub(t) }
func (c skewed) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }
func (c skewed) String() string                  { return fmt.Sprintf("clock wrong by %s", c.by) }
