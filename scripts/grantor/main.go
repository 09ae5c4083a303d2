// Command grantor prints, and when told performs, what Mailferry's managed identity may do in the target tenant: Microsoft
// Graph permissions by az, and access to the mailboxes of one wave by Exchange Online PowerShell. It prints first, so
// that a person can read what would happen.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/jonboulle/clockwork"
)

// cli is all commands with their arguments.
type cli struct {
	Graph graphCmd `cmd:"" help:"Microsoft Graph permissions of the identity, for the whole tenant or, with --scoped, only the one that has no scope."`
	Wave  waveCmd  `cmd:"" help:"Access to the mailboxes of one wave (Exchange RBAC for Applications)."`
}

const about = `What Mailferry's identity may do in the target tenant. Prints commands; --apply runs them; --remove takes back.

There are two ways, and one of them is enough:
  tenant   grant graph --apply: the identity may work in every mailbox of the tenant. This is the documented way.
  wave     grant graph --scoped --apply, then grant wave for each wave: it may work in the wave's mailboxes only.
           Microsoft lists the application roles that this needs, but it was NEVER TRIED with these APIs: try it with
           one mailbox first (infra/README.md, "First hour").
A permission for the tenant makes every scope meaningless: both add up. grant graph --scoped therefore removes it.`

// app is what a command works with.
type app struct {
	out   io.Writer
	clock clockwork.Clock
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr, clockwork.NewRealClock()))
}

// run returns the exit code: 1 when a command failed, 2 when what was given cannot be used.
func run(ctx context.Context, args []string, out, errs io.Writer, clock clockwork.Clock) int {
	var c cli
	left := -1 // --help leaves in the middle of parsing
	parser, err := kong.New(&c, kong.Name("grant"), kong.Description(about), kong.Writers(out, errs),
		kong.Exit(func(code int) { left = max(left, code) }), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}))
	if err != nil {
		fmt.Fprintln(errs, "grant:", err)
		return 1
	}
	chosen, err := parser.Parse(args)
	switch {
	case left >= 0:
		return left
	case err != nil:
		fmt.Fprintf(errs, "grant: %s; grant --help shows how it is used\n", err)
		return 2
	}
	chosen.BindTo(ctx, (*context.Context)(nil))
	if err := chosen.Run(&app{out, clock}); err != nil {
		fmt.Fprintln(errs, "grant:", err)
		return 1
	}
	return 0
}

// identity says which managed identity is meant.
type identity struct {
	Group     string `placeholder:"RG" help:"Resource group of the deployment; the identity is read from its outputs with az."`
	Client    string `placeholder:"ID" help:"Instead of --group: client ID of the managed identity."`
	Principal string `placeholder:"ID" help:"Instead of --group: object ID of its service principal."`
}

var guid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// find fills the IDs in.
func (i *identity) find(ctx context.Context) error {
	if i.Group == "" && (i.Client == "" || i.Principal == "") {
		return errors.New("give --group, or --client and --principal (infra prints them as identityClientId and identityPrincipalId)")
	}
	for _, o := range []struct {
		id     *string
		output string
	}{{&i.Client, "identityClientId"}, {&i.Principal, "identityPrincipalId"}} {
		if *o.id == "" {
			id, err := az(ctx, "deployment", "group", "show", "--resource-group", i.Group, "--name", "mailferry",
				"--query", "properties.outputs."+o.output+".value", "--output", "tsv")
			if err != nil {
				return fmt.Errorf("read the deployment of %s, which ./scripts/deploy makes: %w", i.Group, err)
			}
			*o.id = id
		}
		if !guid.MatchString(*o.id) {
			return fmt.Errorf("%s is %q, want an ID like 00000000-0000-0000-0000-000000000000", o.output, *o.id)
		}
	}
	return nil
}

// az runs the Azure CLI and returns what it printed.
func az(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "az", "install the Azure CLI and sign in with az login: https://aka.ms/azcli", args...)
}

func output(ctx context.Context, name, without string, args ...string) (string, error) {
	if _, err := exec.LookPath(name); err != nil {
		return "", fmt.Errorf("there is no %s here; %s", name, without)
	}
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = os.Stderr
	b, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w; what it said stands above", name, strings.Join(args[:min(3, len(args))], " "), err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (a *app) say(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
