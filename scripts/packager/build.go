package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// build compiles the handler. What would make the bytes depend on the machine is left out: paths and the build's ID. The
// commit is stamped in, which GET /api/about and receipts name; a folder with changes that are in no commit says +dirty.
func build(ctx context.Context, root, out string) error {
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=auto", "-ldflags", "-s -w -buildid=", "-o", out, "./functions")
	c.Dir = root
	c.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "CGO_ENABLED=0", "GOFLAGS=-trimpath", "GOEXPERIMENT=")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("build the handler: %w", err)
	}
	return runnable(out)
}

// runnable says whether Azure can run a file: an ELF for amd64 that needs no library.
func runnable(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("read the handler: %w", err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("the handler is for %s, want linux/amd64", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("the handler is linked to the machine's libraries; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
