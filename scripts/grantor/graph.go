package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

type graphCmd struct {
	identity
	Scoped bool `help:"Only what has no mailbox scope; access to mailboxes then comes from grant wave. Removes the permissions for the tenant."`
	Apply  bool `help:"Do it. Without: only print."`
	Remove bool `help:"Take the permissions back instead."`
}

// permission is an application permission of Microsoft Graph.
type permission struct {
	name string
	id   string
	why  string
	wide bool // reaches into every mailbox
}

// The permissions that the target needs, with the IDs that Microsoft publishes.
var permissions = [...]permission{
	{"User.Read.All", "df021288-bdef-4463-88db-98f22de89214", "find the mailbox that belongs to an address", false},
	{"MailboxFolder.ReadWrite.All", "fef87b92-8391-4589-9da7-eb93dab7dc8a", "list folders and create those that are missing", true},
	{"MailboxItem.ImportExport.All", "76577085-e73d-4f1d-b26a-85fb33892327", "import items; export them again to verify", true},
	{"MailboxItem.Read.All", "7d9f353d-a7bd-4fbb-822a-26d5dd39a3ce", "list items, to verify and to settle lost answers", true},
}

const (
	graphApp = "00000003-0000-0000-c000-000000000000" // Microsoft Graph, in every tenant
	graphURL = "https://graph.microsoft.com/v1.0/servicePrincipals/"
)

// assignment is an app role that the identity has.
type assignment struct {
	ID        string `json:"id"`
	AppRoleID string `json:"appRoleId"`
	Resource  string `json:"resourceId"`
}

// change is one call.
type change struct {
	what string
	args []string // of az
}

func (c *graphCmd) Run(ctx context.Context, a *app) error {
	if err := c.find(ctx); err != nil {
		return err
	}
	resource, err := az(ctx, "ad", "sp", "show", "--id", graphApp, "--query", "id", "--output", "tsv")
	if err != nil {
		return fmt.Errorf("find Microsoft Graph in the tenant: %w", err)
	}
	have, err := c.assigned(ctx, resource)
	if err != nil {
		return err
	}
	changes, err := c.plan(resource, have)
	if err != nil {
		return err
	}
	c.explain(a, changes)
	if !c.Apply {
		return nil
	}
	for _, ch := range changes {
		if _, err := az(ctx, ch.args...); err != nil {
			return fmt.Errorf("%s: %w; you need the Entra role Privileged Role Administrator", ch.what, err)
		}
		a.say("done: %s", ch.what)
	}
	return nil
}

// assigned lists the identity's app roles of Microsoft Graph, by role.
func (c *graphCmd) assigned(ctx context.Context, resource string) (map[string]assignment, error) {
	text, err := az(ctx, "rest", "--method", "GET", "--url", graphURL+c.Principal+"/appRoleAssignments?$top=999", "--output", "json")
	if err != nil {
		return nil, fmt.Errorf("list the identity's permissions: %w", err)
	}
	var page struct {
		Value []assignment `json:"value"`
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		return nil, fmt.Errorf("list the identity's permissions: az printed no JSON: %w", err)
	}
	out := map[string]assignment{}
	for _, x := range page.Value {
		if x.Resource == resource {
			out[x.AppRoleID] = x
		}
	}
	return out, nil
}

// plan lists the calls that lead from what the identity has to what it should have.
func (c *graphCmd) plan(resource string, have map[string]assignment) ([]change, error) {
	var out []change
	for _, p := range permissions {
		old, has := have[p.id]
		wanted := !c.Remove && !(c.Scoped && p.wide)
		switch {
		case wanted && !has:
			body, err := json.Marshal(map[string]string{"principalId": c.Principal, "resourceId": resource, "appRoleId": p.id})
			if err != nil {
				return nil, fmt.Errorf("write request: %w", err)
			}
			out = append(out, change{"give " + p.name, []string{"rest", "--method", "POST", "--url", graphURL + c.Principal + "/appRoleAssignments",
				"--headers", "Content-Type=application/json", "--body", string(body)}})
		case !wanted && has:
			out = append(out, change{"take " + p.name, []string{"rest", "--method", "DELETE", "--url", graphURL + c.Principal + "/appRoleAssignments/" + old.ID}})
		}
	}
	return out, nil
}

// explain prints what the permissions are for and the calls.
func (c *graphCmd) explain(a *app, changes []change) {
	a.say("# Microsoft Graph permissions of the identity %s (application, no user):", c.Principal)
	for _, p := range permissions {
		reach := ""
		if p.wide {
			reach = "   [every mailbox of the tenant]"
			if c.Scoped {
				reach = "   [not given: grant wave gives it for a wave's mailboxes]"
			}
		}
		a.say("#   %-29s %s%s", p.name, p.why, reach)
	}
	if len(changes) == 0 {
		a.say("\nNothing to do: it is so already.")
		return
	}
	a.say("")
	for _, ch := range changes {
		a.say("# %s\naz %s", ch.what, quoted(ch.args))
	}
	a.say("")
	if !c.Apply {
		a.say("Nothing was changed. Run it again with --apply, or run the commands above yourself.")
	}
}

// quoted writes arguments as one types them in a shell.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, s := range args {
		if s == "" || strings.ContainsAny(s, " \"'{}$?&*;|<>()\\") {
			s = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
		out[i] = s
	}
	return strings.Join(out, " ")
}
