// Command local is what ./scripts/run-local runs: it fills an Exchange with real mail, moves it through the real
// pipeline into another one, and asks both afterwards whether everything arrived.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/scripts/stack"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
)

// options are the command line.
type options struct {
	Mailboxes int    `default:"20" help:"How many mailboxes to move."`
	Each      int    `default:"100" help:"How many real messages each mailbox draws; not with --mail."`
	Large     int64  `placeholder:"MB" help:"Also give every mailbox one mail with an attachment of so many megabytes, to see that memory stays flat; the target takes up to about 112."`
	Mail      string `type:"existingdir" placeholder:"DIR" help:"Fill the source from this folder of .eml files, mbox files or Maildirs and nothing else. Each mail goes to one mailbox."`
	JSON      string `placeholder:"FILE" help:"Write the summary to FILE."`
	Hold      bool   `help:"Keep everything running afterwards and print how to reach every part."`
	Seed      uint64 `default:"1" help:"Choose other mails, folders and dates; the same seed makes the same mailboxes."`
	Log       string `placeholder:"FILE" help:"Write what the host and the handler log to FILE; build/local.log unless given."`
	Root      string `default:"." hidden:"" help:"The repository."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	good, err := start(ctx, os.Args[1:], os.Stdout)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "run-local:", err)
		os.Exit(2)
	case !good:
		os.Exit(1)
	}
}

const about = `Moves mailboxes full of real mail from an on-premises Exchange (EWS) into Exchange Online (Microsoft Graph) on this
machine, through the handler as it is deployed. Exits with 0 only if every mailbox was verified without a missing, extra or
differing item, with 1 if one was not, and with 2 if there was no verification.`

// start reads the command line and runs what it asks for.
func start(ctx context.Context, args []string, out io.Writer) (good bool, err error) {
	var o options
	helped := false
	parser, err := kong.New(&o, kong.Name("run-local"), kong.Description(about), kong.Writers(out, out), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return false, err
	}
	_, err = parser.Parse(args)
	switch {
	case helped:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("%w; --help shows how it is used", err)
	}
	return run(ctx, o, out)
}

// run does the whole job and says whether everything was verified.
func run(ctx context.Context, o options, out io.Writer) (bool, error) {
	if o.Mailboxes < 1 || o.Each < 0 || o.Large < 0 {
		return false, errors.New("--mailboxes wants 1 or more, --each and --large 0 or more")
	}
	if o.JSON != "" {
		f, err := os.Create(o.JSON) // now, not after the whole run, it turns out whether this can be written
		if err != nil {
			return false, fmt.Errorf("write summary: %w", err)
		}
		_ = f.Close() // nothing was written
	}
	log, closeLog, err := o.log()
	if err != nil {
		return false, err
	}
	defer closeLog()
	plan, err := o.plan(ctx, out)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(out, "Starting Azurite, Service Bus, Exchange, Graph and the Functions host …")
	s, err := stack.Start(ctx, stack.Options{Package: filepath.Join(o.Root, "build", "package"),
		Azurite: filepath.Join(o.Root, "scripts", "azurite"), Log: log, Env: map[string]string{"COPY_DOUBT": "5s"},
		EWS: ewstest.Options{Auth: []ewstest.Scheme{ewstest.Negotiate, ewstest.NTLM, ewstest.Basic}}})
	if err != nil {
		return false, err
	}
	defer s.Close()
	pairs, err := o.fill(s, plan, out)
	if err != nil {
		return false, err
	}
	return o.move(ctx, s, pairs, out)
}

// pair is one mailbox on both sides.
type pair struct{ source, target *exchangetest.Mailbox }

// german are a source's folder names in another language: well-known folders keep their meaning.
var german = map[string]string{"inbox": "Posteingang", "sentitems": "Gesendete Elemente", "drafts": "Entwürfe",
	"deleteditems": "Gelöschte Elemente", "calendar": "Kalender", "contacts": "Kontakte", "tasks": "Aufgaben", "notes": "Notizen"}

// Each source mailbox has an owner who can log on to it, for clients that do not impersonate.
const ownerPassword = "local-only-0815"

func owner(n int) string { return fmt.Sprintf("user%04d", n+1) }

func (o options) fill(s *stack.Stack, plan fill.Plan, out io.Writer) ([]pair, error) {
	fmt.Fprintln(out, "Filling mailboxes …")
	online := fts.Version{Major: 15, Minor: 20, Build: 8120, Revision: 15}
	var pairs []pair
	for n := range o.Mailboxes {
		var names map[string]string
		if n%5 == 1 {
			names = german
		}
		p := pair{
			exchangetest.New(fmt.Sprintf("user%04d@old.example", n+1), exchangetest.Options{Names: names}),
			exchangetest.New(fmt.Sprintf("user%04d@new.example", n+1), exchangetest.Options{Restamp: &online}),
		}
		if err := plan.Fill(p.source, n); err != nil {
			return nil, fmt.Errorf("fill mailbox %d: %w", n+1, err)
		}
		if o.Large > 0 {
			if err := fill.Scan(p.source, n, o.Large*1_000_000); err != nil {
				return nil, fmt.Errorf("fill mailbox %d: %w", n+1, err)
			}
		}
		s.EWS.AddMailbox(p.source)
		s.EWS.AddAccount(owner(n), ownerPassword, stack.ServiceDomain, ewstest.Owns(p.source.Address))
		s.Graph.AddMailbox(p.target)
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func (o options) plan(ctx context.Context, out io.Writer) (fill.Plan, error) {
	p := fill.Plan{Each: o.Each, Seed: o.Seed, Total: o.Mailboxes, Own: o.Mail != ""}
	var left []string
	var err error
	if p.Own {
		p.Mails, left, err = fill.From(o.Mail)
	} else {
		p.Mails, left, err = fill.Real(ctx, o.Root)
	}
	if err != nil {
		return p, err
	}
	fmt.Fprintf(out, "Found %d real messages.\n", len(p.Mails))
	for i, name := range left {
		if i == 5 {
			fmt.Fprintf(out, "  … and %d more\n", len(left)-i)
			break
		}
		fmt.Fprintf(out, "  passed over: %s\n", name)
	}
	if len(p.Mails) == 0 {
		return p, fmt.Errorf("no mail in %s; it takes .eml files, mbox files and Maildirs", o.Mail)
	}
	return p, nil
}

// log opens the file that host and handler log to.
func (o options) log() (*slog.Logger, func() error, error) {
	name := o.Log
	if name == "" {
		name = filepath.Join(o.Root, "build", "local.log")
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, nil)), f.Close, nil
}

// move submits a batch, watches it to its end and compares both sides.
func (o options) move(ctx context.Context, s *stack.Stack, pairs []pair, out io.Writer) (bool, error) {
	began := time.Now()
	api := client{s.Host.URL(), s.Host.Key()}
	wave, err := api.submit(ctx, pairs)
	if err != nil {
		return false, err
	}
	if err := watch(ctx, api, wave, progress(out)); err != nil {
		return false, err
	}
	took := time.Since(began)
	fmt.Fprintln(out, "Asking both Exchanges what they hold …")
	sum, rows, err := compare(ctx, s, api, wave, pairs)
	if err != nil {
		return false, err
	}
	sum.Seconds = took.Seconds()
	show(ctx, out, rows, sum, s)
	if o.JSON != "" {
		if err := write(o.JSON, sum); err != nil {
			return false, err
		}
	}
	if o.Hold {
		hold(ctx, s, pairs, out)
	}
	return sum.good(), nil
}

func write(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(name, append(b, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}
