package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rogpeppe/go-internal/testscript"
)

// today is when the stories happen.
var today = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"grant": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr, clockwork.NewFakeClockAt(today)))
		},
		"az":   func() { stub("az") },
		"pwsh": func() { stub("pwsh") },
		"go":   func() { stub("go") },
		"made": func() { stub("packager") }, // what go build ./scripts/packager makes
	})
}

// stub stands in for a program. It appends its call to the file calls, with the names of the secrets that it finds in its
// environment, and answers with the first line of the file answers that fits:
//
//	az account show => what it prints
//	fails 2: go run ./scripts/ferry doctor
//	exits 3: packager
func stub(program string) {
	call := strings.TrimSpace(program + " " + strings.Join(os.Args[1:], " "))
	dir := os.Getenv("STORY")
	earlier, _ := os.ReadFile(filepath.Join(dir, "calls"))
	f, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	seen := ""
	for _, name := range []string{"MAILFERRY_EWS_PASSWORD", "MAILFERRY_EWS_ACCOUNTS", "MAILFERRY_RECEIPT_KEY", "FERRY_URL", "FERRY_KEY", "FERRY_TOKEN"} {
		if os.Getenv(name) != "" {
			seen += " " + name
		}
	}
	fmt.Fprintf(f, "%s\n", call)
	if seen != "" {
		fmt.Fprintf(f, "    with%s\n", seen)
	}
	f.Close()
	os.Exit(answer(dir, call, strings.Count(string(earlier), call+"\n")))
}

// answer prints what the story says and returns the exit code.
func answer(dir, call string, times int) int {
	f, err := os.Open(filepath.Join(dir, "answers"))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		var failures, code int
		if n, _ := fmt.Sscanf(line, "exits %d:", &code); n == 1 {
			if _, prefix, _ := strings.Cut(line, ": "); strings.HasPrefix(call, prefix) {
				return code
			}
			continue
		}
		if n, _ := fmt.Sscanf(line, "fails %d:", &failures); n == 1 {
			_, prefix, _ := strings.Cut(line, ": ")
			if strings.HasPrefix(call, prefix) && times < failures {
				fmt.Fprintln(os.Stderr, "the stub fails as it was told")
				return 1
			}
			continue
		}
		if prefix, text, ok := strings.Cut(line, " => "); ok && strings.HasPrefix(call, prefix) {
			fmt.Println(text)
			return 0
		}
	}
	return 0
}

func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("STORY", e.WorkDir)
			e.Setenv("MAILFERRY_PAUSE", "0")
			return place(e.WorkDir)
		},
		RequireExplicitExec: true,
	})
}

// place copies the scripts to where the story runs.
func place(dir string) error {
	for _, folder := range []string{"scripts", "build"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "build", "packager"), []byte("#!/bin/sh\nexec made \"$@\"\n"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"deploy", "package", "flags"} {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "scripts", name), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}
