package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/scripts/stack"
	"github.com/mailferry/mailferry/shared/bus/servicebus/servicebustest"
	"github.com/mailferry/mailferry/shared/invoke/hosttest"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/migration"
)

// processes are runs through the real handler, host, Service Bus server and Azurite, all at once in one stack.
type processes struct {
	*stack.Stack
	r     *rand.Rand
	runs  []*processRun
	plan  fill.Plan
	drawn int // mails that came after the first
	front *front
	swap  sync.RWMutex // guards the host
	mu    sync.Mutex
	hits  map[string]int
	at    map[string]bool // points at which the workers are killed next
}

// workers are the functions whose processes do the work.
var workers = []string{"planmailbox", "copyshard", "verifymailbox"}

// processRun is one of them: a wave of its own.
type processRun struct {
	seed    uint64
	pairs   []*pair
	cutover bool
	wave    migration.WaveID
	retry   bool // a retry was asked for and not answered
}

// shortLock is how long a lock lasts that nobody renews: what a host held that has stopped comes back after it.
const shortLock = 6 * time.Second

// real does n runs with the real processes and returns each one's verdict.
func (o options) real(ctx context.Context, n int, mails fill.Plan, log *slog.Logger) (map[uint64]verdict, map[string]int, error) {
	online := fts.Version{Major: 15, Minor: 20, Build: 8120, Revision: 15}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	p := &processes{r: rand.New(rand.NewPCG(o.Seed, 2)), plan: mails, hits: map[string]int{}, at: map[string]bool{}}
	p.front = &front{hit: p.hit, kill: p.killAll}
	s, err := stack.Start(ctx, stack.Options{Package: filepath.Join(o.Root, "build", "package"), Azurite: filepath.Join(o.Root, "scripts", "azurite"),
		Log: log, Env: map[string]string{"COPY_DOUBT": "2s"}, Lock: shortLock, Front: func(storage string) (string, error) { return p.front.open(ctx, storage) }})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p.Stack = s
	p.listen()
	for i := range n {
		run := &processRun{seed: o.Seed + uint64(i), cutover: i%4 > 0}
		plan := mails
		plan.Seed, plan.Total, plan.Each = run.seed, 1, 60+p.r.IntN(120)
		x := &pair{source: exchangetest.New(fmt.Sprintf("run%d@old.example", i), exchangetest.Options{}),
			target: exchangetest.New(fmt.Sprintf("run%d@new.example", i), exchangetest.Options{Restamp: &online})}
		if err := plan.Fill(x.source, 0); err != nil {
			return nil, nil, err
		}
		if i%2 == 0 {
			if err := large(x.source); err != nil {
				return nil, nil, err
			}
		}
		x.remember()
		s.EWS.AddMailbox(x.source)
		s.Graph.AddMailbox(x.target)
		run.pairs = []*pair{x}
		p.runs = append(p.runs, run)
	}
	if err := p.migrate(ctx); err != nil {
		return nil, nil, err
	}
	return p.verdicts(ctx)
}

