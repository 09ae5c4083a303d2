// Command ferry is the operator's command line: it submits batches, watches waves, and fetches and checks receipts. It
// speaks to the app over HTTP and to nothing else; checking a receipt needs no app and no network.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/jonboulle/clockwork"

	"github.com/mailferry/mailferry/shared/config"
)

// The exit codes. 1 is what a script should look at: a failed mailbox, a failed check, an app that does not answer.
const (
	exitGood = 0
	exitBad  = 1
	exitArgs = 2 // what was given cannot be used: arguments, a batch, a file
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// cli is all commands with their arguments.
type cli struct {
	URL   string        `name:"url" env:"FERRY_URL" placeholder:"URL" help:"Where the app is, like https://NAME.azurewebsites.net."`
	Key   config.Secret `name:"key" env:"FERRY_KEY" placeholder:"KEY" help:"Its function key. Better in the environment: other users see command lines."`
	Token config.Secret `name:"token" env:"FERRY_TOKEN" placeholder:"TOKEN" help:"An Entra ID access token, for an app that asks for sign-in."`
	JSON  bool          `name:"json" help:"Print JSON instead of text."`

	Submit  submitCmd  `cmd:"" help:"Submit a batch of mailboxes; it becomes a wave."`
	Status  statusCmd  `cmd:"" help:"List the waves, or show where a wave or one of its mailboxes stands."`
	Watch   watchCmd   `cmd:"" help:"Follow a wave until it is over."`
	Report  reportCmd  `cmd:"" help:"List the problems of a wave, item by item."`
	Retry   retryCmd   `cmd:"" help:"Send failed mailboxes on from where they stopped."`
	Pause   pauseCmd   `cmd:"" help:"Hold mailboxes until they are resumed."`
	Resume  resumeCmd  `cmd:"" help:"Send paused mailboxes on."`
	Cancel  cancelCmd  `cmd:"" help:"End mailboxes for good. What was copied stays on the target."`
	Delta   deltaCmd   `cmd:"" help:"Bring synced mailboxes up to date now, not a day after their last pass."`
	Receipt receiptCmd `cmd:"" help:"Fetch receipts, and check them offline."`
	Doctor  doctorCmd  `cmd:"" help:"Check the app and say what to do about what is wrong."`
	Version versionCmd `cmd:"" help:"Print ferry's version."`
}

const about = `Moves mailboxes into Exchange Online: the operator's command line.

Set FERRY_URL and FERRY_KEY once, then: ferry doctor; ferry submit batch.csv; ferry watch WAVE.
Exit codes: 0 good; 1 a mailbox, a check or the app failed; 2 what you gave cannot be used.`

// app is what a command works with.
type app struct {
	cli
	streams
	clock clockwork.Clock
}

// run runs one command and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	a := &app{streams: s, clock: clockwork.NewRealClock()}
	left := -1 // --help leaves in the middle of parsing
	parser, err := kong.New(&a.cli, kong.Name("ferry"), kong.Description(about), kong.Writers(s.out, s.err),
		kong.Exit(func(code int) { left = max(left, code) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return a.fail(err)
	}
	chosen, err := parser.Parse(args)
	if left >= 0 {
		return left
	}
	if err != nil {
		return a.fail(badArgs("%s; ferry --help shows how it is used", err))
	}
	chosen.BindTo(ctx, (*context.Context)(nil))
	return a.fail(chosen.Run(a))
}

// exitError ends ferry with a code. A nil err means that everything was said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func badArgs(format string, args ...any) error {
	return &exitError{exitArgs, fmt.Errorf(format, args...)}
}

// said ends ferry with 1 after a command that printed what is wrong itself.
func said() error { return &exitError{code: exitBad} }

// fail prints an error, if there is one to print, and returns the exit code.
func (a *app) fail(err error) int {
	if err == nil {
		return exitGood
	}
	code := exitBad
	if e, ok := errors.AsType[*exitError](err); ok {
		code = e.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(a.err, "ferry: %s\n", strings.ReplaceAll(text, "\n", "\n  "))
	}
	return code
}
