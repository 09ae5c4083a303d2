package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/receipt"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/verifier"
)

// The queues' settings, and how long lost imports are waited for.
const (
	lockDuration  = 5 * time.Minute
	maxDeliveries = 10
	doubt         = 5 * time.Minute // as the handler has it unless it is told otherwise
)

// run is one migration that is broken on purpose.
type run struct {
	r       *rand.Rand
	clock   *clockwork.FakeClock
	script  *script
	ews     *ewstest.Server
	graph   *graphtest.Server
	wire    *wire // to it
	source  *ews.Client
	target  *graph.Client
	ledger  *ledger.Ledger
	blobs   [4]*blob.Memory // manifests, staging, reports, receipts
	key     receipt.SigningKey
	bus     *bus.Memory
	log     *slog.Logger
	newID   func() string
	pairs   []*pair
	failed  map[string]int // failed deliveries by message
	zombies []*zombie
	wave    migration.WaveID
	plan    fill.Plan
	drawn   int // mails that came after the first

	deliveries atomic.Int64
	verifying  map[migration.MailboxID]int64 // the delivery by which each mailbox was verified last; -1 where it is not known
	idle       int                           // mailboxes that stood without a message when they should not
	budget     time.Duration                 // of comparisons
}

// pair is one mailbox on both sides, with what its source ever held.
type pair struct {
	source, target *exchangetest.Mailbox
	at             *atomic.Int64 // counts deliveries
	mu             sync.Mutex    // guards what follows: items are exported side by side
	touched        int64         // the delivery in or before which the source changed last
	past           map[place]int // how often a content was at the source at once at most
	names          map[name]int  // and how often an identity was
	// The identities that change whenever they are read: of several equal ones, the target may hold two as they were at
	// different times, as verification reports.
	restless map[name]bool
}

// zombie is a worker that stands still although its message was given to another one.
type zombie struct {
	w    *worker
	wake int // deliveries until it goes on
	done chan error
}

// identity hands out tokens of Mailferry's app.
type identity struct {
	graph *graphtest.Server
	clock clockwork.Clock
}

func (i identity) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: i.graph.Token(), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// newRun builds a world from a seed.
func newRun(ctx context.Context, seed uint64, plan fill.Plan, log *slog.Logger) (*run, error) {
	r := rand.New(rand.NewPCG(seed, 1))
	u := &run{r: r, clock: clockwork.NewFakeClockAt(pipelinetest.Start), script: newScript(r), ledger: ledger.NewMemory(),
		log: log, newID: pipelinetest.IDs(), failed: map[string]int{}, verifying: map[migration.MailboxID]int64{}, budget: 25 * time.Minute}
	if r.IntN(3) == 0 {
		u.budget = time.Nanosecond // every round of a comparison is a delivery
	}
	u.bus = &bus.Memory{Clock: u.clock}
	var err error
	if u.key, err = receipt.NewKey(); err != nil {
		return nil, err
	}
	for i := range u.blobs {
		u.blobs[i] = &blob.Memory{}
	}
	u.ews = ewstest.Start(ewstest.Options{Clock: u.clock, ShortPages: int64(seed % 3)})
	u.ews.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
	retry := []graphtest.RetryAfter{graphtest.WholeSeconds, graphtest.Fractional, graphtest.Absent}[r.IntN(3)]
	if u.graph, err = graphtest.Start(graphtest.Options{Clock: u.clock, RetryAfter: retry, DeltaKept: u.r.IntN(2) * graphtest.OutlookLinks}); err != nil {
		return nil, fmt.Errorf("start Graph: %w", err)
	}
	u.source, err = ews.New(ews.Options{URL: u.ews.URL(), Clock: u.clock, Patience: -1,
		Accounts: []ews.Account{{User: `CORP\svc`, Password: "secret"}}})
	if err != nil {
		return nil, err
	}
	u.wire = &wire{next: &http.Transport{MaxIdleConnsPerHost: 64, ExpectContinueTimeout: time.Second}}
	u.target, err = graph.New(graph.Options{BaseURL: u.graph.URL(), Credential: identity{u.graph, u.clock}, Clock: u.clock, Patience: -1, Transport: u.wire})
	if err != nil {
		return nil, err
	}
	return u, u.fill(plan, seed)
}

func (u *run) close() {
	u.ews.Close()
	u.graph.Close()
}

