package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// apiVersion is the HTTP API that this ferry speaks.
const apiVersion = 1

type doctorCmd struct{}

// Help is the long text of ferry doctor --help.
func (doctorCmd) Help() string {
	return `Checks, one per line: the settings, the app's address, the key, the API's version, the handler's version, the ledger,
messages that were set aside, and the clock. Nothing is changed. Exit code 1 if a check failed; what to do about it stands below the check.`
}

// finding is the result of one check.
type finding struct {
	Check string `json:"check"`
	Good  bool   `json:"good"`
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // what to do about it
}

func (doctorCmd) Run(ctx context.Context, a *app) error {
	findings := a.examine(ctx)
	good := true
	for _, f := range findings {
		good = good && f.Good
	}
	if a.JSON {
		if err := a.print(map[string]any{"good": good, "checks": findings}); err != nil {
			return err
		}
	}
	for _, f := range findings {
		if !a.JSON {
			a.showFinding(f)
		}
	}
	if !good {
		return said()
	}
	return nil
}

func (a *app) showFinding(f finding) {
	mark := "ok  "
	if !f.Good {
		mark = "FAIL"
	}
	a.line("%s  %-8s  %s", mark, f.Check, f.What)
	if f.Do != "" {
		a.line("                → %s", f.Do)
	}
}

// examine makes the checks. One that cannot be made because of an earlier one is left out.
func (a *app) examine(ctx context.Context) []finding {
	c, err := a.client()
	if err != nil {
		return []finding{{"settings", false, err.Error(), ""}}
	}
	settings := finding{"settings", true, c.base, ""}
	if c.key == "" && c.token == "" {
		settings.Good, settings.What, settings.Do = false, "no key", "set FERRY_KEY to a key of the function app (Azure portal: App keys), or FERRY_TOKEN"
	}
	var got struct {
		Version string `json:"version"`
		API     int    `json:"api"`
	}
	began := a.clock.Now()
	date, err := c.about(ctx, &got)
	e, refused := errors.AsType[*callError](err)
	switch {
	case err == nil:
		return slices.Concat([]finding{settings, {"address", true, fmt.Sprintf("answers in %d ms", a.clock.Since(began).Milliseconds()), ""},
			{"key", true, "is taken", ""}, apiFinding(got.API), handlerFinding(got.Version)}, c.ledgerFindings(ctx), []finding{a.clockFinding(date)})
	case !refused:
		return []finding{settings, {"address", false, err.Error(), ""}}
	}
	what, do := e.explain()
	if e.status == http.StatusUnauthorized {
		return []finding{settings, {"address", true, "answers", ""}, {"key", false, what, do}}
	}
	return []finding{settings, {"address", false, what, do}}
}

// about asks the app for its version, and for the time on its clock.
func (c client) about(ctx context.Context, v any) (date time.Time, err error) {
	resp, err := c.open(ctx, request{method: http.MethodGet, path: "/api/about"})
	if err != nil {
		return date, err
	}
	resp.Body.Close()
	date, _ = http.ParseTime(resp.Header.Get("Date")) // a proxy may take it away
	_, err = c.get(ctx, "/api/about", v)
	return date, err
}

func apiFinding(api int) finding {
	f := finding{"api", api == apiVersion, fmt.Sprintf("version %d", api), ""}
	switch {
	case api < apiVersion:
		f.Do = fmt.Sprintf("this ferry speaks version %d: deploy the app again, or use the ferry that came with it", apiVersion)
	case api > apiVersion:
		f.Do = fmt.Sprintf("this ferry speaks version %d: use the ferry that came with the app", apiVersion)
	}
	return f
}

// handlerFinding is good whatever the version is: the API's version decides.
func handlerFinding(handler string) finding {
	f := finding{"handler", handler != "", clean(handler), ""}
	switch {
	case handler == "":
		f.What, f.Do = "does not say its version", "deploy the app again"
	case handler != version():
		f.What += ", ferry is " + version()
	}
	return f
}

// ledgerFindings look for the messages that nobody could read: the app must look into its ledger to list them.
func (c client) ledgerFindings(ctx context.Context) []finding {
	var w wave
	if _, err := c.get(ctx, "/api/waves/unreadable?problems=true", &w); err != nil {
		return []finding{{"ledger", false, err.Error(), "look at the app's log; its identity needs the roles on the storage account that infra gives it"}}
	}
	parked := finding{"parked", true, "no message is unreadable", ""}
	if n := len(w.Problems); n > 0 {
		parked.What = count(n, "message") + " nobody could read, kept aside: ferry report unreadable"
	}
	return []finding{{"ledger", true, "answers", ""}, parked}
}

// skew is how far apart the clocks may be: tokens and start times are in minutes.
const skew = 2 * time.Minute

func (a *app) clockFinding(date time.Time) finding {
	if date.IsZero() {
		return finding{"clock", true, "the app does not tell its time", ""}
	}
	d := a.clock.Since(date).Round(time.Second)
	if d.Abs() <= skew {
		return finding{"clock", true, "agrees with the app's", ""}
	}
	return finding{"clock", false, fmt.Sprintf("is %s off the app's", d), "set this machine's clock; start and cutover times would be off as well"}
}