// migrate submits all waves and breaks things until they are over. Three in four have a cutover, and users work and deltas
// are made until then.
func (p *processes) migrate(ctx context.Context) error {
	breaking := 20*time.Second + 4*time.Second*time.Duration(len(p.runs)) // at least
	cutover := time.Now().Add(breaking).Truncate(time.Minute).Add(time.Minute)
	quiet := cutover.Add(15 * time.Second) // afterwards the waves are left in peace, to come to an end
	submitted := make(chan error, 1)
	go func() { submitted <- p.submitAll(ctx, cutover) }()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for n, all := 0, false; ; n++ {
		select {
		case <-tick.C:
		case err := <-submitted:
			if all = true; err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.revive(ctx); err != nil {
			return err
		}
		often := p.r.IntN(20) < len(p.runs) // few waves meet fewer faults, or none would get anywhere
		if often && time.Now().Before(cutover) {
			if err := p.work(); err != nil {
				return err
			}
		}
		switch quietNow := time.Now().After(quiet); {
		case quietNow:
			p.disarm()
		case often:
			p.breakSomething()
		}
		if n%8 > 0 || !all {
			continue
		}
		over, err := p.over(ctx)
		if err != nil || over {
			return err
		}
		if time.Now().After(quiet.Add(2 * patience)) { // a message that has failed six times waits for nearly three minutes
			return nil // what is not over is stuck
		}
	}
}

// work is one thing that a user does whose mailbox has its cutover ahead.
func (p *processes) work() error {
	run := p.runs[p.r.IntN(len(p.runs))]
	if !run.cutover {
		return nil
	}
	x := run.pairs[0]
	defer x.remember()
	it, ok := x.itemOf(p.r)
	switch n := p.r.IntN(20); {
	case n < 2:
		return large(x.source)
	case n < 7 && ok:
		x.touch(it)
		return nil
	}
	p.drawn++
	more := p.plan
	more.Seed, more.Each = run.seed, 1+p.r.IntN(3)
	return more.Draw(x.source, 1000+p.drawn)
}

// submitAll submits every run's wave while things break. A submission that failed is made again, as a person does: when
// only its answer was lost, the mailbox is in an active wave already, which then is the run's.
func (p *processes) submitAll(ctx context.Context, cutover time.Time) error {
	for _, run := range p.runs {
		body := "source,target\n" + run.pairs[0].source.Address + "," + run.pairs[0].target.Address + "\n"
		if run.cutover {
			body = "source,target,cutover\n" + run.pairs[0].source.Address + "," + run.pairs[0].target.Address + "," + cutover.UTC().Format(time.RFC3339) + "\n"
		}
		wave, err := p.submit(ctx, body)
		if err != nil {
			return err
		}
		run.wave = wave
	}
	return nil
}

var activeWave = regexp.MustCompile(`in the active wave (w[a-z0-9-]+)`)

// submit submits a batch as often as it takes.
func (p *processes) submit(ctx context.Context, body string) (migration.WaveID, error) {
	const tries = 120
	var err error
	for range tries {
		var got struct{ Wave migration.WaveID }
		if err = p.call(ctx, http.MethodPost, "/api/batches", body, &got); err == nil {
			return got.Wave, nil
		}
		if m := activeWave.FindStringSubmatch(err.Error()); m != nil {
			var there json.RawMessage
			if p.call(ctx, http.MethodGet, "/api/waves/"+m[1], "", &there) == nil {
				return migration.WaveID(m[1]), nil
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "", err
}

// host is the host that runs at the moment.
func (p *processes) host() *hosttest.Host {
	p.swap.RLock()
	defer p.swap.RUnlock()
	return p.Host
}

// revive starts the host again when it has stopped after its third crash, as the platform does.
func (p *processes) revive(ctx context.Context) error {
	select {
	case <-p.host().Done():
	default:
		return nil
	}
	p.hit("process: host stopped after three crashes")
	p.swap.Lock()
	defer p.swap.Unlock()
	return errors.Join(p.Host.Close(), p.StartHost(ctx))
}

func (p *processes) hit(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits[name]++
}

// listen has the workers killed at points of the two Exchanges and of Service Bus.
func (p *processes) listen() {
	p.Graph.Before(graphtest.ImportItem, func(http.ResponseWriter, *http.Request) bool {
		return p.killedAt("before import") // and so it is not carried out
	})
	p.Graph.After(graphtest.ImportItem, func(*http.Request, int) { p.killedAt("after import") })
	p.EWS.Before("ExportItems", func(ewstest.Request) { p.killedAt("before export") })
	p.Bus.BusyWhen(func(o servicebustest.Operation) bool {
		if o.Kind == servicebustest.Send && p.killedAt("before send") {
			return true
		}
		if o.Kind == servicebustest.Send && p.take("after send") {
			time.AfterFunc(2*time.Millisecond, func() { p.killAll(); p.hit("process: kill -9 after send") })
		}
		return false
	})
	p.Graph.After(graphtest.DeltaItems, func(_ *http.Request, status int) {
		if status == http.StatusGone {
			p.hit("process: 410 on a delta token")
		}
	})
	p.EWS.OnTrouble(func(t ewstest.Trouble) { p.hit("process: EWS " + string(t)) })
}

// take says whether the workers are to be killed at a point, once.
func (p *processes) take(point string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.at[point]
	delete(p.at, point)
	return due
}

// killedAt kills the workers at a point if that is due, and says whether it was.
func (p *processes) killedAt(point string) bool {
	if !p.take(point) {
		return false
	}
	p.killAll()
	p.hit("process: kill -9 " + point)
	return true
}

// killAll kills the processes that do the work.
func (p *processes) killAll() {
	for _, w := range workers {
		_ = p.host().Kill(w) // one that has ended is not killed
	}
}

func (p *processes) disarm() {
	p.front.disarm()
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.at)
}

// breakSomething does one of the faults that only real processes have, or one of the servers'. What comes later is counted
// when it strikes.
func (p *processes) breakSomething() {
	run := p.runs[p.r.IntN(len(p.runs))]
	x := run.pairs[0]
	fault := func(n int, op graphtest.Op, name string) *graphtest.Fault {
		return p.Graph.Next(n, op).Met(func() { p.hit("process: " + name) })
	}
	faults := []struct {
		weight int
		do     func()
	}{
		{1, func() { p.killNow(workers[p.r.IntN(len(workers))]) }},
		{8, p.killLater},
		{12, func() { p.front.arm(p.r) }},
		{2, func() { p.count("Service Bus connections dropped", p.Bus.DropConnections()) }},
		{1, func() { p.Bus.Busy(1 + p.r.IntN(3)); p.hit("process: Service Bus server busy") }},
		{1, p.loseSessions},
		{1, p.deliverTwice},
		{2, func() {
			if p.host().Inject(hosttest.Fault{Function: "copyshard", On: 1, Twice: true}) == nil {
				p.hit("process: answer lost")
			}
		}},
		{1, func() { fault(1, graphtest.ImportItem, "import applied, answer lost").LoseAnswer() }},
		{1, func() { fault(1, graphtest.ImportItem, "connection reset").Reset() }},
		{1, func() { fault(2, graphtest.Any, "429").Throttle("1") }},
		{1, func() { fault(1, graphtest.ImportItem, "503 with an empty body").Unavailable("") }},
		{1, func() { p.expireSessions(x) }},
		{1, func() { p.EWS.Busy(stack.ServiceUser, time.Second, 1) }},
		{1, func() { p.EWS.Unavailable(1) }},
		{1, func() { p.Graph.ExpireDelta(x.target) }},
		{1, func() { p.EWS.ForgetStates(x.source) }},
	}
	all := 0
	for _, f := range faults {
		all += f.weight
	}
	n := p.r.IntN(all)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			f.do()
			return
		}
	}
}

func (p *processes) count(name string, n int) {
	if n > 0 {
		p.hit("process: " + name)
	}
}

// killNow kills a function's process whatever it is doing.
func (p *processes) killNow(function string) {
	if p.host().Kill(function) == nil {
		p.hit("process: kill -9 at any moment")
	}
}

// killLater kills the workers when they come to a point.
func (p *processes) killLater() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at[[]string{"before import", "after import", "before export", "before send", "after send"}[p.r.IntN(5)]] = true
}

