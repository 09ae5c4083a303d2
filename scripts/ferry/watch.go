package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/mailferry/mailferry/shared/migration"
)

type watchCmd struct {
	Wave  string        `arg:"" help:"The wave's ID, as ferry submit prints it."`
	Every time.Duration `default:"2s" help:"How often to look."`
}

// Help is the long text of ferry watch --help.
func (watchCmd) Help() string {
	return `Shows a bar in a terminal, and a line for every change elsewhere. It ends when every mailbox is done, failed or
cancelled, with exit code 1 if one failed. The wave does not need it: interrupt it and watch again whenever you like.`
}

// bear is how many looks in a row may fail for a passing reason. With the default pace, that is two minutes.
const bear = 60

func (c *watchCmd) Run(ctx context.Context, a *app) error {
	path, err := wavePath(c.Wave, "")
	if err != nil {
		return err
	}
	if c.Every < time.Millisecond {
		return badArgs("--every: want a time like 2s")
	}
	from, err := a.client()
	if err != nil {
		return err
	}
	show := a.progress()
	for failed := 0; ; {
		var w wave
		_, err := from.get(ctx, path, &w)
		e, called := errors.AsType[*callError](err)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("stopped watching; the wave goes on: ferry watch %s", c.Wave)
		case err == nil:
			failed = 0
			show(w)
		case called && e.passing() && failed < bear:
			if failed++; failed == 1 {
				fmt.Fprintf(a.err, "ferry: %v (still trying)\n", err)
			}
		default:
			return err
		}
		if err == nil && w.Over {
			return a.end(w)
		}
		select {
		case <-a.clock.After(c.Every):
		case <-ctx.Done():
		}
	}
}

// end says what is left for a person to do.
func (a *app) end(w wave) error {
	failed := w.States[migration.Failed]
	if failed == 0 {
		return nil
	}
	if a.JSON {
		return said()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s failed", count(failed, "mailbox"))
	const enough = 20
	shown := 0
	for _, b := range w.Boxes {
		if b.State == migration.Failed && shown < enough {
			shown++
			fmt.Fprintf(&text, "\n%s: %s", b.ID, clean(b.Problem))
		}
	}
	if failed > shown {
		fmt.Fprintf(&text, "\n… and %d more; ferry status %s lists them", failed-shown, w.ID)
	}
	fmt.Fprintf(&text, "\nmend the cause, then: ferry retry %s", w.ID)
	return errors.New(text.String())
}

// progress returns what shows a wave: a bar in a terminal, else a line, of text or JSON, for every change.
func (a *app) progress() func(wave) {
	if f, ok := a.out.(*os.File); ok && !a.JSON && term.IsTerminal(int(f.Fd())) {
		return bar(a.out)
	}
	last := ""
	return func(w wave) {
		line := w.describe()
		if a.JSON {
			line = snapshot(w)
		}
		if line != last {
			a.line("%s", line)
		}
		last = line
	}
}

// snapshot is a wave in one line of JSON, without its mailboxes.
func snapshot(w wave) string {
	planned, settled := w.progress()
	b, err := json.Marshal(map[string]any{"wave": w.ID, "states": w.States, "over": w.Over, "planned": planned, "settled": settled,
		"copied": w.Copied, "bytes": w.Bytes, "items": w.Items})
	if err != nil {
		panic(err) // names and numbers always encode
	}
	return string(b)
}

func bar(out io.Writer) func(wave) {
	b := progressbar.NewOptions(-1, progressbar.OptionSetWriter(out), progressbar.OptionShowCount(), progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetItsString("items"), progressbar.OptionShowIts())
	return func(w wave) {
		if planned, settled := w.progress(); planned > 0 {
			b.ChangeMax(planned)
			_ = b.Set(settled) // a bar that cannot be drawn is no reason to stop
		}
		b.Describe(states(w))
		if w.Over {
			_ = b.Finish()
			fmt.Fprintln(out, w.describe())
		}
	}
}

func states(w wave) string {
	text, _, _ := strings.Cut(w.describe(), ";")
	return text
}
