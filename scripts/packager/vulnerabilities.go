package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// govulncheck is the Go team's tool. It needs the network: for itself once, for its database each time.
const govulncheck = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"

// errVulnerable says that the package was written and calls something with a known vulnerability.
var errVulnerable = errors.New("the handler calls what is known to be vulnerable; see above")

// vulnerabilities says which known vulnerabilities the handler can reach. Where the tool or its database cannot be
// reached it says so, and that is no error: the package is as good as before.
func vulnerabilities(ctx context.Context, o options, work string, out io.Writer) error {
	found, err := scan(ctx, o, work)
	if err != nil {
		_, err = fmt.Fprintf(out, "Known vulnerabilities were NOT checked: %v\n", err)
		return err
	}
	if len(found) == 0 {
		_, err = fmt.Fprintln(out, "No known vulnerability is called.")
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(found, "\n"))
	return errors.Join(errVulnerable, err)
}

func scan(ctx context.Context, o options, work string) ([]string, error) {
	tool := o.Scanner
	if tool == "" {
		c := exec.CommandContext(ctx, "go", "install", govulncheck)
		c.Env = append(os.Environ(), "GOBIN="+work)
		if said, err := c.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("install govulncheck: %w: %s", err, lastLine(said))
		}
		tool = filepath.Join(work, "govulncheck")
	}
	c := exec.CommandContext(ctx, tool, "-format", "json", "./functions")
	c.Dir = o.Root
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var said strings.Builder
	c.Stderr = &said
	answer, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, lastLine([]byte(said.String()))) // it names itself
	}
	return called(answer)
}

func lastLine(said []byte) string {
	lines := strings.Split(strings.TrimSpace(string(said)), "\n")
	return lines[len(lines)-1]
}

// called lists the vulnerabilities whose functions are reached. govulncheck also tells of modules and packages that have
// one which is not; those are left out.
func called(answer []byte) ([]string, error) {
	var message struct {
		OSV *struct {
			ID, Summary string
		} `json:"osv"`
		Finding *struct {
			OSV   string `json:"osv"`
			Fixed string `json:"fixed_version"`
			Trace []struct{ Module, Version, Package, Function string }
		} `json:"finding"`
	}
	summaries := map[string]string{}
	var out []string
	for d := json.NewDecoder(strings.NewReader(string(answer))); ; {
		message.OSV, message.Finding = nil, nil
		if err := d.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read what govulncheck said: %w", err)
		}
		if v := message.OSV; v != nil {
			summaries[v.ID] = v.Summary
		}
		if f := message.Finding; f != nil && len(f.Trace) > 0 && f.Trace[0].Function != "" {
			at := f.Trace[0]
			fixed := "not mended yet"
			if f.Fixed != "" {
				fixed = "mended in " + f.Fixed
			}
			out = append(out, fmt.Sprintf("%s: %s %s (%s): %s", f.OSV, at.Module, at.Version, fixed, summaries[f.OSV]))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
