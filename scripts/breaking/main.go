// Command breaking is what ./scripts/chaos runs: it moves real mail, breaks the migration on purpose, and asks both Exchanges
// afterwards what they hold, item by item, by content.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mailferry/mailferry/scripts/fill"
)

// options are the command line.
type options struct {
	Runs    int    `default:"200" help:"How many migrations to break."`
	Seed    uint64 `default:"1" help:"Seed of the first run; run n has seed + n. A failing seed replays its faults with --runs 1 --real 0. What the real processes do in time no seed replays."`
	JSON    string `placeholder:"FILE" help:"Write the summary to FILE."`
	Real    int    `default:"-1" help:"How many of the runs go through the real handler, host, Service Bus server and Azurite; a tenth unless given."`
	Verbose bool   `short:"v" help:"Log what the stages say to standard error."`
	Root    string `default:"." hidden:"" help:"The repository."`
}

// summary is what --json writes.
type summary struct {
	Runs   int            `json:"runs"`
	Faults map[string]int `json:"faults"`
	verdict
	FailedRuns []uint64 `json:"failed_runs"`
	Seconds    float64  `json:"seconds"`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("chaos"), kong.Description("Breaks migrations of real mail on purpose and compares both sides afterwards. "+
		"Faults are counted when they strike. "+
		"Exits with 0 only if nothing was lost, duplicated, altered, stuck or unexplained."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	good, err := o.run(ctx, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	if !good {
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context, out io.Writer) (bool, error) {
	if o.Runs < 1 || o.Real > o.Runs {
		return false, fmt.Errorf("--runs wants 1 or more, --real at most as many")
	}
	began := time.Now()
	mails, _, err := fill.Real(ctx, o.Root)
	if err != nil {
		return false, err
	}
	log := slog.New(slog.DiscardHandler)
	if o.Verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	sum := &summary{Runs: o.Runs, Faults: map[string]int{}, FailedRuns: []uint64{}}
	seeds := make(chan uint64)
	var mu sync.Mutex
	var all sync.WaitGroup
	done := 0
	for range 4 {
		all.Go(func() {
			for seed := range seeds {
				v, hits := one(ctx, seed, fill.Plan{Mails: mails}, log)
				mu.Lock()
				sum.add(seed, v, hits, out)
				if done++; done%20 == 0 {
					fmt.Fprintf(out, "%d runs …\n", done)
				}
				mu.Unlock()
			}
		})
	}
	real := o.Real
	if real < 0 {
		real = (o.Runs + 9) / 10
	}
	for n := range o.Runs - real {
		seeds <- o.Seed + uint64(real+n)
	}
	close(seeds)
	all.Wait()
	if real > 0 {
		fmt.Fprintf(out, "%d runs in one process are done; %d through the real processes follow, a minute or two …\n", o.Runs-real, real)
		verdicts, hits, err := o.real(ctx, real, fill.Plan{Mails: mails}, log)
		if err != nil {
			return false, fmt.Errorf("run the real processes: %w", err)
		}
		for seed, v := range verdicts {
			sum.add(seed, v, nil, out)
		}
		for k, n := range hits {
			sum.Faults[k] += n
		}
	}
	sum.Seconds = time.Since(began).Seconds()
	return len(sum.FailedRuns) == 0, sum.show(o, out)
}

// patience bounds one run in real time; a run that needs longer is stuck.
const patience = 2 * time.Minute

// one does one run. An error of the harness counts as stuck.
func one(ctx context.Context, seed uint64, plan fill.Plan, log *slog.Logger) (verdict, map[string]int) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	u, err := newRun(ctx, seed, plan, log.With("seed", seed))
	if err != nil {
		return verdict{Stuck: 1, notes: []string{err.Error()}}, nil
	}
	defer u.close()
	if err := u.migrate(ctx); err != nil {
		return verdict{Stuck: 1, notes: []string{err.Error()}}, u.script.hits
	}
	v, err := u.check(ctx)
	if err != nil {
		v.Stuck++
		v.note("%v", err)
	}
	return v, u.script.hits
}

func (s *summary) add(seed uint64, v verdict, hits map[string]int, out io.Writer) {
	for k, n := range hits {
		s.Faults[k] += n
	}
	s.Items, s.Lost, s.Duplicated = s.Items+v.Items, s.Lost+v.Lost, s.Duplicated+v.Duplicated
	s.Altered, s.Stuck, s.Unexplained, s.Skipped = s.Altered+v.Altered, s.Stuck+v.Stuck, s.Unexplained+v.Unexplained, s.Skipped+v.Skipped
	if v.bad() {
		s.FailedRuns = append(s.FailedRuns, seed)
		fmt.Fprintf(out, "seed %d FAILED: %d lost, %d duplicated, %d altered, %d stuck, %d unexplained\n", seed, v.Lost, v.Duplicated, v.Altered, v.Stuck, v.Unexplained)
		for _, n := range v.notes {
			fmt.Fprintf(out, "  %s\n", n)
		}
	}
}

func (s *summary) show(o options, out io.Writer) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	fmt.Fprintf(out, "%s\n", b)
	if o.JSON == "" {
		return nil
	}
	if err := os.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
