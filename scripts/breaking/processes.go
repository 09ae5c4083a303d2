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
	"strings"
	"sync"
	"time"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/scripts/stack"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox"
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
	mu    sync.Mutex
	hits  map[string]int
	kills int // of this host: the third would stop it
}

// processRun is one of them: a wave of its own.
type processRun struct {
	seed  uint64
	pairs []*pair
	wave  migration.WaveID
}

// real does n runs with the real processes and returns each one's verdict.
func (o options) real(ctx context.Context, n int, mails fill.Plan, log *slog.Logger) (map[uint64]verdict, map[string]int, error) {
	online := fts.Version{Major: 15, Minor: 20, Build: 8120, Revision: 15}
	s, err := stack.Start(ctx, stack.Options{Package: filepath.Join(o.Root, "build", "package"), Azurite: filepath.Join(o.Root, "scripts", "azurite"),
		Log: log, Env: map[string]string{"COPY_DOUBT": "2s"}})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	p := &processes{Stack: s, r: rand.New(rand.NewPCG(o.Seed, 2)), hits: map[string]int{}}
	for i := range n {
		run := &processRun{seed: o.Seed + uint64(i)}
		plan := mails
		plan.Seed, plan.Total, plan.Each = run.seed, 1, 10+p.r.IntN(40)
		x := &pair{source: exchangetest.New(fmt.Sprintf("run%d@old.example", i), exchangetest.Options{}),
			target: exchangetest.New(fmt.Sprintf("run%d@new.example", i), exchangetest.Options{Restamp: &online})}
		if err := plan.Fill(x.source, 0); err != nil {
			return nil, nil, err
		}
		if i%4 == 0 {
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

// migrate submits all waves and breaks things until they are over.
func (p *processes) migrate(ctx context.Context) error {
	for _, run := range p.runs {
		body := "source,target\n" + run.pairs[0].source.Address + "," + run.pairs[0].target.Address + "\n"
		var got struct{ Wave migration.WaveID }
		if err := p.submit(ctx, body, &got); err != nil {
			return err
		}
		run.wave = got.Wave
	}
	const breaking = 45 * time.Second // afterwards the waves are left in peace, to come to an end
	quiet := time.Now().Add(breaking)
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.revive(ctx); err != nil {
			return err
		}
		if time.Now().Before(quiet) {
			p.breakSomething()
		}
		if n%8 > 0 {
			continue
		}
		over, err := p.over(ctx)
		if err != nil || over {
			return err
		}
	}
}

// submit submits a batch, as often as the handler's rate limit wants.
func (p *processes) submit(ctx context.Context, body string, into any) error {
	const tries = 60
	var err error
	for range tries {
		if err = p.call(ctx, http.MethodPost, "/api/batches", body, into); err == nil || !strings.Contains(err.Error(), "429") {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// revive starts the host again when it has stopped after its third crash, as the platform does.
func (p *processes) revive(ctx context.Context) error {
	select {
	case <-p.Host.Done():
	default:
		return nil
	}
	p.hit("host stopped after three crashes")
	p.kills = 0
	return errors.Join(p.Host.Close(), p.StartHost(ctx))
}

func (p *processes) hit(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hits[name]++
}

// breakSomething does one of the faults that only real processes have, or one of the servers'.
func (p *processes) breakSomething() {
	run := p.runs[p.r.IntN(len(p.runs))]
	x := run.pairs[0]
	id := string(migration.MailboxFor(x.source.Address, x.target.Address))
	faults := []struct {
		name string
		do   func()
	}{
		{"process: kill -9 of the handler", func() { p.kill("copyshard") }},
		{"process: kill -9 of the handler", func() { p.kill([]string{"planmailbox", "verifymailbox"}[p.r.IntN(2)]) }},
		{"process: Service Bus connections dropped", func() { p.Bus.DropConnections() }},
		{"process: Service Bus server busy", func() { p.Bus.Busy(1 + p.r.IntN(3)) }},
		{"process: session lock lost", func() { p.Bus.LoseSession("copy", id) }},
		{"process: delivered twice", func() {
			for _, m := range p.Bus.Messages("copy") {
				p.Bus.DeliverTwice("copy", m.ID)
			}
		}},
		{"process: import applied, answer lost", func() { p.Graph.Next(1, graphtest.ImportItem).LoseAnswer() }},
		{"process: connection reset", func() { p.Graph.Next(1, graphtest.ImportItem).Reset() }},
		{"process: 429", func() { p.Graph.Next(2, graphtest.Any).Throttle("1") }},
		{"process: 503 with an empty body", func() { p.Graph.Next(1, graphtest.ImportItem).Unavailable("") }},
		{"process: import sessions expired", func() { p.Graph.ExpireSessions(x.target) }},
		{"process: EWS server busy", func() { p.EWS.Busy(stack.ServiceUser, time.Second, 1) }},
		{"process: EWS 503", func() { p.EWS.Unavailable(1) }},
	}
	f := faults[p.r.IntN(len(faults))]
	f.do()
	p.hit(f.name)
}

// kill kills a function's process.
func (p *processes) kill(function string) {
	if err := p.Host.Kill(function); err == nil {
		p.kills++
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
		if st.States[migration.Failed] > 0 {
			p.hit("process: operator retry")
			var changed struct{ Changed int }
			_ = p.call(ctx, http.MethodPost, "/api/waves/"+string(run.wave)+"/retry", "", &changed) // asked again next time
			all = false
		}
		all = all && st.Over
	}
	return all, nil
}

func (p *processes) call(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, p.Host.URL()+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("x-functions-key", p.Host.Key())
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
			State    migration.State
			Problem  string
			Problems []ledger.Problem
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
		skipped := map[string]bool{}
		for _, pr := range rep.Problems {
			if excuses(mailbox.Reason(pr.Reason)) {
				skipped[pr.About] = true
			}
		}
		v.compare(x, len(skipped))
		out[run.seed] = v
	}
	return out, p.hits, nil
}
