package main

import (
	"context"
	"runtime"
	"runtime/debug"
)

// version is ferry's version as Go's build has recorded it: a tag, or the commit it was built from.
func version() string {
	b, ok := debug.ReadBuildInfo()
	if !ok || b.Main.Version == "" {
		return "unknown"
	}
	return b.Main.Version
}

type versionCmd struct{}

func (versionCmd) Run(ctx context.Context, a *app) error {
	if a.JSON {
		return a.print(map[string]any{"version": version(), "api": apiVersion, "go": runtime.Version()})
	}
	a.line("ferry %s (HTTP API %d, %s)", version(), apiVersion, runtime.Version())
	return nil
}
