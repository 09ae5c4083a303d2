package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// acted is a wave or a mailbox that is to be acted on.
type acted struct {
	Wave    string `arg:"" help:"The wave's ID, as ferry submit prints it."`
	Mailbox string `arg:"" optional:"" help:"A mailbox's ID, as ferry status lists it. Without it: all of the wave."`
}

type (
	retryCmd  struct{ acted }
	pauseCmd  struct{ acted }
	resumeCmd struct{ acted }
	cancelCmd struct{ acted }
	deltaCmd  struct{ acted }
)

func (c *deltaCmd) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "delta", "no mailbox is synced, so there is nothing to bring up to date")
}

func (c *retryCmd) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "retry", "no mailbox failed, so nothing is retried")
}
func (c *pauseCmd) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "pause", "every mailbox is over or paused already")
}
func (c *resumeCmd) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "resume", "no mailbox is paused, so nothing is resumed")
}
func (c *cancelCmd) Run(ctx context.Context, a *app) error {
	return c.act(ctx, a, "cancel", "every mailbox is over already")
}

// act posts a verb and prints which mailboxes it changed.
func (c *acted) act(ctx context.Context, a *app, verb, idle string) error {
	path, err := wavePath(c.Wave, c.Mailbox)
	if err != nil {
		return err
	}
	to, err := a.client()
	if err != nil {
		return err
	}
	var got struct {
		Changed   int      `json:"changed"`
		Mailboxes []string `json:"mailboxes"`
		Refused   []string `json:"refused"`
		Because   string   `json:"because"`
	}
	answer, err := to.call(ctx, request{method: http.MethodPost, path: path + "/" + verb}, &got)
	if err != nil {
		return err
	}
	if a.JSON {
		if err := a.raw(answer); err != nil || len(got.Refused) == 0 {
			return err
		}
		return said()
	}
	switch {
	case got.Changed > 0:
		a.line("%s: %s: %s", verb, count(got.Changed, "mailbox"), some(got.Mailboxes))
	case len(got.Refused) == 0:
		a.line("nothing changed: %s", idle)
	}
	if len(got.Refused) > 0 {
		return fmt.Errorf("not changed: %s: %s; %s", count(len(got.Refused), "mailbox"), some(got.Refused), clean(got.Because))
	}
	return nil
}

// some names the first of many mailboxes.
func some(names []string) string {
	const enough = 20
	text := clean(strings.Join(names[:min(enough, len(names))], ", "))
	if len(names) > enough {
		text += ", …"
	}
	return text
}
