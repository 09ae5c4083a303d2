package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"

	"github.com/mailferry/mailferry/shared/submitter"
)

type waveCmd struct {
	identity
	Name   string `arg:"" help:"What to call the wave: lower-case letters, digits and hyphens. Its group and scope are called mailferry-NAME."`
	Batch  string `type:"existingfile" placeholder:"FILE" help:"The batch as it is submitted, CSV or JSON; its target addresses count. Not needed with --remove."`
	Apply  bool   `help:"Run the script with pwsh; it asks you to sign in to Exchange Online. Without: only write and print it."`
	Remove bool   `help:"Take the access back: do it when the wave is over."`
	Out    string `default:"build/grant" placeholder:"DIR" help:"Where the script and the list of mailboxes go."`
}

var waveName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// cache is how long Exchange may go on with old permissions: 30 minutes to 2 hours, says Microsoft.
const cache = 2 * time.Hour

//go:embed add.ps1.tmpl remove.ps1.tmpl
var scripts embed.FS

// script is what a script is filled in with. Each value was checked: none can end a quoted string.
type script struct{ Wave, Client, Principal string }

func (c *waveCmd) Run(ctx context.Context, a *app) error {
	if !waveName.MatchString(c.Name) {
		return fmt.Errorf("wave %q: want 1 to 40 lower-case letters, digits and hyphens", c.Name)
	}
	if err := c.find(ctx); err != nil {
		return err
	}
	dir := filepath.Join(c.Out, c.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	kind := "remove"
	if !c.Remove {
		kind = "add"
		if err := c.list(a, dir); err != nil {
			return err
		}
	}
	file, text, err := c.write(dir, kind)
	if err != nil {
		return err
	}
	a.say("%s\n# This is %s.", text, file)
	if !c.Apply {
		a.say("# Nothing was changed. Read it, then run it again with --apply, or: pwsh -NoProfile -File %s", file)
		return nil
	}
	return pwsh(ctx, file)
}

// list writes the addresses of the batch's targets, one per line, and says when the script must have been run.
func (c *waveCmd) list(a *app, dir string) error {
	if c.Batch == "" {
		return errors.New("give --batch FILE: the mailboxes of the wave")
	}
	b, err := read(c.Batch)
	if err != nil {
		return err
	}
	var lines strings.Builder
	for _, l := range b.Mailboxes {
		if got, err := mail.ParseAddress(l.Target); err != nil || got.Address != l.Target || strings.ContainsAny(l.Target, "\r\n") {
			return fmt.Errorf("%s: line %d: target is not an SMTP address", c.Batch, l.Line)
		}
		lines.WriteString(l.Target + "\n")
	}
	if len(b.Mailboxes) == 0 {
		return fmt.Errorf("%s: the batch has no mailboxes", c.Batch)
	}
	a.say("# %d mailboxes.", len(b.Mailboxes))
	switch until := b.Start.Add(-cache); {
	case b.Start.IsZero():
		a.say("# Run this two hours before the wave starts: Exchange keeps old permissions for up to two hours.")
	case a.clock.Now().After(until):
		a.say("# WARNING: the wave starts at %s and Exchange keeps old permissions for up to two hours: the first mailboxes may fail with \"access denied\". Start it later.", b.Start.Format(time.RFC3339))
	default:
		a.say("# The wave starts at %s: run this before %s, Exchange keeps old permissions for up to two hours.", b.Start.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	if err := os.WriteFile(filepath.Join(dir, "mailboxes.txt"), []byte(lines.String()), 0o600); err != nil {
		return fmt.Errorf("write the list of mailboxes: %w", err)
	}
	return nil
}

// read reads a batch as ferry submit does.
func read(name string) (submitter.Batch, error) {
	f, err := os.Open(name)
	if err != nil {
		return submitter.Batch{}, fmt.Errorf("read batch: %w", err)
	}
	defer f.Close()
	parse := submitter.ParseCSV
	if strings.EqualFold(filepath.Ext(name), ".json") {
		parse = submitter.ParseJSON
	}
	b, err := parse(f)
	if err != nil {
		return b, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// write writes the script and returns it.
func (c *waveCmd) write(dir, kind string) (file, text string, err error) {
	t, err := template.ParseFS(scripts, kind+".ps1.tmpl")
	if err != nil {
		return "", "", fmt.Errorf("read script: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, script{"mailferry-" + c.Name, c.Client, c.Principal}); err != nil {
		return "", "", fmt.Errorf("write script: %w", err)
	}
	file = filepath.Join(dir, kind+".ps1")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		return "", "", fmt.Errorf("write script: %w", err)
	}
	return file, b.String(), nil
}

// pwsh runs a script; it signs in by itself, so that no secret passes through here.
func pwsh(ctx context.Context, file string) error {
	if _, err := exec.LookPath("pwsh"); err != nil {
		return errors.New("there is no pwsh here; install PowerShell 7 and the module ExchangeOnlineManagement, or run the script elsewhere")
	}
	c := exec.CommandContext(ctx, "pwsh", "-NoProfile", "-File", file)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("run %s: %w; it may be run again, what is there already stays", file, err)
	}
	return nil
}