// fill makes one to three mailboxes of real mail.
func (u *run) fill(plan fill.Plan, seed uint64) error {
	online := fts.Version{Major: 15, Minor: 20, Build: 8120, Revision: 15}
	plan.Seed, plan.Total = seed, 1+u.r.IntN(3)
	u.plan = plan
	for n := range plan.Total {
		p := &pair{
			at:     &u.deliveries,
			source: exchangetest.New(fmt.Sprintf("user%d@old.example", n), exchangetest.Options{Clock: u.clock}),
			target: exchangetest.New(fmt.Sprintf("user%d@new.example", n), exchangetest.Options{Clock: u.clock, Restamp: &online}),
		}
		plan.Each = 5 + u.r.IntN(40)
		if err := plan.Fill(p.source, n); err != nil {
			return err
		}
		if u.r.IntN(3) == 0 {
			if err := large(p.source); err != nil {
				return err
			}
		}
		u.ews.AddMailbox(p.source)
		u.graph.AddMailbox(p.target)
		u.pairs = append(u.pairs, p)
		p.remember()
	}
	return nil
}

// needs are what one worker stands on.
func (u *run) needs(w *worker) pipeline.Needs {
	l, skew := u.ledger, time.Duration(u.r.IntN(41)-20)*time.Second
	if skew != 0 && w.script == u.script {
		u.script.hit("clock skew")
	}
	return pipeline.Needs{
		Sources: sources{w, u.source}, Targets: targets{w, u.target},
		Ledger:    &ledger.Ledger{Waves: table{w, l.Waves}, Mailboxes: table{w, l.Mailboxes}, Groups: table{w, l.Groups}, Fences: table{w, l.Fences}, Problems: table{w, l.Problems}},
		Manifests: store{w, "manifest", u.blobs[0]}, Staging: store{w, "staging", u.blobs[1]}, Reports: store{w, "report", u.blobs[2]},
		Receipts: store{w, "receipt", u.blobs[3]}, Key: u.key, Release: "chaos",
		Bus: postbox{w, u.bus}, Clock: skewed{u.clock, skew}, Log: u.log, NewID: u.newID,
		Depth: verifier.Full, Memory: 64 << 20, Budget: 25 * time.Minute, Doubt: doubt,
	}
}

// healthy is a pipeline that no fault hits: the operator's.
func (u *run) healthy() *pipeline.Pipeline {
	n := u.needs(newWorker(&script{passed: map[string]int{}, hits: map[string]int{}}))
	n.Clock = u.clock
	return pipeline.New(n)
}

// migrate moves the mailboxes and breaks things meanwhile. Mailboxes that a fault made fail are retried as an operator
// would, so that in the end only what cannot be mended is left.
func (u *run) migrate(ctx context.Context) error {
	stop := u.tick(ctx)
	defer stop()
	u.listen()
	u.breakServers()
	p := u.healthy()
	var lines []submitter.Line
	for _, x := range u.pairs {
		lines = append(lines, submitter.Line{Source: x.source.Address, Target: x.target.Address})
	}
	batch := submitter.Batch{Mailboxes: lines}
	if u.r.IntN(2) == 0 {
		batch.Cutover = u.clock.Now().Add(5 * 24 * time.Hour)
	}
	w, err := p.Submitter.Submit(ctx, batch)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	u.wave = w.ID
	if err := u.again(ctx, p, lines[0]); err != nil {
		return err
	}
	if err := p.Starter.Start(ctx, w); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := u.settle(ctx, p); err != nil || batch.Cutover.IsZero() {
		return err
	}
	if err := u.deltas(ctx, p); err != nil {
		return err
	}
	return u.cutOver(ctx, p, batch.Cutover)
}

// settle delivers messages until none is left, and retries what failed, as an operator would.
func (u *run) settle(ctx context.Context, p *pipeline.Pipeline) error {
	const rounds = 6
	for range rounds {
		if err := u.deliverAll(ctx); err != nil {
			return err
		}
		retried, err := p.Operator.Act(ctx, operator.Retry, u.wave, "")
		if err != nil {
			return fmt.Errorf("retry: %w", err)
		}
		if len(retried) == 0 {
			return u.lookForIdle(ctx)
		}
		u.script.hit("operator retry")
	}
	return nil
}

// lookForIdle counts mailboxes that stand in the middle of their work although no message is left: only the starter would
// find them, two hours later.
func (u *run) lookForIdle(ctx context.Context) error {
	for box, err := range u.ledger.WaveMailboxes(ctx, u.wave) {
		if err != nil {
			return fmt.Errorf("read mailboxes: %w", err)
		}
		if !box.State.Over() && box.State != migration.Synced {
			u.log.Info("idle", "mailbox", box.ID, "state", box.State)
			u.idle++
		}
	}
	return nil
}

// again submits a mailbox of the wave a second time, which must be refused.
func (u *run) again(ctx context.Context, p *pipeline.Pipeline, l submitter.Line) error {
	_, err := p.Submitter.Submit(ctx, submitter.Batch{Mailboxes: []submitter.Line{l}})
	if _, refused := errors.AsType[*submitter.BatchError](err); !refused {
		return fmt.Errorf("a mailbox was submitted in two waves: %w", err)
	}
	u.script.hit("two waves with one mailbox")
	return nil
}