func (p *processes) expireSessions(x *pair) {
	p.Graph.ExpireSessions(x.target)
	p.hit("process: import sessions expired")
}

// loseSessions ends the lock of every session that is held: the old workers go on for a while.
func (p *processes) loseSessions() {
	for _, run := range p.runs {
		x := run.pairs[0]
		if p.Bus.LoseSession("copy", string(migration.MailboxFor(x.source.Address, x.target.Address))) {
			p.hit("process: session lock lost")
		}
	}
}

func (p *processes) deliverTwice() {
	for _, m := range p.Bus.Messages("copy") {
		p.count("delivered twice", p.Bus.DeliverTwice("copy", m.ID))
	}
}

// over asks whether all waves are over. Failed mailboxes are retried, as an operator does.
func (p *processes) over(ctx context.Context) (bool, error) {
	all := true
	for _, run := range p.runs {
		var st struct {
			Over   bool
			States map[migration.State]int
		}
		if err := p.call(ctx, http.MethodGet, "/api/waves/"+string(run.wave), "", &st); err != nil {
			return false, nil // the handler is being started again
		}
		if st.States[migration.Synced] > 0 { // until its cutover
			var changed struct{ Changed int }
			_ = p.call(ctx, http.MethodPost, "/api/waves/"+string(run.wave)+"/delta", "", &changed) // asked again next time
		}
		if st.States[migration.Failed] > 0 || run.retry {
			p.hit("process: operator retry")
			var changed struct{ Changed int }
			run.retry = p.call(ctx, http.MethodPost, "/api/waves/"+string(run.wave)+"/retry", "", &changed) != nil // asked again next time
			all = false
		}
		all = all && st.Over
	}
	return all, nil
}

func (p *processes) call(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, p.host().URL()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("x-functions-key", p.host().Key())
	req.Header.Set("Content-Type", "text/csv")
	resp, err := new(http.Client).Do(req)
	if err != nil {
		return fmt.Errorf("call the handler: %w", err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("status %s: %s", resp.Status, got)
	}
	if err != nil {
		return fmt.Errorf("call the handler: %w", err)
	}
	return json.Unmarshal(got, into)
}

// verdicts compares both sides of every run.
func (p *processes) verdicts(ctx context.Context) (map[uint64]verdict, map[string]int, error) {
	out := map[uint64]verdict{}
	for _, run := range p.runs {
		x := run.pairs[0]
		var rep struct {
			State   migration.State
			Problem string
			Counts  migration.Counts
		}
		id := migration.MailboxFor(x.source.Address, x.target.Address)
		if err := p.call(ctx, http.MethodGet, "/api/waves/"+string(run.wave)+"/mailboxes/"+string(id), "", &rep); err != nil {
			return nil, nil, err
		}
		var v verdict
		if rep.State != migration.Done {
			v.Stuck++
			v.note("mailbox %s ended as %s: %s", id, rep.State, rep.Problem)
		}
		v.compare(x, rep.Counts.Skipped)
		v.compareContent(x, rep.Counts.Skipped+rep.Counts.Differs) // users had stopped before the last pass
		out[run.seed] = v
	}
	return out, p.hits, nil
}
