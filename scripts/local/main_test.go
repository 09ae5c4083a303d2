package main

import (
	"bytes"
	"strings"
	"testing"
)

// What cannot be used is refused before anything is started.
func TestBadArguments(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--mailboxes=0":            "--mailboxes wants 1 or more",
		"--large=-1":               "--large 0 or more",
		"--seed=x":                 "--help shows how it is used",
		"--nope":                   "unknown flag --nope",
		"--mail=testdata/no-such":  "no such file or directory",
		"--json=no/such/dir/x":     "write summary",
		"--log=no/such/dir/x":      "open log",
		"--mailboxes=1 and others": "unexpected argument and",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			_, err := start(t.Context(), append(strings.Fields(args), "--root="+t.TempDir()), t.Output())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	good, err := start(t.Context(), []string{"--help"}, &out)
	if !good || err != nil || !strings.Contains(out.String(), "--hold") {
		t.Errorf("%v, %v\n%s", good, err, &out)
	}
}