// tick lets time pass while somebody waits for it: a hundred times faster than real time, so that what only watches over
// a request does not run out while the request is served.
func (u *run) tick(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for u.clock.BlockUntilContext(ctx, 1) == nil {
			<-pace.C
			u.clock.Advance(100 * time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}

// deliverAll delivers messages until none is left and no zombie stands.
func (u *run) deliverAll(ctx context.Context) error {
	const limit = 3000
	for range limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		u.wakeZombies(false)
		at, more := u.bus.Next()
		if !more {
			if len(u.zombies) == 0 {
				return nil
			}
			u.wakeZombies(true)
			continue
		}
		if wait := at.Sub(u.clock.Now()); wait > 0 {
			u.clock.Advance(wait)
		}
		letter, ok := u.bus.Take(u.clock.Now())
		if !ok {
			continue
		}
		if u.r.IntN(25) == 0 {
			u.script.hit("delivered twice")
			u.bus.Put(letter)
		}
		if u.r.IntN(20) == 0 {
			if other, ok := u.bus.Take(u.clock.Now()); ok {
				u.script.hit("delivered out of order")
				u.bus.Put(letter)
				letter = other
			}
		}
		if u.r.IntN(40) == 0 {
			u.script.hit("delivered late")
			letter.At = u.clock.Now().Add(time.Duration(u.r.IntN(900)) * time.Second)
			u.bus.Put(letter)
			continue
		}
		u.meddle()
		if err := u.deliver(ctx, letter); err != nil {
			return err
		}
		u.rest()
	}
	return fmt.Errorf("still busy after %d deliveries", limit)
}

// deliver gives a message to a new worker and does with it what the service does afterwards.
func (u *run) deliver(ctx context.Context, l bus.Letter) error {
	w := newWorker(u.script)
	alive, hangUp := context.WithCancel(ctx)
	w.hangUp = hangUp
	defer func() {
		if !w.isFrozen() {
			hangUp()
		}
	}()
	p := pipeline.New(u.needs(w))
	p.Verifier.Budget = u.budget
	u.deliveries.Add(1)
	box, err := u.ledger.Mailbox(ctx, l.Message.Wave, l.Message.Mailbox)
	verifies := err == nil && l.Queue == migration.VerifyQueue && box.State == migration.Verifying
	if verifies && u.verifying[box.ID] >= 0 {
		u.verifying[box.ID] = u.deliveries.Load()
	}
	done := make(chan error, 1)
	go func() { done <- p.Deliver(alive, l.Queue, l.Message.Encode()) }()
	select {
	case err = <-done:
	case <-w.frozen:
		if verifies {
			u.verifying[box.ID] = -1 // it may go on to its end, with what it had listed
		}
		w.rest()
		u.zombies = append(u.zombies, &zombie{w, 1 + u.r.IntN(6), done})
		return u.redeliver(ctx, l, errors.New("lock lost"), lockDuration)
	}
	if w.isDead() {
		return u.redeliver(ctx, l, errKilled, time.Duration(u.r.IntN(int(lockDuration))))
	}
	if err == nil {
		if k := u.script.next("answer"); k != "" { // done, but the service does not learn it
			return u.redeliver(ctx, l, errLostAnswer, lockDuration)
		}
		return nil
	}
	return u.redeliver(ctx, l, err, 0)
}

// redeliver puts a message back, or parks it when it has failed too often.
func (u *run) redeliver(ctx context.Context, l bus.Letter, why error, after time.Duration) error {
	id := l.Message.ID(l.Queue)
	if u.failed[id]++; u.failed[id] < maxDeliveries {
		l.At = u.clock.Now().Add(after)
		u.bus.Put(l)
		return nil
	}
	u.log.Info("parked", "message", id, "reason", why.Error())
	u.script.hit("parked")
	u.failed[id] = 0
	return u.healthy().Parker.Park(ctx, parker.Letter{Queue: l.Queue, ID: id, Body: l.Message.Encode(), Deliveries: maxDeliveries,
		Reason: "MaxDeliveryCountExceeded", Description: why.Error()})
}

// wakeZombies lets those go on whose time has come, or all, and waits until they are done. The service no longer takes
// their answers.
func (u *run) wakeZombies(all bool) {
	var left []*zombie
	for _, z := range u.zombies {
		if z.wake--; z.wake > 0 && !all {
			left = append(left, z)
			continue
		}
		close(z.w.thaw)
		<-z.done
		z.w.hangUp()
	}
	if len(left) < len(u.zombies) {
		u.rest()
	}
	u.zombies = left
}
