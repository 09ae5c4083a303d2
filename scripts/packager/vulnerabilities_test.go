package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// stub writes a program that stands in for govulncheck.
func stub(t *testing.T, script string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "govulncheck")
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestVulnerabilities(t *testing.T) {
	t.Parallel()
	recorded, err := filepath.Abs("testdata/govulncheck.json") // by govulncheck 1.9.0, of a database with one made-up entry
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, script, want string
		err                error
	}{
		{"called", "cat " + recorded, "GO-2026-9999: stdlib v1.26.8 (mended in v1.99.0): Made up: fmt prints\n", errVulnerable},
		{"not called", "sed '/\"function\"/d' " + recorded, "No known vulnerability is called.\n", nil},
		{"no database", "echo 'govulncheck: no such host' >&2; exit 1", "were NOT checked: exit status 1: govulncheck: no such host\n", nil},
		{"no JSON", "echo '{'", "were NOT checked: read what govulncheck said", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := options{Root: repository(t, nil), Out: t.TempDir(), Vulnerabilities: true, Scanner: stub(t, c.script)}
			var out strings.Builder
			err := run(t.Context(), o, &out)
			if !errors.Is(err, c.err) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("says %q, want %q", out.String(), c.want)
			}
			if _, err := os.Stat(filepath.Join(o.Out, "mailferry.zip")); err != nil {
				t.Error("the package was not written")
			}
		})
	}
}
